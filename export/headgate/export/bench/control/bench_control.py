"""The control benchmark: how close each policy comes to an oracle that knows the link's future.

    gap closed = (A - A_local) / (A_oracle - A_local)

with A the accuracy credited to frames that were answered within the SLA. Over several traces A is
the mean over traces, each counted once. Traces that were recorded at 100 ms or finer are reported
apart: within a second nothing happens on the others.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headgate.export.bench.bench_table import BenchResult, Goal
from headgate.export.bench.control.control_runs import (
    LOCAL,
    ORACLE,
    OURS,
    PICTURES,
    WHOLE,
    Case,
    CaseRuns,
    Mode,
    Run,
    is_progressive,
    run_case,
)
from headgate.export.bench.control.control_sockets import OVER_SOCKETS, run_over_sockets, suitable
from headgate.export.workers import in_order
from headgate.profiles.errors import UsageError
from headgate.profiles.family import open_family
from headgate.profiles.ladder import read_ladder
from headgate.profiles.manifest import Manifest, PointKind
from headgate.profiles.storage import write_atomic
from headgate.profiles.trace import Trace, native_step_s
from headgate.profiles.trace_folder import open_traces

FINE_STEP_S = 0.105  # 100 ms, with the rounding of a recording
DEFAULT_DURATION_S = 60.0
MIN_GAIN = 1e-4  # between oracle and local only: below, there is no gap to close
# SLA in seconds: the gap to close on fine traces.
GAP_GOALS = {0.1: 0.90, 0.05: 0.85}
PROGRESSIVE_GAP_GOALS = {0.1: 0.95, 0.05: 0.92}
SOCKETS_DURATION_S = 10.0
APART_GOAL = 2.0
MISS_GOAL, UNDER_LOCAL_GOAL = 0.01, -0.005
COLUMNS = (
    "traces",
    "mode",
    "SLA, ms",
    "RTT, ms",
    "policy",
    "gap closed",
    "of each trace, mean",
    "credited",
    "misses, %",
    "bytes",
    "switches/s",
    "worst trace over local",
)
RUN_COLUMNS = (
    *("trace", "fine", "mode", "sla_ms", "rtt_ms", "policy"),
    *("credited", "miss_share", "bytes", "switches_per_s"),
)
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ControlOptions:
    """What to run. `duration_s` None: the whole trace, at most a minute; shorter traces loop."""

    target: Path  # family folder or ladder file
    traces: Path
    slas_s: tuple[float, ...] = (0.05, 0.1)
    rtts_s: tuple[float, ...] = (0.02, 0.05)
    fps: float = 30.0
    duration_s: float | None = None
    modes: tuple[Mode, ...] = (Mode.BARE, Mode.INSURED)
    jitter_s: float = 0.0
    late_s: float = 0.0
    workers: int = 0  # 0: one per core
    sockets: int = 0  # so many traces are run over real sockets as well


def open_points(target: Path) -> Manifest:
    """Return the manifest of a family folder or of a ladder's TOML file."""
    manifest = open_family(target).manifest if target.is_dir() else read_ladder(target)
    times = next(iter(manifest.times.values()), {})
    missing = [point.id for point in manifest.points if point.id not in times]
    if missing:
        raise UsageError(f"{target}: no compute times for {missing}; export the family again")
    if all(point.kind is PointKind.LOCAL for point in manifest.points):
        raise UsageError(f"{target}: no point sends anything; there is nothing to decide")
    return manifest


