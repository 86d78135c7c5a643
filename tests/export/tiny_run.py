"""A small real run for export's tests: a narrow network on noisy colours, trained briefly.

It is written the way training writes runs, but by a loop of a few lines, so that export's tests
need seconds, and no part of the training loop.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from headgate.profiles.manifest import InputSpec
from headgate.profiles.parse import unparse
from headgate.profiles.storage import canonical_json, sha256_file
from headgate.train.folder.run_record import (
    COMPLETE,
    RUN_SCHEMA,
    BackboneEntry,
    DatasetEntry,
    MemberEntry,
    RunRecord,
)
from headgate.train.networks.backbones import PlainModel
from headgate.train.networks.blueprint import Blueprint
from headgate.train.networks.progressive_model import LayerPlan, ProgressiveModel
from headgate.train.networks.split_model import SplitModel
from headgate.train.pictures.data import TrainingData, load_training_data
from headgate.train.recipe import PruneConfig
from headgate.train.stages import member_id

COLOURS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]], dtype=np.float32)
NUM_PICTURES = 48  # of each split


@dataclass(frozen=True, slots=True)
class TinyRun:
    """What to make: lenet has 6 maps of 14 x 14 after `features.2`, the narrow VGG 16 of 8 x 8."""

    model: str = "vgg11"
    width: float = 0.125
    split: str = "features.7"
    resolution_factor: int = 1
    budgets: tuple[int, ...] = (8, 2)
    steps: int = 12  # of training, for each network
    input: InputSpec = field(default_factory=lambda: InputSpec(32, 32))
    layers: tuple[int, ...] = ()  # of a progressive member, the only one; they add up to its budget
    plain_cut: bool = False  # it has no bottleneck, and its budget is all maps of the split
    noise: float = 60.0  # of the pictures, as a standard deviation


VGG = TinyRun()
LENET = TinyRun("lenet", 1.0, "features.2", budgets=(2,), input=InputSpec(16, 16))
PROGRESSIVE = replace(LENET, budgets=(5,), layers=(1, 1, 3), steps=40, noise=900.0)
PLAIN_CUT = replace(PROGRESSIVE, budgets=(6,), layers=(1, 2, 3), plain_cut=True)


def write_pictures(path: Path, *, seed: int = 1, noise: float = 60.0) -> None:
    """Write an .npz data set whose class is the colour under heavy noise."""
    generator = np.random.default_rng(seed)
    arrays: dict[str, Any] = {}
    for split in ("train", "val"):
        labels = np.arange(NUM_PICTURES) % len(COLOURS)
        shape = (NUM_PICTURES, 32, 32, 3)
        pictures = COLOURS[labels][:, None, None] + generator.normal(0, noise, shape)
        arrays[f"{split}_pictures"] = pictures.clip(0, 255).astype(np.uint8)
        arrays[f"{split}_labels"] = labels.astype(np.int64)
    np.savez(path, **arrays)


def write_run(folder: Path, tiny: TinyRun = VGG) -> Path:
    """Make `folder/run` and its data set; return the run's path."""
    torch.manual_seed(7)
    spec = f"npz:{folder / 'colours.npz'}"
    write_pictures(folder / "colours.npz", noise=tiny.noise)
    data = load_training_data(spec, tiny.input)
    run = folder / "run"
    (run / "weights").mkdir(parents=True)
    settings = PruneConfig(
        data=spec, model=tiny.model, width=tiny.width, split=tiny.split, budgets=tiny.budgets
    )
    blueprint = _blueprint(tiny, data, settings.levels)
    plain = blueprint.build_backbone()
    _fit(plain, data, steps=tiny.steps)
    # Saved now: the members share its weights and train on.
    accuracy = _accuracy(plain(_floats(data.val_pictures_NCHW)), data)
    backbone = BackboneEntry(*_save(run, "backbone", plain), accuracy=accuracy, epochs=1)
    entries = []
    for budget in sorted(tiny.budgets, reverse=True):
        model = _fresh_member(tiny, blueprint, plain, budget)
        model.warm_start(_floats(data.train_pictures_NCHW))
        if isinstance(model, ProgressiveModel):
            model.settle(_floats(data.train_pictures_NCHW), trained_ranges=False)
        _fit(model, data, steps=tiny.steps)
        entries.append(_member_entry(run, model, data))
    record = RunRecord(
        schema=RUN_SCHEMA,
        status=COMPLETE,
        blueprint=blueprint,
        labels=data.labels,
        dataset=DatasetEntry(spec, data.digest, NUM_PICTURES, NUM_PICTURES),
        settings=settings,
        backbone=backbone,
        members=tuple(entries),
    )
    (run / "run.json").write_bytes(canonical_json(unparse(record)))
    return run


