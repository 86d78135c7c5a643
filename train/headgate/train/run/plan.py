"""Turns settings into what a run needs before its first step: pictures, architecture and stages."""

from dataclasses import dataclass, fields
from math import prod
from pathlib import Path
from statistics import median_low

import torch

from headgate.profiles.errors import UsageError
from headgate.profiles.manifest import InputSpec
from headgate.train.folder.run_record import RUN_SCHEMA, TRAINING, DatasetEntry, RunRecord
from headgate.train.networks.backbones import PlainModel, build_backbone
from headgate.train.networks.blueprint import Blueprint
from headgate.train.networks.colours import Scaling
from headgate.train.networks.splits import find_split
from headgate.train.pictures.batches import Augmentation
from headgate.train.pictures.data import (
    TrainingData,
    default_augmentation,
    load_training_data,
    native_input,
    some_sizes_px,
)
from headgate.train.progressive import ProgressiveConfig, check_prefix_weights, slice_layers
from headgate.train.recipe import PruneConfig, default_split, default_width
from headgate.train.run.given_backbone import choose_scaling, load_backbone
from headgate.train.run.recipe_checks import check_config
from headgate.train.run.trial import (
    check_answers,
    check_can_be_exported,
    check_can_be_rebuilt,
    check_can_be_trained,
)
from headgate.train.stages import Stage, StageKind, plan_stages

SUGGESTED_PX = (32, 224)  # sides that a message may suggest: what built-in networks are made for
MAX_NATIVE_PX = 1024  # a side of pictures that is taken for the network's unasked


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is decided before training begins."""

    config: PruneConfig
    data: TrainingData
    blueprint: Blueprint
    stages: tuple[Stage, ...]

    @property
    def augmentation(self) -> Augmentation | None:
        """What is done to training pictures, each time anew."""
        if not self.config.augment:
            return None
        return default_augmentation(self.config.data, input_px=min(self.blueprint.size_px))

    def data_note(self) -> str:
        """Say what was found where the user pointed, before it is learnt from for hours."""
        size, data = self.blueprint.input, self.data
        return (
            f"data: {len(data.train_labels_N):,} pictures to train on and "
            f"{len(data.val_labels_N):,} to validate with, of {data.num_classes} classes, at "
            f"{size.width_px} x {size.height_px} px{self._classes_not_shown()}"
        )

    def _classes_not_shown(self) -> str:
        """Name classes that a half has no picture of: no accuracy here tells how they fare."""
        labels, text = self.data.labels, ""
        for half, labels_N in (
            ("train on", self.data.train_labels_N),
            ("validate with", self.data.val_labels_N),
        ):
            counts = labels_N.bincount(minlength=len(labels)).tolist()
            absent = [name for name, count in zip(labels, counts, strict=True) if not count]
            if absent:
                others = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
                text += f"; none to {half} of class {absent[0]!r}{others}"
        return text

    def record(self) -> RunRecord:
        """Return the run's record before anything is trained."""
        return RunRecord(
            schema=RUN_SCHEMA,
            status=TRAINING,
            blueprint=self.blueprint,
            labels=self.data.labels,
            dataset=DatasetEntry(
                spec=self.data.spec,
                digest=self.data.digest,
                num_train=len(self.data.train_labels_N),
                num_val=len(self.data.val_labels_N),
                num_val_commonest=int(self.data.val_labels_N.bincount().max()),
            ),
            settings=self.config,
            backbone=None,
            members=(),
        )


def make_plan(config: PruneConfig) -> Plan:
    """Check settings against each other, the data set and the network; read the pictures."""
    check_config(config)
    split = default_split(config)
    data = load_training_data(config.data, input_spec(config), limit=config.limit, seed=config.seed)
    num_train, num_val = len(data.train_labels_N), len(data.val_labels_N)
    if num_train < 2 or num_val < 1:
        raise UsageError(
            f"data set {config.data}: {num_train} training and {num_val} validation pictures, "
            "expected at least 2 and 1; use a larger one, or a larger --limit"
        )
    if data.num_classes < 2:
        raise UsageError(
            f"data set {config.data}: only class {data.labels[0]!r}, expected two or more to tell "
            "apart; add pictures of the others (of a folder: each class in its own)"
        )
    size_px = (data.input.height_px, data.input.width_px)
    network = build_backbone(
        config.model, num_classes=data.num_classes, input_px=size_px, width=default_width(config)
    )
    point = find_split(network, split, torch.zeros(1, 3, *size_px))
    scaling = choose_scaling(config, of_data=Scaling(data.mean, data.std))
    blueprint = Blueprint(
        model=config.model,
        width=default_width(config),
        split=point.name,
        resolution_factor=config.resolution_factor,
        num_classes=data.num_classes,
        num_maps=point.shape[0],
        levels=config.levels,
        input=data.input,
        mean=scaling.mean,
        std=scaling.std,
        slim_head=config.slim_head,
        plain_cut=config.plain_cut,
    )
    # Tried once before anything is written: what will be refused is refused here.
    plain = blueprint.build_backbone()
    if config.backbone is not None:
        load_backbone(plain, Path(config.backbone))
    check_answers(plain, blueprint)
    check_can_be_rebuilt(plain, blueprint)
    if not config.plain_cut:
        blueprint.build_split_model(budget=blueprint.num_maps, plain=plain)
    stages = plan_stages(config, num_maps=blueprint.num_maps)
    if config.progressive is not None:
        (stage,) = (stage for stage in stages if stage.kind is StageKind.PROGRESSIVE)
        _try_progressive(config.progressive, blueprint, plain=plain, budget=stage.budget)
    check_can_be_trained(plain, blueprint)
    check_can_be_exported(plain, blueprint)
    return Plan(config, data, blueprint, stages)


