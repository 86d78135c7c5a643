"""Say what the verdict on rates is: goals, sentences, JSON."""

from __future__ import annotations

from math import isfinite
from typing import Any

from headgate.export.bench.bench_table import Goal
from headgate.export.bench.rates.rates_rows import Rates, Series
from headgate.export.bench.rates.rates_verdict import (
    GOAL_RATIO,
    GOAL_RATIO_LOSSLESS,
    AtSize,
    Level,
    Need,
    Verdict,
)
from headgate.export.paired import Difference
from headgate.export.points.candidates import LOCAL_EXIT

# The worst of many comparisons of equals is a little below zero.
NOISE = 0.005


def goals(verdict: Verdict | None) -> tuple[Goal, ...]:
    """Return the bounds that the rates are held to; none where nothing can be compared."""
    if verdict is None:
        return ()
    found = []
    for level, bound, text in zip(
        verdict.levels,
        (GOAL_RATIO, GOAL_RATIO_LOSSLESS),
        ("at 1.5 points under full accuracy at most 1/6 of WebP's bytes",
         "with no accuracy lost at most 1/2 of WebP's bytes"),
        strict=True,
    ):  # fmt: skip
        ratio = float("inf") if level.ratio is None else level.ratio
        found.append(Goal(text, ratio, ratio <= bound))
    worst = verdict.worst_at_size
    if worst is not None and worst.gap is not None:
        found.append(
            Goal(
                "never worse than WebP at any size: worst difference at least "
                f"-{100 * NOISE:g} points",
                100 * worst.gap.value,
                worst.gap.value >= -NOISE,
            )
        )
    return tuple(found)


def goal_text(goal: Goal) -> str:
    """Say in a sentence whether a goal was met."""
    if not isfinite(goal.value):
        return f"Goal: {goal.text}. Not met: no split point is as accurate."
    return f"Goal: {goal.text}. {'Met' if goal.met else 'Not met'}: {goal.value:.3g}."


def exit_lines(rates: Rates) -> tuple[str, ...]:
    """Say so where the early exit, which a split frame computes anyway, is right as often."""
    alone = next((row for row in rates.of(Series.LOCAL) if row.id == LOCAL_EXIT), None)
    split = max(rates.of(Series.SPLIT), key=lambda row: row.accuracy, default=None)
    if alone is None or split is None or alone.accuracy < split.accuracy:
        return ()
    return (
        f"the early exit ({alone.id}, 0 bytes) is right about {100 * alone.accuracy:.1f} % of the "
        f"pictures and no split point about more ({split.id}, {100 * split.accuracy:.1f} %): what "
        "the device computes before it sends answers as well, so nothing is gained by sending maps",
    )


def verdict_lines(verdict: Verdict | None) -> tuple[str, ...]:
    """Return the verdict as sentences."""
    if verdict is None:
        return ("no verdict: it needs a split point and WebP pictures measured on the same data",)
    error = "" if verdict.full_error is None else f" ± {100 * verdict.full_error:.1f}"
    lines = [f"full accuracy: {100 * verdict.full:.1f}{error} % on uncompressed pictures"]
    lines += [_level_line(level) for level in verdict.levels]
    if verdict.measured_in_pairs:
        lines.append(_half_line(verdict))
    if verdict.worst_at_half is not None:
        lines.append(_size_line(verdict.worst_at_half, "at half the bytes of each WebP"))
    if verdict.worst_at_size is not None:
        lines.append(
            _size_line(
                verdict.worst_at_size,
                "at the bytes of each WebP, with the family's own pictures among its points",
            )
        )
    return tuple(lines)


def verdict_json(verdict: Verdict | None) -> dict[str, Any] | None:
    """Return the verdict with unrounded numbers; null where something does not exist."""
    if verdict is None:
        return None
    return {
        "full_accuracy": verdict.full,
        "full_error": verdict.full_error,
        "levels": [
            {
                "points_under_full": 100 * level.margin,
                "accuracy": level.accuracy,
                "ours": None if level.ours is None else level.ours.id,
                "our_bytes": None if level.ours is None else level.ours.mean_bytes,
                "webp": _need_json(level.webp),
                "jpeg": _need_json(level.jpeg),
                "ratio_to_interpolated_webp": _finite(level.ratio),
                "ratio_95": [_finite(level.ratio_low), _finite(level.ratio_high)],
            }
            for level in verdict.levels
        ],
        "half_of_webp": _gap_json(verdict.half_budget)
        | {"ours": None if verdict.half_point is None else verdict.half_point.id},
        "worst_at_half_of_each_webp": _at_size_json(verdict.worst_at_half),
        "worst_at_size_of_each_webp": _at_size_json(verdict.worst_at_size),
    }