def _fresh_member(
    tiny: TinyRun, blueprint: Blueprint, plain: PlainModel, budget: int
) -> SplitModel:
    """Return a member with its selection frozen, and its layers if it has any."""
    selected = _scattered(budget, blueprint.num_maps)
    if not tiny.layers:
        model = blueprint.build_split_model(budget=budget, plain=plain)
        model.freeze_selection(selected)
        return model
    progressive = blueprint.build_progressive_model(budget=budget, plain=plain)
    progressive.freeze_selection(selected)
    order = np.random.default_rng(1).permutation(selected).tolist()
    progressive.set_layers(LayerPlan(tuple(order), tiny.layers))
    return progressive


def _blueprint(tiny: TinyRun, data: TrainingData, levels: tuple[int, ...]) -> Blueprint:
    blueprint = Blueprint(
        model=tiny.model,
        width=tiny.width,
        split=tiny.split,
        resolution_factor=tiny.resolution_factor,
        num_classes=data.num_classes,
        num_maps=0,
        levels=levels,
        input=tiny.input,
        mean=data.mean,
        std=data.std,
        plain_cut=tiny.plain_cut,
    )
    num_maps = blueprint.build_split_model(budget=1).bottleneck.channels
    return replace(blueprint, num_maps=num_maps)


def _member_entry(run: Path, model: SplitModel, data: TrainingData) -> MemberEntry:
    r = model.bottleneck.resolution_factor
    plan = model.layer_plan if isinstance(model, ProgressiveModel) else None
    name = f"n{model.budget}r{r}" if plan else member_id(model.budget, r)
    assert model.selected is not None
    with torch.no_grad():
        output = model.eval()(_floats(data.val_pictures_NCHW), levels=None)
    file, sha256 = _save(run, name, model)
    return MemberEntry(
        id=name,
        budget=model.budget,
        resolution_factor=r,
        selected=model.selected,
        file=file,
        sha256=sha256,
        accuracy=_accuracy(output.logits_BK, data),
        exit_accuracy=_accuracy(output.exit_logits_BK, data),
        quantised=(),
        epochs=1,
        order=plan.order if plan else (),
        layers=plan.layers if plan else (),
    )


def _fit(model: nn.Module, data: TrainingData, *, steps: int) -> None:
    """Train for a few steps on all pictures at once, at changing numbers of levels."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    x_BCHW, labels_B = _floats(data.train_pictures_NCHW), data.train_labels_N
    model.train()
    for step in range(steps):
        if isinstance(model, SplitModel):
            levels = (256, 16, 4)[step % 3]
            if isinstance(model, ProgressiveModel):
                prefixes = range(1, model.num_layers + 1)
                output = model(x_BCHW, levels=levels, prefixes=prefixes)
                targets = labels_B.repeat(model.num_layers)
            else:
                output, targets = model(x_BCHW, levels=levels), labels_B
            loss = nn.functional.cross_entropy(output.logits_BK, targets)
            loss = loss + nn.functional.cross_entropy(output.exit_logits_BK, labels_B)
        else:
            loss = nn.functional.cross_entropy(model(x_BCHW), labels_B)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.eval()


def _save(run: Path, name: str, model: nn.Module) -> tuple[str, str]:
    file = f"weights/{name}.safetensors"
    weights = {key: value.clone().contiguous() for key, value in model.state_dict().items()}
    save_file(weights, run / file)
    return file, sha256_file(run / file)


def _scattered(budget: int, num_maps: int) -> tuple[int, ...]:
    """Select maps that are not the first ones, so that a wrong index cannot go unnoticed."""
    order = [*range(num_maps - 1, -1, -2), *range(num_maps - 2, -1, -2)]
    return tuple(sorted(order[:budget]))


def _floats(pictures_NCHW: torch.Tensor) -> torch.Tensor:
    return pictures_NCHW.float() / 255


@torch.no_grad()
def _accuracy(logits_NK: torch.Tensor, data: TrainingData) -> float:
    return float((logits_NK.argmax(dim=1) == data.val_labels_N).float().mean())
