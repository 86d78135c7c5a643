"""Plans a training for an operator: the plan and its rivals, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isfinite

from headgate.profiles.errors import UsageError
from headgate.train.pact.choices import list_choices
from headgate.train.pact.nodes import NodeList
from headgate.train.pact.pilot_file import Pilot
from headgate.train.pact.planner import Solution, Wanted, reachable_accuracy, solve
from headgate.train.pact.rivals import rivals


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan, and those of the rivals by their names, None where they are not in time."""

    best: Solution
    rivals: dict[str, Solution | None]


def plan_training(
    found: NodeList, pilot: Pilot, wanted: Wanted, *, margin: float | None = None
) -> Planned:
    """Return the plan of least energy that is predicted `margin` better than wanted, in time.

    `margin` None is `usual_margin`. Raises UsageError where there is no plan,
    with what could be reached.
    """
    _check(found, pilot, wanted)
    margin = usual_margin(pilot) if margin is None else margin
    goal = replace(wanted, accuracy=wanted.accuracy + margin)
    found = found.showing(pilot.labels)
    choices = list_choices(found, pilot.costs)
    best = solve(choices, pilot.curve, goal)
    if best is None:
        raise UsageError(_why_not(found, pilot, goal, margin=margin))
    return Planned(best, rivals(found, pilot.costs, pilot.curve, goal))


def usual_margin(pilot: Pilot) -> float:
    """Return what the curve may be wrong by, of accuracy: its error over the pilot."""
    return pilot.curve.rms_error


def _check(found: NodeList, pilot: Pilot, wanted: Wanted) -> None:
    budgets = [each.budget for each in pilot.costs.budgets]
    if wanted.last_budget not in (None, *budgets):
        raise UsageError(
            f"--last-budget: found {wanted.last_budget}, expected one of the pilot's: "
            f"{', '.join(map(str, budgets))}"
        )
    for node in found.nodes:
        unknown = sorted(set(node.labels) - set(pilot.labels))
        if unknown:
            raise UsageError(
                f"node {node.name}: label {unknown[0]!r} is none of the pilot's: "
                f"{', '.join(pilot.labels[:20])}"
            )


def _why_not(found: NodeList, pilot: Pilot, goal: Wanted, *, margin: float) -> str:
    """Say what of the goal is too much, and what could be reached."""
    choices = list_choices(found, pilot.costs)
    reachable = reachable_accuracy(choices, pilot.curve, goal) - margin
    text = (
        f"--accuracy: {goal.accuracy - margin:g} with a margin of {margin:.3f} is not reached "
        f"in {goal.max_epochs} epoch{'' if goal.max_epochs == 1 else 's'}"
    )
    if isfinite(goal.deadline_s):
        text += f" and {goal.deadline_s / 60:g} minutes"
        unhurried = solve(choices, pilot.curve, replace(goal, deadline_s=inf))
        if unhurried is not None:
            return (
                f"{text}, about {max(0.0, reachable):.3f} is, and without hurry all of it in "
                f"{unhurried.time_s / 60:.1f}; ask for less, or give more of --within-min"
            )
    return (
        f"{text}, about {max(0.0, reachable):.3f} is; ask for less, give more of --max-epochs, or "
        "add nodes"
    )
