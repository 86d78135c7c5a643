"""What a member is worth once its stage is done: its entry in run.json, measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from lightning_fabric import Fabric

from headgate.train.folder.run_record import (
    MemberEntry,
    PrefixEntry,
    ProgressiveEntry,
    QuantisedEntry,
)
from headgate.train.learning.feature_cache import FeatureCache
from headgate.train.learning.loop import sum_over_processes
from headgate.train.learning.objectives import evaluate_member, val_features
from headgate.train.networks.progressive_model import ProgressiveModel
from headgate.train.networks.split_model import SplitModel
from headgate.train.pictures.data import TrainingData
from headgate.train.run.plan import Plan
from headgate.train.run.setting import Setting
from headgate.train.run.stage_work import WeightsFile
from headgate.train.stages import Stage

# Shapes: B batch, P maps of H x W at the split, K classes, J layers, N prefixes, L levels

PREFIXES_AT_ONCE = 4  # a batch of 1024 through the tail: more takes memory, and no less time


def measured_member(
    setting: Setting,
    stage: Stage,
    model: SplitModel,
    *,
    weights: WeightsFile,
    cache: FeatureCache | None,
) -> MemberEntry:
    """Measure a member on the validation pictures at every number of levels, and describe it."""
    assert stage.budget is not None
    assert model.selected is not None
    fabric, plan = setting.fabric, setting.plan
    choices = plan.config.levels
    found, *others = evaluate_member(fabric, model, plan.data, levels=(None, *choices), cache=cache)
    quantised = [
        QuantisedEntry(levels, at.accuracy, rate_bits=at.rate_bits)
        for levels, at in zip(choices, others, strict=True)
    ]
    entry = MemberEntry(
        id=stage.id,
        budget=stage.budget,
        resolution_factor=plan.config.resolution_factor,
        selected=model.selected,
        file=weights.file,
        sha256=weights.sha256,
        accuracy=found.accuracy,
        exit_accuracy=found.exit_accuracy,
        quantised=tuple(quantised),
        epochs=stage.epochs,
        shares_backbone=weights.shares_backbone,
    )
    if not isinstance(model, ProgressiveModel):
        return entry
    assert model.layer_plan is not None
    return replace(
        entry,
        order=model.layer_plan.order,
        layers=model.layer_plan.layers,
        progressive=_progressive_entry(fabric, plan, model, cache=cache),
    )


def _progressive_entry(
    fabric: Fabric, plan: Plan, model: ProgressiveModel, *, cache: FeatureCache | None
) -> ProgressiveEntry:
    config = plan.config.progressive
    assert config is not None
    assert model.layer_plan is not None
    levels = (None, *(plan.config.levels if config.quantise else ()))
    accuracies_LJ = evaluate_prefixes(fabric, model, plan.data, levels=levels, cache=cache)
    prefixes = [
        PrefixEntry(
            maps=sum(model.layer_plan.layers[: place + 1]),
            accuracy=plain,
            quantised=tuple(quantised),
        )
        for place, (plain, *quantised) in enumerate(zip(*accuracies_LJ, strict=True))
    ]
    with torch.no_grad():
        importance_C = model.importance_C(folded=config.importance == "folded")
    return ProgressiveEntry(
        prefixes=tuple(prefixes),
        importance_before=model.importance_before,
        importance_after=tuple(importance_C.tolist()),
        tail_parameters=sum(parameter.numel() for parameter in model.tail.parameters()),
        num_tails=1 + len(model.tails),
    )


@torch.no_grad()
def evaluate_prefixes(
    fabric: Fabric,
    model: ProgressiveModel,
    data: TrainingData,
    *,
    levels: Sequence[int | None],
    cache: FeatureCache | None = None,
) -> list[list[float]]:
    """Return the accuracy of every prefix at each number of levels; None is not quantised."""
    model.eval()
    num_layers = model.num_layers
    right_LJ = torch.zeros(len(levels), num_layers, device=fabric.device)
    for features_BPHW, labels_B in val_features(fabric, model, data, cache=cache):
        for place, number in enumerate(levels):
            for begin in range(0, num_layers, PREFIXES_AT_ONCE):
                end = min(begin + PREFIXES_AT_ONCE, num_layers)
                prefixes = range(begin + 1, end + 1)
                out = model(features_BPHW, levels=number, at_split=True, prefixes=prefixes)
                answers_NB = out.logits_BK.argmax(dim=1).view(len(prefixes), -1)
                right_LJ[place, begin:end] += (answers_NB == labels_B).float().sum(dim=1)
    total_LJ = sum_over_processes(fabric, right_LJ)
    return [[float(n) / len(data.val_labels_N) for n in row] for row in total_LJ.tolist()]
