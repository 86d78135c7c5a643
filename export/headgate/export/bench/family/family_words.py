"""Say in plain sentences where splitting pays for a family, and where it does not, and why."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from headgate.export.bench.family.family_map import PAYS, Cell, OverTrace, Way
from headgate.export.bench.rates.break_even import rate_text
from headgate.export.bench.rates.rates_pictures import FEW_PICTURES
from headgate.export.bench.rates.rates_rows import Rates, Row, Series

WAY_WORDS = {
    Way.SPLIT: "splits",
    Way.PICTURE: "sends pictures",
    Way.LOCAL: "answers alone",
    Way.NONE: "is mostly late",
}


def headline(cells: Sequence[Cell], rates: Rates) -> str:
    """Say in one paragraph where splitting pays on steady links."""
    if not rates.of(Series.SPLIT):
        return "This family has no split points; here is what else it can do."
    if not cells:
        return (
            "Compute times are missing, so it cannot be said where splitting pays: give --data, or "
            "export the family without --no-times."
        )
    paying = [cell for cell in cells if cell.pays]
    if not paying:
        return (
            f"Splitting pays on none of these links: nowhere does it add {100 * PAYS:g} points of "
            f"accuracy to what the same device reaches without it. {_why_not(cells, rates)}"
        )
    best = max(paying, key=lambda cell: cell.outcome.gain or 0.0)
    parts = [
        f"{_ms(sla_s)}: {_span([cell for cell in paying if cell.sla_s == sla_s], cells)}"
        for sla_s in sorted({cell.sla_s for cell in paying})
    ]
    never = sorted({cell.sla_s for cell in cells} - {cell.sla_s for cell in paying})
    said = f"Splitting pays, by SLA, at {'; '.join(parts)}."
    if best.outcome.gain is not None and best.outcome.without_split is not None:
        said += (
            f" At best, at {rate_text(best.rate_bps)} and an SLA of {_ms(best.sla_s)}, it answers "
            f"with {_percent(best.outcome.credited)} where the same device without split points "
            f"reaches {_percent(best.outcome.without_split)}."
        )
    if never:
        said += f" It does not pay at any rate with an SLA of {_listed([_ms(s) for s in never])}."
    return said


def sla_sentence(cells: Sequence[Cell], sla_s: float) -> str:
    """Say what the controller does from slow links to fast ones at one SLA."""
    column = sorted((c for c in cells if c.sla_s == sla_s), key=lambda cell: cell.rate_bps)
    parts = []
    for way, group in groupby(column, key=lambda cell: cell.outcome.way):
        members = list(group)
        accuracies = [cell.outcome.credited for cell in members]
        parts.append(
            f"{_between(members, column)} it {WAY_WORDS[way]} ({_accuracy_span(accuracies)})"
        )
    return f"Within {_ms(sla_s)}: {'; '.join(parts)}."


def where_not(cells: Sequence[Cell]) -> str | None:
    """Say where splitting costs accuracy instead, or None where it never does."""
    losing = [cell for cell in cells if (cell.outcome.gain or 0.0) <= -PAYS]
    if not losing:
        return None
    worst = min(losing, key=lambda cell: cell.outcome.gain or 0.0)
    return (
        f"In {len(losing)} of {len(cells)} cases the same device answers better without split "
        f"points than with them, since its controller does not choose perfectly: at worst "
        f"{100 * (worst.outcome.gain or 0.0):+.1f} points, at {rate_text(worst.rate_bps)} and an "
        f"SLA of {_ms(worst.sla_s)}."
    )


def doubt(rates: Rates) -> str | None:
    """Say how little so few pictures prove, or None where there are enough, or none are known."""
    errors = [row.error for row in rates.rows if row.error is not None]
    if rates.num_pictures is None or rates.num_pictures >= FEW_PICTURES or not errors:
        return None
    return (
        f"All of this is from {rates.num_pictures} pictures, with standard errors up to "
        f"{100 * max(errors):.1f} points: ways that are closer than that may be equal."
    )


def traces_sentence(runs: Sequence[OverTrace], *, splits: bool = True) -> str:
    """Sum up recorded links, one clause per SLA. `splits`: there are points that split."""
    parts = []
    for sla_s in sorted({run.sla_s for run in runs}):
        chosen = [run.outcome for run in runs if run.sla_s == sla_s]
        credited = sum(each.credited for each in chosen) / len(chosen)
        in_time = sum(each.in_time for each in chosen) / len(chosen)
        text = f"within {_ms(sla_s)} {_percent(credited)} ({_percent(in_time)} in time"
        gains = [each.gain for each in chosen if each.gain is not None]
        if gains and splits:
            text += f"; splitting adds {_points(sum(gains) / len(gains))} points"
        parts.append(text + ")")
    num = len({run.trace for run in runs})
    return (
        f"Over {num} recorded link{'s' if num > 1 else ''} the controller is credited, on "
        f"average, {_listed(parts)}; late frames count as wrong."
    )


def cost_sentence(rates: Rates) -> str | None:
    """Say what splitting asks of the device, beside the whole network and beside a picture."""
    splits = [row for row in rates.of(Series.SPLIT) if row.time is not None]
    if not splits:
        return None
    quickest = min(splits, key=_device_s)
    said = f"On the device a split frame takes {1000 * _device_s(quickest):.2f} ms ({quickest.id})"
    full = [row for row in rates.of(Series.LOCAL) if row.time is not None]
    pictures = [row for row in rates.of(Series.JPEG, Series.WEBP) if row.time is not None]
    beside = []
    if full:
        longest = max(full, key=_device_s)
        beside.append(f"{longest.id} takes {1000 * _device_s(longest):.2f} ms")
    for series, name in ((Series.JPEG, "a JPEG"), (Series.WEBP, "a WebP")):
        found = [row for row in pictures if row.series is series]
        if found:
            quick = min(found, key=_device_s)
            beside.append(f"{name} {1000 * _device_s(quick):.2f} ms ({quick.id})")
    return f"{said}; {_listed(beside)}." if beside else f"{said}."


def _why_not(cells: Sequence[Cell], rates: Rates) -> str:
    split = max(rates.of(Series.SPLIT), key=lambda row: row.accuracy)
    local = max(rates.of(Series.LOCAL), key=lambda row: row.accuracy, default=None)
    ways = {cell.outcome.way for cell in cells}
    if {Way.LOCAL, Way.PICTURE} <= ways:
        return (
            f"The best split point has {_percent(split.accuracy)} ({split.id}), but with the time "
            "that each takes on this device, answering alone on slow links and pictures on fast "
            "ones are worth as much."
        )
    alone = ways == {Way.LOCAL}  # otherwise its accuracy may be out of this device's reach
    if alone and local is not None and local.accuracy >= split.accuracy - PAYS:
        return (
            f"The device reaches {_percent(local.accuracy)} by itself ({local.id}), and the best "
            f"split point has {_percent(split.accuracy)} ({split.id})."
        )
    pictures = rates.of(Series.JPEG, Series.WEBP)
    picture = max(pictures, key=lambda row: row.accuracy, default=None)
    if picture is not None and picture.accuracy >= split.accuracy - PAYS:
        return (
            f"Pictures are as good ({picture.id}: {_percent(picture.accuracy)}, {split.id}: "
            f"{_percent(split.accuracy)}) and fit wherever a split frame fits."
        )
    return f"The best split point has {_percent(split.accuracy)} ({split.id})."


def _span(paying: Sequence[Cell], cells: Sequence[Cell]) -> str:
    """Name the links of these cells as ranges of the rates that were tried."""
    rates_bps = sorted({cell.rate_bps for cell in cells})
    paying_bps = {cell.rate_bps for cell in paying}
    runs = [
        [rate for _, rate in group]
        for pays, group in groupby(
            ((rate in paying_bps, rate) for rate in rates_bps), key=lambda item: item[0]
        )
        if pays
    ]
    return _listed([_range(run) for run in runs])


def _between(members: Sequence[Cell], column: Sequence[Cell]) -> str:
    first, last = members[0], members[-1]
    if first is column[0] and last is column[-1]:
        return "at every rate"
    if first is column[0]:
        return f"up to {rate_text(last.rate_bps)}"
    if last is column[-1]:
        return f"from {rate_text(first.rate_bps)}"
    return f"at {_range([first.rate_bps, last.rate_bps])}"


def _range(rates_bps: Sequence[float]) -> str:
    first, last = rate_text(rates_bps[0]), rate_text(rates_bps[-1])
    return first if first == last else f"{first} to {last}"


def _accuracy_span(accuracies: Sequence[float]) -> str:
    low, high = min(accuracies), max(accuracies)
    if high - low < 0.0005:
        return _percent(high)
    return f"{100 * low:.1f} to {_percent(high)}"


def _listed(parts: Sequence[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _device_s(row: Row) -> float:
    assert row.time is not None
    return row.time.device_s


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:g} ms"


def _points(gain: float) -> str:
    return f"{round(100 * gain, 1) + 0.0:+.1f}"  # a little below 0 is +0.0, not -0.0


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
