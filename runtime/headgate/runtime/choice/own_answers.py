"""What the device answers by itself: local points, and early exits on the heads of split points."""

from collections.abc import Mapping

from headgate.profiles.manifest import Manifest, OperatingPoint
from headgate.runtime.choice.costs import PointCosts


def best_local(
    local: tuple[OperatingPoint, ...],
    quality: Mapping[str, float],
    costs: PointCosts,
    *,
    left_s: float | None,
) -> OperatingPoint | None:
    """Return the best local point that takes no longer than that (None: any), or None."""
    fitting = [p for p in local if left_s is None or costs.device_s(p.id) <= left_s]
    return max(fitting, key=lambda point: quality[point.id], default=None)


def exit_quality(manifest: Manifest, point: OperatingPoint) -> float:
    """Return the quality of the early exit on the head of a split point, higher is better.

    One that was not measured is taken for no better than anything that was, nor than 0.
    """
    assert point.member is not None
    if not has_exit(manifest, point):
        return least_quality(manifest)
    value = manifest.member(point.member).exit_metrics[manifest.primary_metric]
    return value if manifest.metrics[0].direction == "higher" else -value


def least_quality(manifest: Manifest) -> float:
    """Return what no answer of a family is worse than: what none at all is worth at most."""
    return min([0.0, *map(manifest.quality, manifest.points)])


def has_exit(manifest: Manifest, point: OperatingPoint) -> bool:
    """Whether the early exit on the head of a split point was measured."""
    assert point.member is not None
    return manifest.primary_metric in manifest.member(point.member).exit_metrics
