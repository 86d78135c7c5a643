"""Accuracy against bytes of anyone's family beside pictures and the paper's payload.

Table, goals and the sentences under it; the measuring is in `rates_measure`, the arithmetic in
`rates_verdict` and `break_even`.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf, isfinite
from pathlib import Path
from typing import Any

from headgate.export import page
from headgate.export.bench.bench_table import BenchResult, family_title, provenance
from headgate.export.bench.rates.break_even import Pair, break_even_lines, equal_pairs, rate_text
from headgate.export.bench.rates.plot_rates import draw_rates
from headgate.export.bench.rates.rates_measure import MeasureOptions, measure_rates
from headgate.export.bench.rates.rates_pictures import load_pictures
from headgate.export.bench.rates.rates_rows import Rates, Row, Series, undominated
from headgate.export.bench.rates.rates_verdict import judge
from headgate.export.bench.rates.rates_words import (
    exit_lines,
    goal_text,
    goals,
    verdict_json,
    verdict_lines,
)
from headgate.export.paired import difference
from headgate.profiles.family import Family
from headgate.profiles.storage import write_atomic

NAME = "Rates"
COLUMNS = (
    "point",
    "accuracy, %",
    "against full, points",
    "mean bytes",
    "95 % below",
    "device ms",
    "edge ms",
    "smallest picture as good",
)
PICTURE_ALT = (
    "Accuracy against mean bytes: split points by member, JPEG and WebP at many qualities, the "
    "paper's uint8 maps, and the whole network's accuracy as a line"
)


@dataclass(frozen=True, slots=True)
class RatesOptions:
    """What to measure, and the link and device that the break-even lines are for."""

    data: str
    limit: int | None = None
    measure: MeasureOptions = field(default_factory=MeasureOptions)
    slas_s: tuple[float, ...] = (0.05, 0.1)
    rtt_s: float = 0.02
    device_factor: float = 1.0  # the device is so many times slower than this machine


@dataclass(frozen=True, slots=True)
class RatesBench:
    """The benchmark's result, and what it was made of."""

    title: str  # of the family
    result: BenchResult
    rates: Rates
    pairs: tuple[Pair, ...]
    said: tuple[str, ...]  # the first of the result's notes: what came out


def bench_rates(family: Family, options: RatesOptions, *, say: Callable[[str], None]) -> RatesBench:
    """Measure a family on labelled pictures; the files are written by `write_rates`."""
    say(f"reading {options.data}")
    pictures = load_pictures(family.manifest, options.data, limit=options.limit)
    rates = measure_rates(family, pictures, options.measure, say)
    pairs = tuple(equal_pairs(rates, device_factor=options.device_factor))
    verdict = judge(rates)
    said = (
        *exit_lines(rates),
        *verdict_lines(verdict),
        *break_even_lines(rates, pairs, device_factor=options.device_factor),
        *sla_lines(pairs, slas_s=options.slas_s, rtt_s=options.rtt_s),
    )
    result = BenchResult(
        name=NAME,
        columns=COLUMNS,
        rows=tuple(table_row(row, rates) for row in shown_rows(rates)),
        goals=goals(verdict),
        notes=(
            *said,
            *rates.notes,
            "± is one standard error; against full: paired, the same pictures",
            "JPEG with optimised Huffman tables, 4:2:0; WebP method 4 as devices send it, and -m6",
            "times: medians of single frames on this machine, in turns; coding is in them",
        ),
        details={
            "rows": [row_json(row, rates) for row in rates.rows],
            "verdict": verdict_json(verdict),
            "break_even": [
                pair_json(pair, slas_s=options.slas_s, rtt_s=options.rtt_s) for pair in pairs
            ],
            "pictures": rates.num_pictures,
            "device_factor": options.device_factor,
            "family": family.manifest.digest,
        },
    )
    return RatesBench(family_title(family.manifest), result, rates, pairs, said)


def write_rates(bench: RatesBench, folder: Path) -> Path:
    """Write rates.png and rates.html into `folder`; return the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "rates.png", draw_rates(bench.rates))
    path = folder / "rates.html"
    write_atomic(path, rates_page(bench))
    return path


def rates_page(bench: RatesBench) -> str:
    """Return the page: what came out, the plot, the table."""
    result, rates = bench.result, bench.rates
    shown = shown_rows(rates)
    rest = [row for row in rates.rows if row not in shown]
    table = page.text_table(
        COLUMNS,
        [table_row(row, rates) for row in shown],
        caption="Points of the family, the paper's payload, and pictures worth sending",
        marked=[row.series is Series.SPLIT for row in shown],
    )
    others = page.text_table(
        COLUMNS, [table_row(row, rates) for row in rest], caption="Every other picture"
    )
    title = f"Accuracy against bytes: {bench.title}"
    body = f"""<h1>{html.escape(title)}</h1>
