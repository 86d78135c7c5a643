"""Gather what is said about a family: points, what the controller does with them, recorded links.

Without pictures to measure on, the family's own manifest speaks; compute times are then those of
the machine that exported it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from headgate.export.bench.bench_table import BenchResult, family_title
from headgate.export.bench.family.family_map import (
    Cell,
    Conditions,
    OverTrace,
    Way,
    over_trace,
    slower,
    steady_map,
)
from headgate.export.bench.family.family_words import (
    cost_sentence,
    doubt,
    headline,
    sla_sentence,
    traces_sentence,
    where_not,
)
from headgate.export.bench.rates.bench_rates import pair_json, row_json, sla_lines
from headgate.export.bench.rates.break_even import break_even_lines, equal_pairs, rate_text
from headgate.export.bench.rates.rates_measure import MeasureOptions, measure_rates
from headgate.export.bench.rates.rates_pictures import load_pictures
from headgate.export.bench.rates.rates_rows import Rates, Series, rates_of_manifest
from headgate.export.bench.rates.rates_verdict import judge
from headgate.export.bench.rates.rates_words import verdict_json, verdict_lines
from headgate.export.points.measure import machine_name
from headgate.profiles.errors import UsageError
from headgate.profiles.family import ROLES, Family, open_family
from headgate.profiles.ladder import read_ladder
from headgate.profiles.manifest import Manifest, PointTime
from headgate.profiles.profile import DEFAULT_PROFILE, allowed_points, load_profile
from headgate.profiles.trace import Trace
from headgate.profiles.trace_folder import open_traces
from headgate.runtime.commands.points_table import pick_machine

NAME = "Family"
RATES_BPS = (20e3, 50e3, 100e3, 200e3, 500e3, 1e6, 2e6, 5e6, 10e6, 20e6, 50e6)
COLUMNS = (
    *("rate", "SLA, ms", "most frames", "accuracy, %", "without splitting, %", "in time, %"),
    "bytes/frame",
)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class FamilyOptions:
    """What to look at. `data` None: nothing is measured, the manifest is believed."""

    data: str | None = None
    limit: int | None = None
    measure: MeasureOptions = field(default_factory=MeasureOptions)
    traces: Path | None = None
    slas_s: tuple[float, ...] = (0.05, 0.1, 0.2)
    rates_bps: tuple[float, ...] = RATES_BPS
    rtt_s: float = 0.02
    fps: float = 30.0
    profile: str = DEFAULT_PROFILE
    device_factor: float = 1.0
    trace_s: float = 30.0  # of each recorded link at most
    steady_s: float = 10.0  # of each steady link, after half as long to learn it


@dataclass(frozen=True, slots=True)
class FamilyReport:
    """All that the page says."""

    title: str
    manifest: Manifest
    machine: str
    rates: Rates
    conditions: str
    lead: tuple[str, ...]
    rates_lines: tuple[str, ...]
    cells: tuple[Cell, ...]
    by_sla: tuple[str, ...]
    cost: str | None
    runs: tuple[OverTrace, ...]
    traces_said: str | None
    notes: tuple[str, ...]
    details: dict[str, Any]

    def result(self) -> BenchResult:
        """Return the report as a table: the map, and everything else in words and details."""
        lines = [*self.lead, *self.by_sla, *self.rates_lines]
        lines += [line for line in (self.cost, self.traces_said) if line]
        return BenchResult(
            name=NAME,
            columns=COLUMNS,
            rows=tuple(map_row(cell) for cell in self.cells),
            notes=(*lines, *self.notes),
            details=self.details,
        )


def open_target(target: Path, options: FamilyOptions) -> Family:
    """Open a family folder, or a ladder's TOML file, for what the options want of it.

    A folder may hold one role's files only, as long as nothing is to be measured.
    """
    if target.suffix != ".toml" or target.is_dir():
        return open_family(target, roles=() if options.data is None else ROLES)
    if options.data is not None:
        raise UsageError(f"{target}: a ladder has no networks to measure; leave --data out")
    return Family(target, read_ladder(target))


def report_family(family: Family, options: FamilyOptions, *, say: Say) -> FamilyReport:
    """Measure where there are pictures, run the controller where there are times, and say it."""
    profile = load_profile(options.profile)
    allowed_points(profile, family.manifest)  # refused before minutes of measuring
    traces, trace_notes = ([], []) if options.traces is None else open_traces(options.traces)
    rates, manifest, machine = _measured(family, options, say)
    times = slower(manifest.times.get(machine or "", {}), factor=options.device_factor)
    conditions = Conditions(
        profile, times, options.rtt_s, options.fps,
        warm_up_s=options.steady_s / 2, steady_s=options.steady_s,
    )  # fmt: skip
    cells, runs = _simulated(manifest, conditions, options, traces, say)
    shown = _as_seen(rates, times)
    verdict = judge(rates)
    pairs = equal_pairs(rates, device_factor=options.device_factor)
    asides = (where_not(cells), doubt(rates))
    return FamilyReport(
        title=family_title(manifest),
        manifest=manifest,
        machine=_machine(machine, options),
        rates=shown,
        conditions=_conditions(options),
        lead=(headline(cells, rates), *(said for said in asides if said)),
        rates_lines=(
            *(verdict_lines(verdict) if verdict is not None else ()),
            *break_even_lines(rates, pairs, device_factor=options.device_factor),
            *sla_lines(pairs, slas_s=options.slas_s, rtt_s=options.rtt_s),
        ),
        cells=tuple(cells),
        by_sla=tuple(sla_sentence(cells, sla_s) for sla_s in options.slas_s if cells),
        cost=cost_sentence(shown),
        runs=tuple(runs),
        traces_said=traces_sentence(runs, splits=bool(rates.of(Series.SPLIT))) if runs else None,
        notes=(*rates.notes, *trace_notes, _conditions(options), f"profile {profile.name}"),
        details={
            "family": family.manifest.digest,
            "points": [row_json(row, shown) for row in shown.rows],
            "verdict": verdict_json(verdict),
            "break_even": [
                pair_json(pair, slas_s=options.slas_s, rtt_s=options.rtt_s) for pair in pairs
            ],
            "map": [_cell_json(cell) for cell in cells],
            "traces": [_run_json(run) for run in runs],
        },
    )


def _simulated(
    manifest: Manifest,
    conditions: Conditions,
    options: FamilyOptions,
    traces: Sequence[Trace],
    say: Say,
) -> tuple[list[Cell], list[OverTrace]]:
    """Run the map and the traces; nothing where a point's compute times are unknown."""
    if not all(point.id in conditions.times for point in manifest.points):
        return [], []
    say(f"simulating {len(options.rates_bps)} steady links at {len(options.slas_s)} SLAs")
    cells = steady_map(manifest, conditions, rates_bps=options.rates_bps, slas_s=options.slas_s)
    runs = []
    for number, trace in enumerate(traces, start=1):
        say(f"simulating {trace.name}, {number} of {len(traces)}")
        runs += [
            over_trace(manifest, conditions, trace, sla_s=sla_s, longest_s=options.trace_s)
            for sla_s in options.slas_s
        ]
    return cells, runs


