"""The control benchmark's table, the fine traces first; `control_figures` says what is in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headgate.export.bench.bench_table import BenchResult, Goal
from headgate.export.bench.control.control_figures import GAP_GOALS, Figures, goals_of, said
from headgate.export.bench.control.control_runs import CaseRuns

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
                goals += goals_of(figures, mode, gap_goals, sla_s=sla_s, rtt_s=rtt_s)
    lines = (*said(cells), *notes)
    return BenchResult("control", COLUMNS, tuple(rows), tuple(goals), lines)


def _policies(group: Sequence[CaseRuns]) -> list[str]:
    return [run.policy for run in group[0].runs]
