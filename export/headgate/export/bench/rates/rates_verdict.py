"""What the rates amount to: bytes against WebP at 1.5 points under full accuracy, and at none.

A format needs as many bytes for an accuracy as its smallest picture that has it. Between two
measured qualities the need is interpolated (accuracy against the logarithm of bytes), which gives
the smaller number: the comparison with the interpolated need is the one that counts here, and the
one with a measured quality is stated beside it. What the family sends are its split points;
answers without bytes would make every comparison meaningless.

Uncertainty comes from resampling the pictures, the choice of points included: a point that was
picked because it was lucky is picked less often in the resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, isfinite, log

import numpy as np

from headgate.export.bench.rates.rates_rows import Rates, Row, Sample, Series
from headgate.export.paired import (
    Difference,
    difference,
    resample_counts,
    resampled_means,
)

MARGIN = 0.015  # of accuracy under the whole network
GOAL_RATIO = 1 / 6  # of WebP's bytes at that accuracy
GOAL_RATIO_LOSSLESS = 1 / 2  # of WebP's bytes with no accuracy lost
RESAMPLES = 1000
# Resamples of many pictures are taken in blocks: counts of one block are floats in memory.
BLOCK_VALUES = 1 << 23


@dataclass(frozen=True, slots=True)
class Need:
    """The fewest bytes with which a picture format reaches an accuracy."""

    measured: Row | None  # smallest measured picture; None: none reaches it
    interpolated_bytes: float  # infinite where none reaches it


@dataclass(frozen=True, slots=True)
class Level:
    """One accuracy, and who needs how many bytes for it."""

    margin: float  # under full accuracy
    accuracy: float
    ours: Row | None  # the smallest split point that reaches it
    webp: Need
    jpeg: Need
    ratio: float | None  # ours over WebP's interpolated bytes; None without a split point
    ratio_low: float | None  # 2.5 % of resamples are below
    ratio_high: float | None  # 2.5 % are above; infinite where no split point reaches it


@dataclass(frozen=True, slots=True)
class AtSize:
    """The picture beside which the family looks worst, at `share` of that picture's bytes."""

    share: float
    picture: Row
    ours: Row | None  # None: the family has nothing that small
    gap: Difference | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The lines under the table. Empty parts are None."""

    full: float
    full_error: float | None
    levels: tuple[Level, ...]
    half_budget: Difference | None = None  # best split point within half of WebP's, against full
    half_point: Row | None = None
    worst_at_half: AtSize | None = None  # split points against pictures twice their size
    worst_at_size: AtSize | None = None  # split points and the family's own pictures, at equal size

    @property
    def measured_in_pairs(self) -> bool:
        """Whether single pictures were at hand."""
        return self.worst_at_half is not None


def judge(rates: Rates, *, resamples: int = RESAMPLES) -> Verdict | None:
    """Return the verdict, or None where nothing can be compared.

    Rates of a manifest have no single pictures: their verdict has no intervals and no pairs.
    """
    split, webp = rates.of(Series.SPLIT), rates.of(Series.WEBP)
    full = rates.full
    if full is None or not split or not webp:
        return None
    levels = tuple(_level(rates, margin, resamples=resamples) for margin in (MARGIN, 0.0))
    if full.right_N is None or any(row.sample is None for row in [*split, *webp]):
        return Verdict(full.accuracy, full.error, levels)
    budget = levels[0].webp.interpolated_bytes / 2
    within = [row for row in split if row.mean_bytes <= budget < inf]
    half_point = max(within, key=lambda row: row.accuracy, default=None)
    own_pictures = [row for row in rates.of(Series.WEBP, Series.JPEG) if row.own]
    return Verdict(
        full=full.accuracy,
        full_error=full.error,
        levels=levels,
        half_budget=None
        if half_point is None
        else difference(_sample(half_point).right_N, full.right_N),
        half_point=half_point,
        worst_at_half=_worst(split, webp, share=0.5),
        worst_at_size=_worst([*split, *own_pictures], webp, share=1.0),
    )


def need(curves: Sequence[Sequence[tuple[float, float]]], *, at_least: float) -> float:
    """Return the fewest bytes with which any curve reaches an accuracy; infinite if none does.

    A curve holds (bytes, accuracy). Going up in bytes, the first that reaches it counts, also if a
    larger one falls short again; the step up to it is interpolated over the logarithm of bytes.
    """
    found = inf
    for curve in curves:
        before: tuple[float, float] | None = None
        for num_bytes, accuracy in sorted(curve):
            if accuracy >= at_least:
                found = min(found, _crossing(before, (num_bytes, accuracy), at_least=at_least))
                break
            before = (num_bytes, accuracy)
    return found


def _crossing(
    before: tuple[float, float] | None, after: tuple[float, float], *, at_least: float
) -> float:
    if before is None or before[0] <= 0:
        return after[0]
    share = (at_least - before[1]) / (after[1] - before[1])
    return exp(log(before[0]) + share * (log(after[0]) - log(before[0])))


def _level(rates: Rates, margin: float, *, resamples: int) -> Level:
    assert rates.full is not None
    target = rates.full.accuracy - margin
    good = [row for row in rates.of(Series.SPLIT) if row.accuracy >= target]
    ours = min(good, key=lambda row: row.mean_bytes, default=None)
    webp = _need(rates, Series.WEBP, at_least=target)
    low, high = _ratio_interval(rates, margin, resamples=resamples)
    return Level(
        margin=margin,
        accuracy=target,
        ours=ours,
        webp=webp,
        jpeg=_need(rates, Series.JPEG, at_least=target),
        ratio=None if ours is None else ours.mean_bytes / webp.interpolated_bytes,
        ratio_low=low,
        ratio_high=high,
    )


def _need(rates: Rates, series: Series, *, at_least: float) -> Need:
    rows = rates.of(series)
    good = [row for row in rows if row.accuracy >= at_least]
    return Need(
        min(good, key=lambda row: row.mean_bytes, default=None),
        need([[(r.mean_bytes, r.accuracy) for r in c] for c in _curves(rows)], at_least=at_least),
    )


def _curves(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows by group: qualities of one encoder into one network are one curve."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.group, []).append(row)
    return list(found.values())


def _ratio_interval(
    rates: Rates, margin: float, *, resamples: int
) -> tuple[float | None, float | None]:
    """Return the 95 % interval of the ratio over resamples of the pictures."""
    split, webp = rates.of(Series.SPLIT), rates.of(Series.WEBP)
    rows = [*split, *webp]
    assert rates.full is not None
    if rates.full.right_N is None or any(row.sample is None for row in rows):
        return None, None
    right_PN = np.stack([rates.full.right_N, *(_sample(row).right_N for row in rows)])
    sizes_PN = np.stack([_sample(row).sizes_N for row in rows])
    groups = [[rows.index(row) for row in curve] for curve in _curves(webp)]
    ratios: list[float] = []
    num = len(rates.full.right_N)
    block = max(1, min(resamples, BLOCK_VALUES // num))
    for start in range(0, resamples, block):
        counts_RN = resample_counts(num, resamples=min(block, resamples - start), seed=start)
        accuracy_RP = resampled_means(counts_RN, right_PN)
        bytes_RP = resampled_means(counts_RN, sizes_PN)
        for full_and_rows, num_bytes in zip(accuracy_RP, bytes_RP, strict=True):
            target, accuracy = full_and_rows[0] - margin, full_and_rows[1:]
            ours = min((num_bytes[i] for i in range(len(split)) if accuracy[i] >= target),
                       default=inf)  # fmt: skip
            curves = [[(num_bytes[i], accuracy[i]) for i in group] for group in groups]
            theirs = need(curves, at_least=target)
            ratios.append(_ratio(ours, theirs))
    known = sorted(ratio for ratio in ratios if ratio == ratio)
    if not known:
        return None, None
    return known[int(0.025 * len(known))], known[min(len(known) - 1, int(0.975 * len(known)))]


def _ratio(ours: float, theirs: float) -> float:
    """Return ours over theirs; not a number where neither reaches the accuracy."""
    if not isfinite(theirs):
        return float("nan") if not isfinite(ours) else 0.0
    return ours / theirs


def _worst(ours: Sequence[Row], pictures: Sequence[Row], *, share: float) -> AtSize | None:
    """Return the picture that is furthest above the best of ours within `share` of its bytes.

    Pictures smaller than everything of ours have no counterpart and are left out, unless all are.
    """
    found: list[AtSize] = []
    for picture in pictures:
        within = [row for row in ours if row.mean_bytes <= share * picture.mean_bytes]
        best = max(within, key=lambda row: row.accuracy, default=None)
        if best is not None:
            gap = difference(_sample(best).right_N, _sample(picture).right_N)
            found.append(AtSize(share, picture, best, gap))
    if not found:
        smallest = min(pictures, key=lambda row: row.mean_bytes, default=None)
        return None if smallest is None else AtSize(share, smallest, None, None)
    return min(found, key=_gap)


def _gap(item: AtSize) -> float:
    assert item.gap is not None
    return item.gap.value


def _sample(row: Row) -> Sample:
    assert row.sample is not None
    return row.sample