def _cell_json(cell: Cell) -> dict[str, Any]:
    place = {"rate_bps": cell.rate_bps, "sla_ms": 1000 * cell.sla_s, "pays": cell.pays}
    return place | cell.outcome.to_json()


def _run_json(run: OverTrace) -> dict[str, Any]:
    place = {"trace": run.trace, "mean_bps": run.mean_bps, "sla_ms": 1000 * run.sla_s}
    return place | run.outcome.to_json()


def map_row(cell: Cell) -> tuple[str, ...]:
    """Return a cell of the map as a row of text."""
    outcome = cell.outcome
    way = "late" if outcome.way is Way.NONE else f"{outcome.point}"
    without = "-" if outcome.without_split is None else f"{100 * outcome.without_split:.1f}"
    return (
        rate_text(cell.rate_bps),
        f"{1000 * cell.sla_s:g}",
        way,
        f"{100 * outcome.credited:.1f}",
        without,
        f"{100 * outcome.in_time:.1f}",
        f"{outcome.mean_bytes:.0f}",
    )


def with_measured(manifest: Manifest, rates: Rates, *, machine: str) -> Manifest:
    """Return the manifest with accuracies, bytes and times as they were measured here."""
    rows = {row.id: row for row in rates.rows if row.own}
    metric = manifest.primary_metric
    points = tuple(
        replace(
            point,
            metrics=point.metrics | {metric: rows[point.id].accuracy},
            bytes=rows[point.id].bytes,
        )
        for point in manifest.points
    )
    exits: dict[str, float] = {}
    for point in points:
        sample = rows[point.id].sample
        if point.member is not None and sample is not None and sample.exit_accuracy is not None:
            exits[point.member] = sample.exit_accuracy
    members = tuple(
        replace(member, exit_metrics=member.exit_metrics | {metric: exits[member.id]})
        if member.id in exits
        else member
        for member in manifest.members
    )
    times = {key: row.time for key, row in rows.items() if row.time is not None}
    return replace(manifest, points=points, members=members, times={machine: times})


def _measured(
    family: Family, options: FamilyOptions, say: Say
) -> tuple[Rates, Manifest, str | None]:
    """Return rows, the manifest that agrees with them, and the machine whose times count."""
    if options.data is None:
        manifest = family.manifest
        return rates_of_manifest(manifest), manifest, pick_machine(manifest)
    say(f"reading {options.data}")
    pictures = load_pictures(family.manifest, options.data, limit=options.limit)
    rates = measure_rates(family, pictures, options.measure, say)
    machine = machine_name()
    return rates, with_measured(family.manifest, rates, machine=machine), machine


def _as_seen(rates: Rates, times: dict[str, PointTime]) -> Rates:
    """Return the rows with times of the device as it is assumed to be."""
    rows = tuple(
        replace(row, time=times[row.id]) if row.own and row.id in times else row
        for row in rates.rows
    )
    return replace(rates, rows=rows)


def _conditions(options: FamilyOptions) -> str:
    device = (
        "" if options.device_factor == 1 else f", device {options.device_factor:g} times slower"
    )
    return f"RTT {1000 * options.rtt_s:g} ms, {options.fps:g} frames/s{device}"


def _machine(machine: str | None, options: FamilyOptions) -> str:
    if machine is None:
        return "unknown"
    slow = "" if options.device_factor == 1 else f", device times {options.device_factor:g}"
    return f"of {machine}{slow}"
