"""The control benchmark's table: how close each policy comes to the oracle, and its goals.

    gap closed = (A - A_local) / (A_oracle - A_local)

with A the accuracy credited to frames that were answered within the SLA. Over several traces A is
the mean over traces, each counted once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headgate.export.bench.bench_table import BenchResult, Goal
from headgate.export.bench.control.control_runs import (
    LOCAL,
    ORACLE,
    OURS,
    PICTURES,
    WHOLE,
    CaseRuns,
    Mode,
    Run,
)

MIN_GAIN = 1e-4  # between oracle and local only: below, there is no gap to close
# SLA in seconds: the gap to close on fine traces.
GAP_GOALS = {0.1: 0.90, 0.05: 0.85}
PROGRESSIVE_GAP_GOALS = {0.1: 0.95, 0.05: 0.92}
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
            figures = [Figures(policy, group) for policy in _policies(group)]
            mode, sla_s, rtt_s = key
            place = (scope, mode.value, f"{1000 * sla_s:g}", f"{1000 * rtt_s:g}")
            rows += [(*place, *each.cells()) for each in figures]
            if scope == "fine":
                wanted = gap_goals.get(round(sla_s, 6))
                goals += _goals(figures, mode, wanted, sla_s=sla_s, rtt_s=rtt_s)
    return BenchResult("control", COLUMNS, tuple(rows), tuple(goals), tuple(notes))


class Figures:
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


def _policies(group: Sequence[CaseRuns]) -> list[str]:
    return [run.policy for run in group[0].runs]


def _run(cell: CaseRuns, policy: str) -> Run:
    return next(run for run in cell.runs if run.policy == policy)


def _goals(
    figures: Sequence[Figures], mode: Mode, wanted: float | None, *, sla_s: float, rtt_s: float
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
