"""Claims about the sets of nodes that are tried: labels are all shown, and none is left out."""

from __future__ import annotations

from itertools import combinations

from headgate.train.pact.choices import MAX_ALL_SETS, everyone, list_choices
from headgate.train.pact.epoch_costs import epoch_cost
from train.pact.small_plans import NETWORK, THREE, node, nodes


def test_what_another_set_beats_in_everything_is_not_tried() -> None:
    choices = list_choices(THREE, NETWORK)
    tried = {(each.budget, each.names) for each in choices}
    for costs in NETWORK.budgets:
        for size in (1, 2, 3):
            for some in combinations(THREE.nodes, size):
                cost = epoch_cost(some, THREE.server, NETWORK, budget=costs.budget)
                is_beaten = any(
                    each.budget == costs.budget
                    and each.cost.energy_j <= cost.energy_j
                    and each.cost.time_s <= cost.time_s
                    and each.num_pictures >= sum(n.pictures for n in some)
                    and len(each.names) <= len(some)
                    for each in choices
                )
                names = tuple(n.name for n in some)
                assert is_beaten or (costs.budget, names) in tried


def test_each_set_shows_all_labels_that_there_are() -> None:
    found = nodes(
        node("cats", labels=("cat",)),
        node("dogs", labels=("dog",)),
        node("both", labels=("cat", "dog"), watts=50.0),
    )
    names = {each.names for each in list_choices(found, NETWORK)}
    assert names
    assert all("both" in some or {"cats", "dogs"} <= set(some) for some in names)


def test_a_node_that_names_no_labels_shows_all() -> None:
    found = nodes(node("cats", labels=("cat",)), node("any", watts=9.0)).showing(("cat", "dog"))
    assert all("any" in each.names for each in list_choices(found, NETWORK))


def test_of_many_nodes_sets_still_show_all_labels() -> None:
    found = nodes(
        *(node(f"cat{i}", labels=("cat",), watts=1.0 + i) for i in range(MAX_ALL_SETS)),
        *(node(f"dog{i}", labels=("dog",), watts=90.0 + i) for i in range(3)),
    )
    choices = list_choices(found, NETWORK)
    assert choices
    for each in choices:
        assert {name[:3] for name in each.names} == {"cat", "dog"}
    # The thriftiest of each kind alone is tried.
    assert ("cat0", "dog0") in {each.names for each in choices}


def test_everyone_is_all_nodes_with_each_budget() -> None:
    assert [(each.budget, each.names) for each in everyone(THREE, NETWORK)] == [
        (4, ("pi", "pc", "field")),
        (32, ("pi", "pc", "field")),
    ]
