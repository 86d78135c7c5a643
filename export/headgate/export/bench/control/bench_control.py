"""The control benchmark: how close each policy comes to an oracle that knows the link's future.

Traces that were recorded at 100 ms or finer are reported apart: within a second nothing happens on
the others. `control_figures` says what the figures mean.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headgate.export.bench.bench_table import BenchResult, Goal
from headgate.export.bench.control.control_figures import (
    GAP_GOALS,
    PROGRESSIVE_GAP_GOALS,
    WORDS,
    Figures,
)
from headgate.export.bench.control.control_points import EVERYTHING, named_points, open_points
from headgate.export.bench.control.control_runs import (
    OURS,
    Case,
    CaseRuns,
    Mode,
    is_progressive,
    run_case,
    run_ours,
)
from headgate.export.bench.control.control_sockets import (
    MAX_MBPS,
    OVER_SOCKETS,
    check_packets,
    run_over_sockets,
    suitable,
)
from headgate.export.bench.control.control_table import summarise
from headgate.export.workers import in_order
from headgate.profiles.manifest import Manifest
from headgate.profiles.profile import Preference, Profile
from headgate.profiles.storage import write_atomic
from headgate.profiles.trace import Trace, native_step_s
from headgate.profiles.trace_folder import open_traces

FINE_STEP_S = 0.105  # 100 ms, with the rounding of a recording
DEFAULT_DURATION_S = 60.0
SOCKETS_DURATION_S = 10.0
APART_GOAL = 2.0
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
    loss: float | None = None  # those over a link of packets that loses so many; None: a relay
    profile: Profile = EVERYTHING  # its SLA goes before `slas_s`
    device_factor: float = 1.0  # the device is so many times slower than the machine measured


def bench_control(options: ControlOptions, *, say: Say, out: Path | None = None) -> BenchResult:
    """Run every policy on every trace; leaves the runs in `out`/control-runs.csv."""
    if options.loss is not None:
        check_packets()  # now, not after an hour of simulating
    manifest = open_points(options.target, device_factor=options.device_factor)
    options = _settled(options, manifest)
    traces, notes = open_traces(options.traces)
    tasks = [(manifest, trace, case) for trace in traces for case in cases_over(trace, options)]
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
            case = Case(
                Mode.INSURED, sla_s, rtt_s, options.fps, duration_s, profile=options.profile
            )
            cells = []
            for trace in chosen:
                say(f"over sockets: {trace.name}, {duration_s:g} s")
                cell = run_ours(manifest, trace, case)
                real = run_over_sockets(manifest, trace, case, loss=options.loss)
                apart.append(100 * abs(real.credited - (cell.credited(OURS) or 0.0)))
                cells.append(replace(cell, runs=(*cell.runs, real)))
            place = ("over sockets", case.mode.value, f"{1000 * sla_s:g}", f"{1000 * rtt_s:g}")
            rows += [(*place, *Figures(policy, cells).cells()) for policy in (OURS, OVER_SOCKETS)]
    if not apart:
        return replace(result, notes=(*result.notes, *_not_over_sockets(options, chosen)))
    mean = sum(apart) / len(apart)
    text = "sockets and simulator within 2 points of accuracy"
    goals = (*result.goals, Goal(f"{text}, mean of {len(apart)} runs", mean, mean <= APART_GOAL))
    goals = (*goals, Goal(f"{text}, worst run", max(apart), max(apart) <= APART_GOAL))
    named = ", ".join(trace.name for trace in chosen)
    through = "through the relay"
    if options.loss is not None:
        through = f"as packets of TCP of which {100 * options.loss:g} % get lost"
    note = (
        f"over sockets, {through}, as devices and edges run but with stand-ins for the networks: "
        f"{named}; "
        f"{mean:.1f} points of accuracy from the simulator on average, at most {max(apart):.1f}"
    )
    return replace(result, rows=tuple(rows), goals=goals, notes=(*result.notes, note))


def _not_over_sockets(options: ControlOptions, chosen: Sequence[Trace]) -> tuple[str, ...]:
    """Say why nothing ran over sockets, where that was asked for."""
    if not options.sockets:
        return ()
    if not chosen:
        return (
            f"nothing ran over sockets: no trace has a mean above 0 and up to {MAX_MBPS:g} Mbit/s",
        )
    return ("nothing ran over sockets: no SLA is longer than a round trip",)


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


def cases_over(trace: Trace, options: ControlOptions) -> Iterator[Case]:
    """Yield what is run over a trace: all of it where no duration is given, but 10 to 60 s."""
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
                    options.profile,
                )


def _run_task(task: tuple[Manifest, Trace, Case]) -> CaseRuns:
    return run_case(*task)


def _settled(options: ControlOptions, manifest: Manifest) -> ControlOptions:
    """Return the options with the profile's points by name, and its SLA where it has one."""
    profile = named_points(options.profile, manifest)
    slas_s = options.slas_s if profile.sla_s is None else (profile.sla_s,)
    return replace(options, profile=profile, slas_s=slas_s)


def _notes(
    options: ControlOptions, traces: Sequence[Trace], fine: frozenset[str], notes: list[str]
) -> list[str]:
    named = ", ".join(trace.name for trace in traces if trace.name in fine) or "none"
    length = "the whole trace, 10 to 60 s" if options.duration_s is None else ""
    return [
        f"{len(traces)} traces, {options.fps:g} frames/s, "
        f"{length or f'{options.duration_s:g} s each'}; shorter traces loop",
        *_assumed(options),
        f"fine: traces of 100 ms or less between changes of the rate (median): {named}",
        "bare: a late frame earns nothing; insured: as devices run, exits and rescues answer at "
        "the deadline",
        *WORDS,
        *notes,
    ]


def _assumed(options: ControlOptions) -> list[str]:
    """Say for which device and profile this holds."""
    found = []
    if options.device_factor != 1:
        found.append(f"a device {options.device_factor:g} times slower than the machine measured")
    if options.profile.name != EVERYTHING.name:
        text = f"profile {options.profile.name}: oracle and rivals keep to its points as well"
        if options.profile.sla_s is not None:
            text += f"; its SLA, {1000 * options.profile.sla_s:g} ms, goes before --sla-ms"
        if options.profile.prefer is not Preference.ACCURACY:
            wanted = options.profile.prefer.value
            text += f"; headgate prefers {wanted} as it says, the others only look at accuracy"
        found.append(text)
    return found
