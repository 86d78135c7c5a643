"""Claims about plans: they keep their bounds, and nothing that keeps them is cheaper."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.train.pact.choices import Choice, list_choices
from headgate.train.pact.nodes import NodeList
from headgate.train.pact.planner import Solution, Wanted, reachable_accuracy, solution_of, solve
from headgate.train.pact.rivals import rivals
from train.pact.small_plans import CURVE, NETWORK, THREE, node, nodes


def best_of_all(choices: list[Choice], wanted: Wanted) -> Solution | None:
    """Return the best plan by trying every one whose budgets grow first and then shrink."""
    best = None
    for num_epochs in range(1, wanted.max_epochs + 1):
        for epochs in product(choices, repeat=num_epochs):
            budgets = [each.budget for each in epochs]
            peak = budgets.index(max(budgets))
            if budgets[: peak + 1] != sorted(budgets[: peak + 1]):
                continue
            if budgets[peak:] != sorted(budgets[peak:], reverse=True):
                continue
            if wanted.last_budget not in (None, budgets[-1]):
                continue
            plan = solution_of(epochs, CURVE)
            if plan.time_s > wanted.deadline_s or plan.accuracy < wanted.accuracy - 1e-12:
                continue
            if best is None or plan.energy_j < best.energy_j:
                best = plan
    return best


@given(
    speeds=st.lists(st.floats(0.5, 60.0), min_size=2, max_size=2),
    rates=st.lists(st.floats(0.5, 100.0), min_size=2, max_size=2),
    watts=st.lists(st.floats(1.0, 100.0), min_size=2, max_size=2),
    accuracy=st.floats(0.2, 0.5),
    deadline_s=st.sampled_from([inf, 400.0, 150.0, 60.0]),
)
@settings(max_examples=30, deadline=None)
def test_no_plan_of_few_epochs_is_cheaper(
    speeds: list[float],
    rates: list[float],
    watts: list[float],
    accuracy: float,
    deadline_s: float,
) -> None:
    found = nodes(
        *(node(f"n{i}", gmacs_per_s=speeds[i], mbps_up=rates[i], watts=watts[i]) for i in range(2))
    )
    choices = list_choices(found, NETWORK)
    wanted = Wanted(accuracy, deadline_s, max_epochs=4)
    plan, best = (
        solve(choices, CURVE, wanted, tolerance=0.0, resolution=1e-4),
        best_of_all(choices, wanted),
    )
    if best is None:
        assert plan is None
        return
    assert plan is not None
    assert plan.accuracy >= accuracy - 1e-9
    assert plan.time_s <= deadline_s
    assert best.energy_j * (1 - 1e-9) <= plan.energy_j <= best.energy_j * 1.001
    assert plan.floor_j <= best.energy_j * (1 + 1e-9)


@pytest.mark.parametrize("deadline_s", [inf, 400.0])
def test_no_rival_is_cheaper(deadline_s: float) -> None:
    accuracy = 0.6
    wanted = Wanted(accuracy, deadline_s)
    plan = solve(list_choices(THREE, NETWORK), CURVE, wanted)
    others = rivals(THREE, NETWORK, CURVE, wanted)
    assert len(others) == 5
    for each in others.values():
        if each is not None:
            assert plan is not None
            assert each.accuracy >= accuracy - 1e-9
            assert each.time_s <= deadline_s
            assert plan.energy_j <= each.energy_j * 1.01


def test_with_more_time_a_plan_costs_less_and_uses_the_thrifty_node() -> None:
    choices = list_choices(THREE, NETWORK)
    slow, quick = (solve(choices, CURVE, Wanted(0.55, s)) for s in (inf, 60.0))
    assert slow is not None
    assert quick is not None
    assert slow.energy_j < quick.energy_j
    assert slow.time_s > quick.time_s
    assert any("pi" in each.names for each in slow.epochs)
    assert any("pc" in each.names for each in quick.epochs)


def test_the_network_wanted_is_the_one_at_the_end() -> None:
    choices = list_choices(THREE, NETWORK)
    for budget in (4, 32):
        plan = solve(choices, CURVE, Wanted(0.55, last_budget=budget))
        assert plan is not None
        assert plan.epochs[-1].budget == budget


def test_a_plan_that_begins_with_many_maps_may_end_with_few_but_not_grow_again() -> None:
    choices = list_choices(THREE, NETWORK)
    plan = solve(choices, CURVE, Wanted(0.6))
    assert plan is not None
    budgets = [each.budget for each in plan.epochs]
    peak = budgets.index(max(budgets))
    assert budgets == [*sorted(budgets[:peak]), *sorted(budgets[peak:], reverse=True)]


def test_epochs_of_the_same_maps_begin_with_those_that_teach_most() -> None:
    plan = solve(list_choices(THREE, NETWORK), CURVE, Wanted(0.65))
    assert plan is not None
    counted = [CURVE.counted(each.num_pictures, len(each.names)) for each in plan.epochs]
    for number in range(1, len(counted)):
        same = plan.epochs[number - 1].budget == plan.epochs[number].budget
        assert not same or counted[number - 1] >= counted[number]


def test_what_cannot_be_reached_has_no_plan_and_what_can_is_told() -> None:
    choices = list_choices(nodes(*THREE.nodes[:2]), NETWORK)
    wanted = Wanted(0.7, deadline_s=30.0, max_epochs=30)
    assert solve(choices, CURVE, wanted) is None
    about = reachable_accuracy(choices, CURVE, wanted)
    assert 0.3 < about < 0.7
    assert solve(choices, CURVE, replace(wanted, accuracy=about - 0.01)) is not None
    assert solve(choices, CURVE, replace(wanted, accuracy=about + 0.03)) is None


def test_what_one_plan_alone_reaches_in_time_is_found_and_told() -> None:
    choices = list_choices(THREE, NETWORK)
    for number, choice in enumerate(choices):
        plan = solution_of([choice] * (8 + number), CURVE)
        wanted = Wanted(plan.accuracy, plan.time_s, max_epochs=8 + number)
        assert solve(choices, CURVE, wanted) is not None
        about = reachable_accuracy([choice], CURVE, replace(wanted, accuracy=0.99))
        assert about == pytest.approx(plan.accuracy, abs=0.002)


def test_of_plans_that_need_no_energy_the_quickest_is_taken() -> None:
    free = nodes(*(replace(each, watts=0.0, radio_watts=0.0) for each in THREE.nodes))
    choices = list_choices(replace(free, server=replace(free.server, watts=0.0)), NETWORK)
    plan = solve(choices, CURVE, Wanted(0.55))
    assert plan is not None
    assert plan.energy_j == 0.0
    alone = min(
        (solution_of([c] * n, CURVE) for c in choices for n in range(1, 61)),
        key=lambda each: each.time_s if each.accuracy >= 0.55 else inf,
    )
    assert plan.time_s <= alone.time_s * 1.01


@pytest.mark.parametrize("seed", range(4))
def test_of_more_nodes_the_sets_that_are_tried_lose_little(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    found = nodes(
        *(
            node(
                f"n{number}",
                pictures=draw.randint(200, 2000),
                gmacs_per_s=draw.uniform(1.0, 50.0),
                watts=draw.uniform(2.0, 50.0),
                mbps_up=draw.uniform(1.0, 50.0),
                idle_watts=draw.choice((0.0, 1.0, 3.0)),
            )
            for number in range(9)
        )
    )
    wanted = Wanted(0.5)
    some = solve(list_choices(found, NETWORK), CURVE, wanted)
    monkeypatch.setattr("headgate.train.pact.choices.MAX_ALL_SETS", 9)
    all_sets = solve(list_choices(found, NETWORK), CURVE, wanted)
    assert some is not None
    assert all_sets is not None
    assert some.energy_j <= 1.03 * all_sets.energy_j


def test_many_nodes_are_planned_for_and_not_worse_than_the_few_they_are_made_of() -> None:
    many = NodeList(
        THREE.server,
        tuple(
            node(
                f"{each.name}{i}",
                **{
                    name: getattr(each, name)
                    for name in ("gmacs_per_s", "watts", "mbps_up", "mbps_down", "radio_watts")
                },
                pictures=400,
            )
            for i in range(5)
            for each in THREE.nodes
        ),
    )
    alike = replace(CURVE, crowding=0.0)
    whole = solve(list_choices(THREE, NETWORK), alike, Wanted(0.6))
    parts = solve(list_choices(many, NETWORK), alike, Wanted(0.6))
    assert whole is not None
    assert parts is not None
    # Halves cross once for each node and epoch: that is all that can cost more.
    assert parts.energy_j < 1.1 * whole.energy_j
