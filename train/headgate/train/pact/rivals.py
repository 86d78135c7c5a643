"""What an operator would do without a planner, each with as many epochs as it needs.

everyone, all maps      all nodes in every epoch, with the most maps or those of the network that is
                        wanted: plain split learning
everyone, one budget    all nodes, with the number of maps that costs least
everyone, a schedule    all nodes, with the best schedule of maps: deprune
one set, one budget     the best set of nodes and number of maps, the same in every epoch
greedy                  one number of maps, and in each epoch the nodes that learn most per joule,
                        while the rest can still be done in time
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, exp, inf, log

from headgate.train.pact.choices import Choice, everyone, list_choices
from headgate.train.pact.epoch_costs import NetworkCosts
from headgate.train.pact.learning_curve import LearningCurve
from headgate.train.pact.nodes import NodeList
from headgate.train.pact.planner import Solution, Wanted, solution_of, solve

PLAIN = "everyone, all maps"


def rivals(
    found: NodeList, network: NetworkCosts, curve: LearningCurve, wanted: Wanted
) -> dict[str, Solution | None]:
    """Return each rival's plan, by its name; None where it is not good enough in time."""
    all_nodes = everyone(found, network)
    last = network.budgets[-1].budget if wanted.last_budget is None else wanted.last_budget
    choices = list_choices(found, network)
    return {
        PLAIN: _constant([c for c in all_nodes if c.budget == last], curve, wanted),
        "everyone, one budget": _constant(all_nodes, curve, wanted),
        "everyone, a schedule": solve(all_nodes, curve, wanted),
        "one set, one budget": _constant(choices, curve, wanted),
        "greedy": greedy(choices, curve, wanted),
    }


def _constant(choices: Sequence[Choice], curve: LearningCurve, wanted: Wanted) -> Solution | None:
    """Return the cheapest plan that has the same choice in every epoch."""
    plans = []
    for choice in choices:
        needed = curve.progress_for(wanted.accuracy, last_budget=choice.budget)
        if needed is None or wanted.last_budget not in (None, choice.budget):
            continue
        num_epochs = _epochs_to(needed, choice, curve, after=0)
        if num_epochs <= wanted.max_epochs:
            plan = solution_of([choice] * max(1, int(num_epochs)), curve)
            plans += [plan] if plan.time_s <= wanted.deadline_s else []
    return min(plans, key=lambda plan: plan.energy_j, default=None)


def _epochs_to(progress: float, choice: Choice, curve: LearningCurve, *, after: int) -> float:
    """Return how many epochs of one choice make a progress, after others; inf if none do."""
    if progress <= 0:
        return 0.0
    first = _counted(choice, curve) * curve.worth(choice.budget, epoch=after)
    fade = exp(-1.0 / curve.repeats)
    left = 1.0 - progress * (1.0 - fade) / first  # of what all epochs for ever would teach
    return inf if left <= 0 else float(ceil(log(left) / log(fade) - 1e-9))


def greedy(choices: Sequence[Choice], curve: LearningCurve, wanted: Wanted) -> Solution | None:
    """Return the plan whose every epoch learns most per joule of those that may still be in time.

    That is with the last budget alone, and so that the rest could still be done: by the choice that
    learns most per second, or by the one that learns most per epoch.
    """
    plans = [
        _greedy([c for c in choices if c.budget == last], curve, replace(wanted, last_budget=last))
        for last in {choice.budget for choice in choices}
        if wanted.last_budget in (None, last)
    ]
    return min(filter(None, plans), key=lambda plan: plan.energy_j, default=None)


def _greedy(choices: Sequence[Choice], curve: LearningCurve, wanted: Wanted) -> Solution | None:
    last = choices[0].budget
    needed = curve.progress_for(wanted.accuracy, last_budget=last)
    if needed is None:
        return None
    quickest = max(choices, key=lambda c: _counted(c, curve) / c.cost.time_s)
    largest = max(choices, key=lambda c: _counted(c, curve))
    thriftiest = sorted(choices, key=lambda c: c.cost.energy_j / _counted(c, curve))
    epochs: list[Choice] = []
    while len(epochs) < wanted.max_epochs:
        for choice in thriftiest:
            begun = [*epochs, choice]
            if any(_can_end(begun, rest, needed, curve, wanted) for rest in (quickest, largest)):
                epochs = begun
                break
        else:
            return None
        plan = solution_of(epochs, curve)
        if plan.accuracy >= wanted.accuracy:
            return plan
    return None


def _can_end(
    epochs: Sequence[Choice],
    rest: Choice,
    needed: float,
    curve: LearningCurve,
    wanted: Wanted,
) -> bool:
    """Say whether `epochs`, and then one choice alone, make the progress needed in time."""
    left = needed - curve.progress([each.shown for each in epochs])
    num_more = _epochs_to(left, rest, curve, after=len(epochs))
    spent_s = sum(each.cost.time_s for each in epochs)
    if num_more > wanted.max_epochs - len(epochs):
        return False
    return spent_s + num_more * rest.cost.time_s <= wanted.deadline_s


def _counted(choice: Choice, curve: LearningCurve) -> float:
    return curve.counted(choice.num_pictures, len(choice.names))