<section>
{page.paragraphs([goal_text(goal) for goal in result.goals])}
{page.bullets(bench.said)}
</section>
<section>
<h2>All points</h2>
{page.themed_picture(partial(draw_rates, rates), alt=PICTURE_ALT)}
{table}
{page.details("Every picture that a smaller one equals", others) if rest else ""}
</section>
<section>
<h2>How this was made</h2>
{page.bullets(result.notes[len(bench.said) :])}
{page.facts({"family": result.details["family"][:12], **provenance()})}
</section>"""
    return page.page(f"Headgate: {title}", body)


def shown_rows(rates: Rates) -> list[Row]:
    """Return the rows of the table by rising bytes: no rival picture that a smaller one equals."""
    worth = undominated(rates.of(Series.JPEG, Series.WEBP))
    kept = [row for row in rates.rows if row.own or row.series is Series.PAPER or row in worth]
    return sorted(kept, key=lambda row: (row.mean_bytes, row.id))


def table_row(row: Row, rates: Rates) -> tuple[str, ...]:
    """Return the cells of one row."""
    return (
        row.id,
        _accuracy(row),
        _against_full(row, rates),
        f"{row.mean_bytes:.0f}",
        f"{row.bytes.p95:.0f}",
        "-" if row.time is None else f"{1000 * row.time.device_s:.2f}",
        "-" if row.time is None else f"{1000 * row.time.edge_s:.2f}",
        _smallest_picture(row, rates),
    )


def sla_lines(pairs: Sequence[Pair], *, slas_s: Sequence[float], rtt_s: float) -> tuple[str, ...]:
    """Say for each SLA on which steady links only splitting answers in time."""
    lines = []
    for sla_s in slas_s:
        where = f"SLA {1000 * sla_s:g} ms, RTT {1000 * rtt_s:g} ms"
        found = [(pair, *_least_rates(pair, sla_s=sla_s, rtt_s=rtt_s)) for pair in pairs]
        fitting = [item for item in found if isfinite(item[1])]
        if not pairs:
            continue
        if not fitting:
            lines.append(f"{where}: no split point answers in time, whatever the link")
            continue
        pair, split_bps, picture_bps = max(fitting, key=lambda item: item[0].weight)
        split, picture = (f"{100 * row.accuracy:.1f} %" for row in (pair.split, pair.picture))
        until = f"from {rate_text(picture_bps)}" if isfinite(picture_bps) else "at no rate"
        lines.append(
            f"{where}: {pair.split.id} ({split}) answers in time from {rate_text(split_bps)} up, "
            f"{pair.picture.id} ({picture}, {pair.match.value}) {until}"
        )
    return tuple(lines)


def row_json(row: Row, rates: Rates) -> dict[str, Any]:
    """Return a row with unrounded numbers; times in milliseconds."""
    found: dict[str, Any] = {
        "id": row.id,
        "series": row.series.value,
        "group": row.group,
        "own": row.own,
        "accuracy": row.accuracy,
        "error": row.error,
        "mean_bytes": row.bytes.mean,
        "p95_bytes": row.bytes.p95,
        "device_ms": None if row.time is None else 1000 * row.time.device_s,
        "edge_ms": None if row.time is None else 1000 * row.time.edge_s,
    }
    if row.sample is not None and rates.full is not None and rates.full.right_N is not None:
        found["against_full"] = difference(row.sample.right_N, rates.full.right_N).to_json()
    return found


def pair_json(pair: Pair, *, slas_s: Sequence[float], rtt_s: float) -> dict[str, Any]:
    """Return a pair and its rates in bit/s; null for a rate that no link has."""
    rate = pair.break_even_bps
    slas = {}
    for sla_s in slas_s:
        split_bps, picture_bps = _least_rates(pair, sla_s=sla_s, rtt_s=rtt_s)
        slas[f"{1000 * sla_s:g}"] = {
            "split_from_bps": split_bps if isfinite(split_bps) else None,
            "picture_from_bps": picture_bps if isfinite(picture_bps) else None,
        }
    return {
        "split": pair.split.id,
        "picture": pair.picture.id,
        "picture_is": pair.match.value,
        "always_faster": rate == inf,
        "faster_below_bps": rate if isfinite(rate) else None,
        "rtt_ms": 1000 * rtt_s,
        "in_time_by_sla_ms": slas,
    }


def _least_rates(pair: Pair, *, sla_s: float, rtt_s: float) -> tuple[float, float]:
    return (
        pair.split_cost.least_rate_bps(sla_s=sla_s, rtt_s=rtt_s),
        pair.picture_cost.least_rate_bps(sla_s=sla_s, rtt_s=rtt_s),
    )


def _accuracy(row: Row) -> str:
    text = f"{100 * row.accuracy:.1f}"
    return text if row.error is None else f"{text} ± {100 * row.error:.1f}"


def _against_full(row: Row, rates: Rates) -> str:
    if rates.full is None:
        return "-"
    if row.sample is None or rates.full.right_N is None:
        return f"{100 * (row.accuracy - rates.full.accuracy):+.1f}"
    gap = difference(row.sample.right_N, rates.full.right_N)
    return f"{100 * gap.value:+.1f} ± {100 * gap.error:.1f}"


def _smallest_picture(row: Row, rates: Rates) -> str:
    if row.series not in (Series.SPLIT, Series.PAPER):
        return ""
    pictures = rates.of(Series.JPEG, Series.WEBP)
    good = [each for each in pictures if each.accuracy >= row.accuracy]
    if not good:
        return "none" if pictures else ""
    smallest = min(good, key=lambda each: each.mean_bytes)
    return f"{smallest.id}, {smallest.mean_bytes / row.mean_bytes:.1f} x the bytes"
