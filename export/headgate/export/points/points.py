"""Sum up what points cost and are worth, and decide which split points are worth keeping.

A split point is worth keeping if it answers better than every cheaper one of its member that is
kept, by more than noise or by more than `CLEAR_GAIN`. All points are measured on the same pictures,
so the noise of a difference is that of paired answers: only pictures on which exactly one of the
two is right count.

Prefixes of one series stand or fall together: an edge may have received any number of layers, so
none may be missing below another. A series loses layers at its end that make nothing better, and
stays if one of its prefixes is worth keeping beside those of the member's other series.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from headgate.profiles.manifest import ByteStats, OperatingPoint, PointKind, PointTime

METRIC = "top1"  # share of pictures whose most probable label is right, 0 to 1
# With few pictures the noise is larger than any gain; a gain above this is kept all the same.
CLEAR_GAIN = 0.002


@dataclass(frozen=True, slots=True)
class Measured:
    """One point with its metrics and bytes filled in, and what they were summed up from."""

    point: OperatingPoint
    right: NDArray[np.bool_]  # per validation picture: was the label right
    time: PointTime
    exit_accuracy: float | None = None  # split: of the early exit that rides along
    # Per validation picture: payload bytes; empty for what sends nothing.
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())


def byte_stats(sizes: Sequence[int]) -> ByteStats:
    """Sum up payload sizes in bytes."""
    sizes_N = np.asarray(sizes, dtype=np.float64)
    p5, p50, p95 = (float(value) for value in np.percentile(sizes_N, [5, 50, 95]))
    return ByteStats(mean=float(sizes_N.mean()), p5=p5, p50=p50, p95=p95, max=float(sizes_N.max()))


def with_measurements(
    point: OperatingPoint, *, accuracy: float, sizes: Sequence[int]
) -> OperatingPoint:
    """Return the point with its metrics, and with its bytes if it sends any."""
    filled = replace(point, metrics={METRIC: accuracy})
    return replace(filled, bytes=byte_stats(sizes)) if sizes else filled


def worth_keeping(measured: Sequence[Measured]) -> list[Measured]:
    """Drop split points that a cheaper one of their member equals; keep order, and all others."""
    kept_ids: set[str] = set()
    for member_id in {item.point.member for item in measured}:
        split = [
            item
            for item in measured
            if item.point.kind is PointKind.SPLIT and item.point.member == member_id
        ]
        kept_ids |= _worth_of_member(split)
    return [
        item
        for item in measured
        if item.point.kind is not PointKind.SPLIT or item.point.id in kept_ids
    ]


def paired_noise(a_N: NDArray[np.bool_], b_N: NDArray[np.bool_]) -> float:
    """Return how far two accuracies on the same pictures may lie apart if they are equal.

    It is the standard error of their difference then. That of the difference which was found, as
    `paired.difference` has it, is smaller: it asks how large the gain is, not whether there is one.
    """
    return sqrt(int(np.count_nonzero(a_N != b_N))) / len(a_N)


def _worth_of_member(split: Sequence[Measured]) -> set[str]:
    """Return the ids of one member's split points to keep; points without a prefix stand alone."""
    series: dict[object, list[Measured]] = {}
    for item in split:
        alone = item.point.prefix is None
        series.setdefault(item.point.id if alone else item.point.series, []).append(item)
    shortened = [_without_useless_end(prefixes) for prefixes in series.values()]
    on_frontier = {item.point.id for item in _frontier([i for each in shortened for i in each])}
    return {
        item.point.id
        for each in shortened
        if any(one.point.id in on_frontier for one in each)
        for item in each
    }


def _without_useless_end(prefixes: Sequence[Measured]) -> list[Measured]:
    """Return a series up to its last prefix that answers better than what came before it."""
    top = max(item.point.prefix or 0 for item in _frontier(prefixes))
    return [item for item in prefixes if (item.point.prefix or 0) <= top]


def _frontier(measured: Sequence[Measured]) -> list[Measured]:
    kept: list[Measured] = []
    for candidate in sorted(measured, key=lambda item: (item.point.bytes.mean, -item.accuracy)):
        if all(_clearly_better(candidate, than=cheaper) for cheaper in kept):
            kept.append(candidate)
    return kept


def _clearly_better(candidate: Measured, *, than: Measured) -> bool:
    gain = candidate.accuracy - than.accuracy
    return gain > min(paired_noise(candidate.right, than.right), CLEAR_GAIN)
