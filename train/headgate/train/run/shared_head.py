"""Decides whether a run caches what its frozen head makes of the pictures, and how often."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from headgate.train.folder.run_record import FinishedStage
from headgate.train.folder.work_folder import CACHE
from headgate.train.learning.feature_cache import (
    CacheKey,
    FeatureCache,
    choose_num_variants,
    open_cache,
)
from headgate.train.pictures.data import Augmentation, default_augmentation
from headgate.train.run.plan import Plan
from headgate.train.run.stage_models import BACKBONE, member_around_plain, trained_network
from headgate.train.seeds import derive_seed
from headgate.train.stages import SLIM, StageKind

# Shapes: B batch, C channels, P maps of H x W at the split, K classes

GB = 10**9
_BEGIN_AT_SPLIT = (StageKind.BASE, StageKind.MEMBER, StageKind.PROGRESSIVE)


def augmentation_of(plan: Plan) -> Augmentation | None:
    """Return what is done to a run's training pictures."""
    if not plan.config.augment:
        return None
    return default_augmentation(plan.config.data, input_px=min(plan.blueprint.size_px))


def cached_features(
    fabric: Fabric, plan: Plan, *, folder: Path, finished: dict[str, FinishedStage]
) -> FeatureCache | None:
    """Return the run's cache, filled; None if it does not pay or may not take its space."""
    blueprint, data = plan.blueprint, plan.data
    model = member_around_plain(plan, finished, folder=folder)
    model.to(fabric.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    augmentation = augmentation_of(plan)
    height, width = model.bottleneck.size_px
    num_variants = choose_num_variants(
        num_pictures=len(data.train_labels_N),
        num_validation=len(data.val_labels_N),
        num_values=blueprint.num_maps * height * width,
        epochs=sum(stage.epochs for stage in plan.stages if stage.kind in _BEGIN_AT_SPLIT),
        augmented=augmentation is not None,
        limit_bytes=int(plan.config.cache_gb * GB),
    )
    if num_variants == 0:
        return None
    sources = [finished[stage].sha256 for stage in (BACKBONE, SLIM) if stage in finished]
    key = CacheKey(
        weights=" ".join(map(str, sources)),
        data=data.digest,
        seed=derive_seed(plan.config.seed, "cached features"),
        augmentation=augmentation,
        precision=plan.config.precision,
        num_variants=num_variants,
        num_pictures=len(data.train_labels_N),
        num_validation=len(data.val_labels_N),
        shape=(blueprint.num_maps, height, width),
        num_classes=blueprint.num_classes,
    )

    teacher: nn.Module | None = None
    if SLIM in finished:  # otherwise the member's own halves are the plain network
        teacher = trained_network(plan, finished[BACKBONE], folder=folder)
        teacher.to(fabric.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def look(x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        features_BPHW = model.features(x_BCHW)
        answers_BK = model.tail(features_BPHW) if teacher is None else teacher(x_BCHW)
        return features_BPHW, answers_BK

    return open_cache(fabric, folder / CACHE, key, data=data, look=look)
