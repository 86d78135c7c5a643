"""What a plan saves beside what operators would do without one, on cases drawn by chance.

All costs are those of the pilot's network and of the nodes as they are drawn, all accuracies those
of the pilot's curve: this tells planners apart, and not whether the curve is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import exp, log
from statistics import fmean

from headgate.export.bench.bench_table import BenchResult, Goal
from headgate.export.bench.split_training.pact_cases import draw_case
from headgate.export.workers import in_order
from headgate.train.pact.choices import list_choices
from headgate.train.pact.pilot_file import Pilot
from headgate.train.pact.planner import solve
from headgate.train.pact.rivals import rivals

NAME = "pact"
PLAN = "the plan"
BOUND = "less than any plan needs"
LEAST = 0.99  # of the plan's energy: below it a rival has won


@dataclass(frozen=True, slots=True)
class PactOptions:
    """Which cases are planned for."""

    cases: int
    first_seed: int = 0
    workers: int = 0


@dataclass(frozen=True, slots=True)
class CaseEnergies:
    """The energy of each way in one case, J; None where it is not good enough in time."""

    seed: int
    energies: dict[str, float | None]


def bench_pact(pilot: Pilot, options: PactOptions) -> BenchResult:
    """Plan for all cases, and compare."""
    seeds = range(options.first_seed, options.first_seed + options.cases)
    cases = list(in_order(partial(_planned, pilot), seeds, workers=options.workers))
    names = list(cases[0].energies)
    return BenchResult(
        NAME,
        ("way", "cases in time", "energy, of the plan's", "at least", "in the worst 5 %"),
        tuple(_row(name, cases) for name in names),
        goals=tuple(_goals(cases, names)),
        notes=(
            f"cases {seeds[0]} to {seeds[-1]}: 2 to 12 nodes, an accuracy and a time, each drawn",
            "energy: geometric mean over the cases that both do in time",
            "accuracies are those that the pilot's curve predicts",
        ),
        details={"cases": [{"seed": case.seed, **case.energies} for case in cases]},
    )


def _planned(pilot: Pilot, seed: int) -> CaseEnergies:
    case = draw_case(pilot, seed=seed)
    choices = list_choices(case.nodes, pilot.costs)
    plan = solve(choices, pilot.curve, case.wanted)
    ways = {PLAN: plan, **rivals(case.nodes, pilot.costs, pilot.curve, case.wanted)}
    energies = {name: None if each is None else each.energy_j for name, each in ways.items()}
    return CaseEnergies(seed, {**energies, BOUND: None if plan is None else plan.floor_j})


def _ratios(name: str, cases: Sequence[CaseEnergies]) -> list[float]:
    """Return what a way needs of the plan's energy, ascending, where both are in time."""
    found = []
    for case in cases:
        own, plan = case.energies[name], case.energies[PLAN]
        if own is not None and plan is not None:
            found.append(own / plan)
    return sorted(found)


def _row(name: str, cases: Sequence[CaseEnergies]) -> tuple[str, ...]:
    in_time = sum(case.energies[name] is not None for case in cases)
    ratios = _ratios(name, cases)
    if not ratios:
        return name, f"{in_time} of {len(cases)}", "", "", ""
    mean = exp(fmean(map(log, ratios)))
    high = ratios[int(0.95 * (len(ratios) - 1))]
    return name, f"{in_time} of {len(cases)}", f"{mean:.2f}", f"{ratios[0]:.3f}", f"{high:.2f}"


def _goals(cases: Sequence[CaseEnergies], names: Sequence[str]) -> list[Goal]:
    """Hold the plan to what it is for: nobody is cheaper, and nobody in time where it is not."""
    others = [name for name in names if name not in (PLAN, BOUND)]
    least = min((ratio for name in others for ratio in _ratios(name, cases)[:1]), default=1.0)
    missed = sum(
        case.energies[PLAN] is None and any(case.energies[name] is not None for name in others)
        for case in cases
    )
    bounds = _ratios(BOUND, cases)
    above = 1.0 / fmean(bounds) if bounds else 1.0
    return [
        Goal(
            f"the cheapest rival needs at least {LEAST} of the plan's energy", least, least >= LEAST
        ),
        Goal("cases in time for a rival and not for the plan: none", missed, missed == 0),
        Goal(
            "the plan over the bound of all plans, in the mean at most 1.02", above, above <= 1.02
        ),
    ]