def _try_progressive(
    config: ProgressiveConfig, blueprint: Blueprint, *, plain: PlainModel, budget: int | None
) -> None:
    """Refuse slices, weights or a split that the network cannot have."""
    assert budget is not None
    layers = slice_layers(budget, slice_maps=config.slice_maps)
    if config.method == "clio":
        check_prefix_weights(config.prefix_weights, num_layers=len(layers))
    if config.prefixes_per_step is not None and config.prefixes_per_step >= len(layers):
        raise UsageError(
            f"--prefixes-per-step: found {config.prefixes_per_step}, but beside the whole there "
            f"are {len(layers) - 1} prefixes; give fewer, or leave it out to take all"
        )
    blueprint.build_progressive_model(budget=budget, plain=plain)


def check_same_run(plan: Plan, record: RunRecord, *, where: Path) -> None:
    """Refuse to resume a run whose pictures or network are no longer what they were."""
    now = plan.record()
    if now.dataset.digest != record.dataset.digest:
        raise UsageError(
            f"{where}: the data set has changed since this run began (digest "
            f"{now.dataset.digest[:12]}, was {record.dataset.digest[:12]}); put the old one back, "
            "or start over with --force"
        )
    changed = [
        f"{each.name} was {then}, is {found}"
        for each in fields(Blueprint)
        if (then := getattr(record.blueprint, each.name))
        != (found := getattr(now.blueprint, each.name))
    ]
    if changed:
        raise UsageError(
            f"{where}: the network is not the one this run began with ({'; '.join(changed)}); put "
            "the old one back, or start over with --force"
        )


def input_spec(config: PruneConfig) -> InputSpec:
    """Return the input's size and how pictures are brought to it.

    Photographs in folders come in all shapes: their centre is cut out. Data sets of
    one size are stretched, which does nothing unless another size is asked for.
    """
    native = native_input(config.data)
    if config.input_px is None:
        _refuse_mixed_sizes(config.data)
    if config.input_px is None and max(native.height_px, native.width_px) > MAX_NATIVE_PX:
        raise UsageError(
            f"--input-px: missing, and the first picture of {config.data} has {native.width_px} x "
            f"{native.height_px} px, too many for a network unasked; give the side of its input, "
            "such as 224"
        )
    return InputSpec(
        height_px=config.input_px or native.height_px,
        width_px=config.input_px or native.width_px,
        resize="crop" if config.data.startswith("folder:") else "stretch",
    )


def _refuse_mixed_sizes(data: str) -> None:
    """Refuse to let chance choose the network's input: the first of many sizes."""
    sizes = some_sizes_px(data)
    if len(set(sizes)) == 1:
        return
    smallest, largest = min(sizes, key=prod), max(sizes, key=prod)
    least_px, most_px = SUGGESTED_PX
    usual_px = median_low(min(size) for size in sizes) // 32 * 32
    suggested_px = max(least_px, min(most_px, usual_px))
    raise UsageError(
        f"--input-px: missing, and the pictures of {data} are of several sizes, "
        f"{smallest[1]} x {smallest[0]} to {largest[1]} x {largest[0]} px among "
        f"{len(sizes)} of them; give the side of the network's input, such as {suggested_px}"
    )


def split_shape(config: PruneConfig) -> tuple[int, int, int]:
    """Return channels, height and width of what leaves the split, without reading the pictures."""
    spec = input_spec(config)
    size_px = (spec.height_px, spec.width_px)
    network = build_backbone(
        config.model, num_classes=2, input_px=size_px, width=default_width(config)
    )
    point = find_split(network, default_split(config), torch.zeros(1, 3, *size_px))
    channels, height, width = point.shape
    return channels, height, width