def _level_line(level: Level) -> str:
    under = f"{100 * level.margin:g} points under full" if level.margin else "no accuracy lost"
    opening = f"{under} ({100 * level.accuracy:.1f} %)"
    theirs = f"WebP {_need_text(level.webp)}, JPEG {_need_text(level.jpeg)}"
    if level.ours is None:
        return f"{opening}: no split point is as accurate; {theirs}"
    line = f"{opening}: {level.ours.id} needs {level.ours.mean_bytes:.0f} bytes; {theirs}"
    if level.ratio is None or not isfinite(level.webp.interpolated_bytes):
        return line
    line += f"; {level.ratio:.3f} of WebP's interpolated bytes, {_times(level)}"
    if level.ratio_low is not None and level.ratio_high is not None:
        low = _number(level.ratio_low)
        if level.ratio_low == 0:
            low = "0 (in some, no WebP is as accurate)"
        line += f"; 95 % of resamples of the pictures give {low} to {_number(level.ratio_high)}"
    return line


def _times(level: Level) -> str:
    assert level.ratio is not None
    assert level.ours is not None
    text = _times_fewer(1 / level.ratio)
    if level.webp.measured is not None:
        measured = _times_fewer(level.webp.measured.mean_bytes / level.ours.mean_bytes)
        also = "also" if measured == text else measured
        text += f" ({also} against the measured one)"
    return text


def _times_fewer(factor: float) -> str:
    """Say `factor` times fewer, or the other way round what would be 0.6 times fewer."""
    if f"{factor:.1f}" == "1.0":
        return "as many"
    return f"{factor:.1f} times fewer" if factor > 1 else f"{1 / factor:.1f} times as many"


def _need_text(need: Need) -> str:
    if need.measured is None:
        return "never reaches it at the qualities measured"
    return (
        f"{need.interpolated_bytes:.0f} interpolated, {need.measured.mean_bytes:.0f} measured "
        f"({need.measured.id})"
    )


def _half_line(verdict: Verdict) -> str:
    budget = verdict.levels[0].webp.interpolated_bytes / 2
    if not isfinite(budget):
        return "at half of WebP's bytes: WebP never comes within 1.5 points of full accuracy"
    opening = f"at half of the WebP that is 1.5 points under full ({budget:.0f} bytes)"
    if verdict.half_point is None or verdict.half_budget is None:
        return f"{opening}: no split point is that small"
    gap = verdict.half_budget
    return f"{opening}: {verdict.half_point.id}, {_points(gap)} against full accuracy, {_loss(gap)}"


def _loss(gap: Difference) -> str:
    if gap.value >= 0:
        return "nothing lost"
    return "a loss" if gap.significant else "a loss within the noise"


def _size_line(at_size: AtSize, opening: str) -> str:
    if at_size.ours is None or at_size.gap is None:
        return f"{opening}: the family has nothing that small ({at_size.picture.id} is smallest)"
    return (
        f"{opening} the worst case is {at_size.ours.id} against {at_size.picture.id} "
        f"({at_size.picture.mean_bytes:.0f} bytes): {_points(at_size.gap)}"
    )


def _points(gap: Difference) -> str:
    return f"{100 * gap.value:+.1f} ± {100 * gap.error:.1f} points (McNemar p = {gap.p_value:.2g})"


def _number(value: float) -> str:
    return f"{value:.3f}" if isfinite(value) else "no split point as accurate"


def _need_json(need: Need) -> dict[str, Any]:
    return {
        "measured": None if need.measured is None else need.measured.id,
        "measured_bytes": None if need.measured is None else need.measured.mean_bytes,
        "interpolated_bytes": _finite(need.interpolated_bytes),
    }


def _gap_json(gap: Difference | None) -> dict[str, Any]:
    return {} if gap is None else dict(gap.to_json())


def _at_size_json(at_size: AtSize | None) -> dict[str, Any] | None:
    if at_size is None:
        return None
    return _gap_json(at_size.gap) | {
        "share": at_size.share,
        "picture": at_size.picture.id,
        "ours": None if at_size.ours is None else at_size.ours.id,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
