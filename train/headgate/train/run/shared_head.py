"""Decides whether a run caches what its frozen head makes of the pictures, and how often."""

from __future__ import annotations

from torch import Tensor, nn

from headgate.train.folder.work_folder import CACHE
from headgate.train.learning.feature_cache import (
    CacheKey,
    FeatureCache,
    choose_num_variants,
    open_cache,
)
from headgate.train.networks.layout import lay_channels_last
from headgate.train.run.setting import Setting
from headgate.train.run.stage_models import member_around_plain, trained_network
from headgate.train.seeds import derive_seed
from headgate.train.stages import BACKBONE, SLIM, StageKind

# Shapes: B batch, C channels, P maps of H x W at the split, K classes

GB = 10**9
_BEGIN_AT_SPLIT = (StageKind.BASE, StageKind.MEMBER, StageKind.PROGRESSIVE)


class SharedHead:
    """What the frozen head of a run makes of the pictures: one cache for all of its members."""

    def __init__(self) -> None:
        self._cache: FeatureCache | None = None

    def outputs(self, setting: Setting) -> FeatureCache | None:
        """Return the cache, filled by the first who asks; None where stages do without."""
        if self._cache is None:
            self._cache = _cached_features(setting)
        return self._cache


def _cached_features(setting: Setting) -> FeatureCache | None:
    """Return the run's cache, filled; None if it does not pay or may not take its space."""
    fabric, plan, finished = setting.fabric, setting.plan, setting.finished
    blueprint, data = plan.blueprint, plan.data
    model = member_around_plain(setting)
    model.to(fabric.device).eval()
    lay_channels_last(model)
    height, width = model.bottleneck.size_px
    num_variants = choose_num_variants(
        num_pictures=len(data.train_labels_N),
        num_validation=len(data.val_labels_N),
        num_values=blueprint.num_maps * height * width,
        num_classes=blueprint.num_classes,
        epochs=sum(stage.epochs for stage in plan.stages if stage.kind in _BEGIN_AT_SPLIT),
        augmented=plan.augmentation is not None,
        limit_bytes=int(plan.config.cache_gb * GB),
    )
    if num_variants == 0:
        return None
    sources = [finished[stage].sha256 for stage in (BACKBONE, SLIM) if stage in finished]
    key = CacheKey(
        weights=" ".join(map(str, sources)),
        data=data.digest,
        seed=derive_seed(plan.config.seed, "cached features"),
        augmentation=plan.augmentation,
        precision=plan.config.precision,
        num_variants=num_variants,
        num_pictures=len(data.train_labels_N),
        num_validation=len(data.val_labels_N),
        shape=(blueprint.num_maps, height, width),
        num_classes=blueprint.num_classes,
    )

    teacher: nn.Module | None = None
    if SLIM in finished:  # otherwise the member's own halves are the plain network
        teacher = trained_network(setting)
        teacher.to(fabric.device).eval()
        lay_channels_last(teacher)

    def look(x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        features_BPHW = model.features(x_BCHW)
        answers_BK = model.tail(features_BPHW) if teacher is None else teacher(x_BCHW)
        return features_BPHW, answers_BK

    return open_cache(fabric, setting.folder / CACHE, key, data=data, look=look)
