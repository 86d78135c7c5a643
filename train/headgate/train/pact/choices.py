"""What an epoch could be: which nodes train in it, with how many maps crossing.

All sets of few nodes are tried. Of many, for each time that an epoch may take, those that make it
are taken in the order of the energy they need per picture, whose sets are the best ones whatever
pictures and seconds are worth. But pictures are worth less the more nodes share them, so those that
make it are also taken in the order of how many they have.

A network that is not shown a class unlearns it, so each set shows all classes that the nodes have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil

from headgate.train.pact.epoch_costs import EpochCost, NetworkCosts, epoch_cost
from headgate.train.pact.learning_curve import Shown
from headgate.train.pact.nodes import Node, NodeList

MAX_ALL_SETS = 8  # nodes of which every set is tried
MAX_TIMES = 24  # that an epoch may take, and
MAX_SIZES = 32  # sizes of a set, that are tried of more nodes


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to spend an epoch."""

    budget: int
    names: tuple[str, ...]  # in the order of the file
    num_pictures: int
    cost: EpochCost

    @property
    def shown(self) -> Shown:
        return Shown(self.budget, self.num_pictures, len(self.names))


def list_choices(found: NodeList, network: NetworkCosts) -> list[Choice]:
    """Return all choices but those that another is as good as in everything."""
    choices = []
    for costs in network.budgets:
        made = [
            _choice(nodes, found, network, budget=costs.budget)
            for nodes in _sets(found, network, budget=costs.budget)
        ]
        choices += _not_beaten(made)
    return choices


def everyone(found: NodeList, network: NetworkCosts) -> list[Choice]:
    """Return the choices in which all nodes train."""
    return [_choice(found.nodes, found, network, budget=costs.budget) for costs in network.budgets]


def _choice(
    nodes: Sequence[Node], found: NodeList, network: NetworkCosts, *, budget: int
) -> Choice:
    return Choice(
        budget,
        tuple(node.name for node in nodes),
        sum(node.pictures for node in nodes),
        epoch_cost(nodes, found.server, network, budget=budget),
    )


def _sets(found: NodeList, network: NetworkCosts, *, budget: int) -> Iterator[tuple[Node, ...]]:
    labels = {label for node in found.nodes for label in node.labels}
    sets = _all_sets if len(found.nodes) <= MAX_ALL_SETS else _prefixes
    for nodes in sets(found, network, budget=budget):
        shown = {label for node in nodes for label in node.labels}
        if shown >= labels:
            yield nodes


def _all_sets(found: NodeList, network: NetworkCosts, *, budget: int) -> Iterator[tuple[Node, ...]]:
    for size in range(1, len(found.nodes) + 1):
        yield from combinations(found.nodes, size)


def _prefixes(found: NodeList, network: NetworkCosts, *, budget: int) -> Iterator[tuple[Node, ...]]:
    alone = {
        node.name: epoch_cost([node], found.server, network, budget=budget) for node in found.nodes
    }
    place = {node.name: number for number, node in enumerate(found.nodes)}
    times_s = sorted(cost.time_s for cost in alone.values())
    for time_s in times_s[:: -ceil(len(times_s) / MAX_TIMES)]:
        quick = [node for node in found.nodes if alone[node.name].time_s <= time_s]

        def thirst_j(node: Node, time_s: float = time_s) -> float:
            waits_s = time_s - alone[node.name].time_s
            return (alone[node.name].energy_j + node.idle_watts * waits_s) / node.pictures

        for order in (sorted(quick, key=thirst_j), sorted(quick, key=lambda n: -n.pictures)):
            ordered = _those_that_add_labels_first(order)
            step = ceil(len(ordered) / MAX_SIZES)
            for size in range(len(ordered), 0, -step):
                yield tuple(sorted(ordered[:size], key=lambda node: place[node.name]))


def _those_that_add_labels_first(nodes: Sequence[Node]) -> list[Node]:
    """Keep the order, but begin with nodes that show what none before them does."""
    seen: set[str] = set()
    first = []
    for node in nodes:
        if not set(node.labels) <= seen:
            first.append(node)
            seen |= set(node.labels)
    return [*first, *(node for node in nodes if node not in first)]


def _not_beaten(choices: Sequence[Choice]) -> list[Choice]:
    kept: list[Choice] = []
    for each in sorted(choices, key=lambda c: (c.cost.energy_j, c.cost.time_s, -c.num_pictures)):
        if not any(_is_as_good(other, each) for other in kept):
            kept.append(each)
    return kept


def _is_as_good(one: Choice, other: Choice) -> bool:
    """Say whether a choice that needs no more energy is as good in everything else."""
    return (
        one.cost.time_s <= other.cost.time_s
        and one.num_pictures >= other.num_pictures
        and len(one.names) <= len(other.names)
    )
