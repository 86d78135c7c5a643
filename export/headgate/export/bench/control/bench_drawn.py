"""The controller beside its rivals on ladders and links made by chance (`drawn_cases`).

Each case is one of `bench control` with a seed in place of files. What counts is not the mean alone
but the worst cases: a rule that is right for most ladders and wrong for one in a hundred is wrong
for somebody's. Their seeds are told, so that they can be looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headgate.export.bench.bench_table import BenchResult
from headgate.export.bench.control.control_points import EVERYTHING
from headgate.export.bench.control.control_runs import (
    LOCAL,
    ORACLE,
    OURS,
    PICTURES,
    WHOLE,
    Case,
    Mode,
    run_case,
)
from headgate.export.bench.control.drawn_cases import DrawnCase, draw_case
from headgate.export.workers import in_order
from headgate.profiles.errors import UsageError
from headgate.runtime.simulation.rivals import PERFECT

COLUMNS = ("split points", "mode", "policy", "credited", "ours ahead", "5 %", "least", "seed")
LAYERS, APART = "layers", "whole"
BEST_RIVAL = "the best rival of each case"
# Not rivals: they know the future or the link, or are ours with some of its points.
NO_RIVALS = frozenset({ORACLE, OURS, WHOLE, PICTURES, PERFECT})
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DrawnOptions:
    """What to run: the cases of `num_cases` seeds from `first_seed` on."""

    num_cases: int = 100
    first_seed: int = 0
    split_points: tuple[str, ...] = (LAYERS, APART)
    modes: tuple[Mode, ...] = (Mode.INSURED, Mode.BARE)
    duration_s: float = 15.0
    turns: bool = False  # links carry packets, each in its turn
    workers: int = 0  # 0: one per core


@dataclass(frozen=True, slots=True)
class _Task:
    split_points: str
    mode: Mode
    seed: int
    duration_s: float
    turns: bool


def bench_drawn(options: DrawnOptions, *, say: Say) -> BenchResult:
    """Run every policy over every case, and compare them case by case."""
    seeds = range(options.first_seed, options.first_seed + options.num_cases)
    groups = [(kind, mode) for kind in options.split_points for mode in options.modes]
    tasks = [
        _Task(*group, seed, options.duration_s, options.turns) for group in groups for seed in seeds
    ]
    runs: list[dict[str, float]] = []
    for run in in_order(_run, tasks, workers=options.workers):
        runs.append(run)
        if len(runs) % max(1, len(tasks) // 10) == 0:
            say(f"{len(runs)} of {len(tasks)} cases done")
    rows: list[tuple[str, ...]] = []
    details = []
    for place, (kind, mode) in enumerate(groups):
        found = runs[place * len(seeds) : (place + 1) * len(seeds)]
        rows += [(kind, mode.value, *row) for row in _rows(seeds, found)]
        cases = [{"seed": seed, "credited": run} for seed, run in zip(seeds, found, strict=True)]
        details.append({"split_points": kind, "mode": mode.value, "cases": cases})
    return BenchResult(
        "drawn", COLUMNS, tuple(rows), notes=_notes(options), details={"groups": details}
    )


def describe(case: DrawnCase) -> str:
    """Return a drawn case in words: its points, then its link."""
    lines = [f"seed {case.seed}: SLA {1000 * case.sla_s:g} ms, {case.fps:g} frames/s"]
    times = next(iter(case.manifest.times.values()))
    for point in case.manifest.points:
        cost = times[point.id]
        lines.append(
            f"  {point.id}: {100 * case.manifest.quality(point):.1f} %, {point.bytes.mean:.0f} B, "
            f"device {1000 * cost.device_s:.1f} ms, edge {1000 * cost.edge_s:.1f} ms"
        )
    mean_kbps, rtt_ms = case.trace.mean_bps / 1000, 1000 * case.rtt_s
    lines.append(
        f"  link: {case.trace.name}, {mean_kbps:.0f} kbit/s in the mean, RTT {rtt_ms:g} ms"
    )
    return "\n".join(lines)


def parse_choices(text: str, known: Sequence[str], *, option: str) -> tuple[str, ...]:
    """Return the words of a list with commas between, each of them one of `known`."""
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for part in found:
        if part not in known:
            raise UsageError(f"{option}: found {part!r}, expected {' or '.join(known)}, or several")
    return found


def _run(task: _Task) -> dict[str, float]:
    drawn = draw_case(task.seed, layers=task.split_points == LAYERS, turns=task.turns)
    case = Case(task.mode, drawn.sla_s, drawn.rtt_s, drawn.fps, task.duration_s, profile=EVERYTHING)
    return {run.policy: run.credited for run in run_case(drawn.manifest, drawn.trace, case).runs}


def _rows(seeds: Sequence[int], runs: Sequence[dict[str, float]]) -> list[tuple[str, ...]]:
    """Return a row for ours and for each policy, over the cases that it ran in."""
    ours = [run[OURS] for run in runs]
    rows: list[tuple[str, ...]] = [(OURS, f"{_mean(ours):.4f}", "", "", "", "")]
    cases = list(zip(seeds, runs, strict=True))
    for policy in dict.fromkeys(policy for run in runs for policy in run if policy != OURS):
        ran = [(seed, run[OURS], run[policy]) for seed, run in cases if policy in run]
        rows.append(_row(policy, ran))
    best = [max(run[policy] for policy in run if policy not in NO_RIVALS) for run in runs]
    rows.append(_row(BEST_RIVAL, list(zip(seeds, ours, best, strict=True))))
    return rows


def _row(policy: str, cases: Sequence[tuple[int, float, float]]) -> tuple[str, ...]:
    """Return a policy's row; cases are seed, our credit and its."""
    leads = sorted((mine - other, seed) for seed, mine, other in cases)
    least, seed = leads[0]
    return (
        policy,
        f"{_mean([other for _, _, other in cases]):.4f}",
        f"{_mean([lead for lead, _ in leads]):+.4f}",
        f"{leads[len(leads) // 20][0]:+.4f}",
        f"{least:+.4f}",
        str(seed),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _notes(options: DrawnOptions) -> tuple[str, ...]:
    last = options.first_seed + options.num_cases - 1
    return (
        f"simulated: ladders and links drawn from seeds {options.first_seed} to {last}, "
        f"{options.duration_s:g} s each"
        + (", links that carry packets in turns" if options.turns else ""),
        "credited: mean accuracy, late = wrong; insured: exits and rescues answer late frames, of "
        "all policies; bare: they do not",
        f"ours ahead: what {OURS} is credited more, in the mean; in 5 % of the cases it is less "
        "than the next column says, and at least the one after, at that seed (--show SEED)",
        f"{BEST_RIVAL}: in hindsight, the best fixed point and {LOCAL} among them; "
        "not those that sense or know more than a device can, nor ours with its hands tied",
    )