def bench_control(options: ControlOptions, *, say: Say, out: Path | None = None) -> BenchResult:
    """Run every policy on every trace; leaves the runs in `out`/control-runs.csv."""
    manifest = open_points(options.target)
    traces, notes = open_traces(options.traces)
    tasks = [(manifest, trace, case) for trace in traces for case in _cases(options, trace)]
    cells: list[CaseRuns] = []
    for done, cell in enumerate(in_order(_run_task, tasks, workers=options.workers), start=1):
        cells.append(cell)
        if done % max(1, len(tasks) // 20) == 0:
            say(f"{done} of {len(tasks)} cases done")
    fine = frozenset(trace.name for trace in traces if native_step_s(trace) <= FINE_STEP_S)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(out / "control-runs.csv", runs_csv(cells, fine=fine))
    wanted = PROGRESSIVE_GAP_GOALS if is_progressive(manifest) else GAP_GOALS
    notes = _notes(options, traces, fine, notes)
    result = summarise(cells, fine=fine, notes=notes, gap_goals=wanted)
    return _with_sockets(result, manifest, traces, options, say=say)


def summarise(
    cells: Sequence[CaseRuns],
    *,
    fine: frozenset[str],
    notes: Sequence[str] = (),
    gap_goals: Mapping[float, float] = GAP_GOALS,
) -> BenchResult:
    """Return the table, the fine traces first. `gap_goals` by SLA in seconds."""
    rows: list[tuple[str, ...]] = []
    goals: list[Goal] = []
    scopes = {"fine": [c for c in cells if c.trace in fine], "all": list(cells)}
    for scope, chosen in scopes.items():
        for key in dict.fromkeys((c.case.mode, c.case.sla_s, c.case.rtt_s) for c in chosen):
            group = [c for c in chosen if (c.case.mode, c.case.sla_s, c.case.rtt_s) == key]
            figures = [_Figures(policy, group) for policy in _policies(group)]
            mode, sla_s, rtt_s = key
            place = (scope, mode.value, f"{1000 * sla_s:g}", f"{1000 * rtt_s:g}")
            rows += [(*place, *each.cells()) for each in figures]
            if scope == "fine":
                wanted = gap_goals.get(round(sla_s, 6))
                goals += _goals(figures, mode, wanted, sla_s=sla_s, rtt_s=rtt_s)
    return BenchResult("control", COLUMNS, tuple(rows), tuple(goals), tuple(notes))


def _with_sockets(
    result: BenchResult,
    manifest: Manifest,
    traces: Sequence[Trace],
    options: ControlOptions,
    *,
    say: Say,
) -> BenchResult:
    """Add the runs over real sockets beside simulated ones of the same seconds."""
    duration_s = options.duration_s or SOCKETS_DURATION_S
    chosen = suitable(traces, number=options.sockets, duration_s=duration_s)
    rows, apart = list(result.rows), []
    for sla_s in options.slas_s if chosen else ():
        for rtt_s in (rtt_s for rtt_s in options.rtts_s if rtt_s < sla_s):
            case = Case(Mode.INSURED, sla_s, rtt_s, options.fps, duration_s)
            cells = []
            for trace in chosen:
                say(f"over sockets: {trace.name}, {duration_s:g} s")
                cell = run_case(manifest, trace, case, rivals=False)
                real = run_over_sockets(manifest, trace, case)
                apart.append(100 * abs(real.credited - (cell.credited(OURS) or 0.0)))
                cells.append(replace(cell, runs=(*cell.runs, real)))
            place = ("over sockets", case.mode.value, f"{1000 * sla_s:g}", f"{1000 * rtt_s:g}")
            rows += [(*place, *_Figures(policy, cells).cells()) for policy in (OURS, OVER_SOCKETS)]
    if not apart:
        return result
    mean = sum(apart) / len(apart)
    text = "sockets and simulator within 2 points of accuracy"
    goals = (*result.goals, Goal(f"{text}, mean of {len(apart)} runs", mean, mean <= APART_GOAL))
    goals = (*goals, Goal(f"{text}, worst run", max(apart), max(apart) <= APART_GOAL))
    named = ", ".join(trace.name for trace in chosen)
    note = f"over sockets: {named}; networks are stood in for, see control_sockets"
    return replace(result, rows=tuple(rows), goals=goals, notes=(*result.notes, note))


class _Figures:
    """One policy over the traces of one group."""

    def __init__(self, policy: str, group: Sequence[CaseRuns]) -> None:
        runs = [(_run(cell, policy), cell) for cell in group]
        self.policy = policy
        num = len(runs)
        local = [cell.credited(LOCAL) or 0.0 for cell in group]
        oracle = [cell.credited(ORACLE) or 0.0 for cell in group]
        earned = [run.credited for run, _ in runs]
        self.credited = sum(earned) / num
        gains = [a - b for a, b in zip(oracle, local, strict=True)]
        over = [a - b for a, b in zip(earned, local, strict=True)]
        self.gap = sum(over) / sum(gains) if sum(gains) > MIN_GAIN * num else None
        each = [a / b for a, b in zip(over, gains, strict=True) if b > MIN_GAIN]
        self.mean_gap = sum(each) / len(each) if each else None
        self.worst = min(over)
        self.miss_share = sum(run.miss_share for run, _ in runs) / num
        self.mean_bytes = sum(run.mean_bytes for run, _ in runs) / num
        self.switches_per_s = sum(run.switches_per_s for run, _ in runs) / num

    def cells(self) -> tuple[str, ...]:
        """Return the columns after the place."""
        reference = self.policy == ORACLE
        return (
            self.policy,
            "n/a" if self.gap is None else f"{self.gap:.3f}",
            "n/a" if self.mean_gap is None else f"{self.mean_gap:.3f}",
            f"{self.credited:.4f}",
            "" if reference else f"{100 * self.miss_share:.2f}",
            "" if reference else f"{self.mean_bytes:.0f}",
            "" if reference else f"{self.switches_per_s:.2f}",
            f"{self.worst:+.4f}",
        )


def runs_csv(cells: Sequence[CaseRuns], *, fine: frozenset[str]) -> str:
    """Return every single run as a line of CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(RUN_COLUMNS)
    for cell in cells:
        case = cell.case
        for run in cell.runs:
            writer.writerow(
                [
                    cell.trace,
                    int(cell.trace in fine),
                    case.mode.value,
                    f"{1000 * case.sla_s:g}",
                    f"{1000 * case.rtt_s:g}",
                    run.policy,
                    f"{run.credited:.6f}",
                    f"{run.miss_share:.6f}",
                    f"{run.mean_bytes:.1f}",
                    f"{run.switches_per_s:.4f}",
                ]
            )
    return text.getvalue()


def _cases(options: ControlOptions, trace: Trace) -> Iterator[Case]:
    duration_s = options.duration_s or min(DEFAULT_DURATION_S, max(10.0, trace.duration_s))
    for mode in options.modes:
        for sla_s in options.slas_s:
            for rtt_s in options.rtts_s:
                yield Case(
                    mode,
                    sla_s,
                    rtt_s,
                    options.fps,
                    duration_s,
                    options.jitter_s,
                    options.late_s,
                )


def _run_task(task: tuple[Manifest, Trace, Case]) -> CaseRuns:
    return run_case(*task)


def _policies(group: Sequence[CaseRuns]) -> list[str]:
    return [run.policy for run in group[0].runs]


def _run(cell: CaseRuns, policy: str) -> Run:
    return next(run for run in cell.runs if run.policy == policy)


def _goals(
    figures: Sequence[_Figures], mode: Mode, wanted: float | None, *, sla_s: float, rtt_s: float
) -> list[Goal]:
    """Return the goals for fine traces; none where there is no gap to close."""
    ours = next(each for each in figures if each.policy == OURS)
    if ours.gap is None:
        return []
    place = f"({mode.value}) at SLA {1000 * sla_s:g} ms, RTT {1000 * rtt_s:g} ms"
    goals = []
    if wanted is not None:
        goals.append(Goal(f"gap closed >= {wanted:.2f} {place}", ours.gap, ours.gap >= wanted))
    ours_too = (OURS, ORACLE, LOCAL, WHOLE, PICTURES)
    rivals = [each.gap or 0.0 for each in figures if each.policy not in ours_too]
    lead = ours.gap - max(rivals)
    goals.append(Goal(f"gap above the best rival's {place}", lead, lead > 0))
    goals.append(Goal(f"misses under 1 % {place}", ours.miss_share, ours.miss_share < MISS_GOAL))
    fine = ours.worst >= UNDER_LOCAL_GOAL
    goals.append(Goal(f"no trace 0.005 under local only {place}", ours.worst, fine))
    return goals


def _notes(
    options: ControlOptions, traces: Sequence[Trace], fine: frozenset[str], notes: list[str]
) -> list[str]:
    named = ", ".join(trace.name for trace in traces if trace.name in fine) or "none"
    length = "the whole trace, 10 to 60 s" if options.duration_s is None else ""
    return [
        f"{len(traces)} traces, {options.fps:g} frames/s, "
        f"{length or f'{options.duration_s:g} s each'}; shorter traces loop",
        f"fine: native step of 100 ms or less (median time between changes of the rate): {named}",
        "bare: a late frame earns nothing; insured: exits and rescues answer at the deadline",
        "gap closed is n/a where the oracle earns no more than local only",
        *notes,
    ]
