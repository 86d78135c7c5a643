"""What runs of the control benchmark amount to: figures of a policy, sentences, and our goals.

    gap closed = (A - A_local) / (A_oracle - A_local)

with A the accuracy credited to frames that were answered within the SLA. Over several traces A is
the mean over traces, each counted once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headgate.export.bench.bench_table import Goal
from headgate.export.bench.control.control_runs import (
    FIXED,
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
MAX_LISTED = 12  # links in one sentence
WORDS = (
    "credited: mean accuracy of all frames, those without an answer in time count 0; misses: "
    "frames without any answer in time; bytes: per frame",
    "oracle: knows the link's future, so nothing can earn more; local only: the device alone; best "
    "fixed in hindsight: the one point that earns most on each trace; the others are rules that "
    "one might write instead of headgate's",
    "gap closed: of what the oracle earns beyond local only, the share that a policy earns, over "
    "all traces; of each trace, mean: the same for each trace, averaged; n/a where the oracle "
    "earns no more than local only",
    "worst trace over local: credited less that of local only, on the trace where that is least",
)


class Figures:
    """One policy over the traces of one group."""

    def __init__(self, policy: str, group: Sequence[CaseRuns]) -> None:
        runs = [(run_of_policy(cell, policy), cell) for cell in group]
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
            "n/a" if self.gap is None else f"{self.gap:z.3f}",
            "n/a" if self.mean_gap is None else f"{self.mean_gap:z.3f}",
            f"{self.credited:.4f}",
            "" if reference else f"{100 * self.miss_share:.2f}",
            "" if reference else f"{self.mean_bytes:.0f}",
            "" if reference else f"{self.switches_per_s:.2f}",
            f"{self.worst:+z.4f}",
        )


def run_of_policy(cell: CaseRuns, policy: str) -> Run:
    """Return the policy's run on one trace."""
    return next(run for run in cell.runs if run.policy == policy)


def said(cells: Sequence[CaseRuns]) -> list[str]:
    """Say for each SLA and round trip what a device earns; as the product runs, if that was run."""
    mode = Mode.INSURED if any(cell.case.mode is Mode.INSURED for cell in cells) else Mode.BARE
    chosen = [cell for cell in cells if cell.case.mode is mode]
    lines = []
    for sla_s, rtt_s in dict.fromkeys((cell.case.sla_s, cell.case.rtt_s) for cell in chosen):
        group = [c for c in chosen if (c.case.sla_s, c.case.rtt_s) == (sla_s, rtt_s)]
        place = f"SLA {1000 * sla_s:g} ms, RTT {1000 * rtt_s:g} ms ({mode.value})"
        lines.append(f"{place}: {_earned(group)}")
        if 1 < len(group) <= MAX_LISTED:
            listed = "; ".join(f"{cell.trace} {_by_policy(cell)}" for cell in group)
            lines.append(
                f"{place}, %, by link, as headgate / the device alone / best fixed / oracle, and "
                f"headgate's misses: {listed}"
            )
    return lines


def _earned(group: Sequence[CaseRuns]) -> str:
    """Compare ours with what users would do instead."""
    found = {name: Figures(name, group) for name in (OURS, LOCAL, FIXED, ORACLE)}
    ours, local = found[OURS], found[LOCAL]
    num = "the link" if len(group) == 1 else f"{len(group)} links"
    alone = f"{_percent(local.credited)} %"
    if local.credited == 0:
        alone = "nothing (no local point is allowed and in time)"
    text = (
        f"over {num} headgate is credited {_percent(ours.credited)} %, the device alone {alone}, "
        f"the best fixed point {_percent(found[FIXED].credited)} %, and no more than "
        f"{_percent(found[ORACLE].credited)} % is possible"
    )
    if ours.gap is None:
        return f"{text}: on these links nothing is gained by sending"
    return f"{text}; {_percent(ours.miss_share)} % of its frames have no answer in time"


def _by_policy(cell: CaseRuns) -> str:
    credited = " / ".join(
        _percent(cell.credited(policy) or 0.0) for policy in (OURS, LOCAL, FIXED, ORACLE)
    )
    return f"{credited}, {_percent(run_of_policy(cell, OURS).miss_share)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def goals_of(
    figures: Sequence[Figures],
    mode: Mode,
    gap_goals: Mapping[float, float],
    *,
    sla_s: float,
    rtt_s: float,
) -> list[Goal]:
    """Return the goals for fine traces; none where there is no gap to close."""
    ours = next(each for each in figures if each.policy == OURS)
    if ours.gap is None:
        return []
    place = f"({mode.value}) at SLA {1000 * sla_s:g} ms, RTT {1000 * rtt_s:g} ms"
    goals = []
    wanted = gap_goals.get(round(sla_s, 6))
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
