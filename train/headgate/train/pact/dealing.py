"""Whose pictures are whose where one data set stands for those of all nodes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from headgate.profiles.errors import DataError, UsageError
from headgate.train.pact.nodes import Node
from headgate.train.pact.pilot_file import Pilot
from headgate.train.pact.plan_file import TrainingPlan
from headgate.train.run.plan import Plan
from headgate.train.seeds import derive_seed
from headgate.train.split_training.deprune import Dealt, Pictures_N
from headgate.train.split_training.settings import MIN_BATCH

# Shapes: N training pictures


def deal(
    nodes: Sequence[Node], labels_N: npt.NDArray[np.int64], *, labels: Sequence[str], seed: int
) -> dict[str, Pictures_N]:
    """Return the numbers of each node's pictures: as many as it has, of the labels that it shows.

    Each is drawn, and given to one node; nodes with few labels are served first. Raises UsageError
    for a label that the data set lacks, and DataError where there are too few pictures.
    """
    drawn_N = np.random.default_rng(derive_seed(seed, "shares")).permutation(len(labels_N))
    left_N = np.ones(len(labels_N), dtype=bool)
    dealt = {}
    for node in sorted(nodes, key=lambda node: len(node.labels) or len(labels) + 1):
        unknown = sorted(set(node.labels) - set(labels))
        if unknown:
            raise UsageError(
                f"node {node.name}: the data set has no label {unknown[0]!r}; it has "
                f"{', '.join(labels[:20])}"
            )
        shown = [labels.index(label) for label in node.labels or labels]
        fitting_N = drawn_N[left_N[drawn_N] & np.isin(labels_N[drawn_N], shown)]
        if node.pictures < MIN_BATCH:
            raise DataError(
                f"node {node.name}: is to have {node.pictures} pictures, expected {MIN_BATCH} or "
                "more; give it more in the file of nodes, and plan again"
            )
        if len(fitting_N) < node.pictures:
            raise DataError(_too_many(node, nodes, num_left=len(fitting_N), num_all=len(labels_N)))
        dealt[node.name] = np.sort(fitting_N[: node.pictures])
        left_N[dealt[node.name]] = False
    return {node.name: dealt[node.name] for node in nodes}


def _too_many(node: Node, nodes: Sequence[Node], *, num_left: int, num_all: int) -> str:
    wanted = sum(each.pictures for each in nodes)
    return (
        f"node {node.name}: is to have {node.pictures:,} pictures, and {num_left:,} are left for "
        f"it{' of its labels' if node.labels else ''}: all nodes that train are to have "
        f"{wanted:,}, and the data set has {num_all:,}; give nodes fewer in the file of nodes and "
        "plan again, or take a data set with more (a --limit of the pilot is one of its data too), "
        "or let each node train on its own (--role client --data)"
    )


def why_not_dealt(plan: TrainingPlan, pilot: Pilot) -> str | None:
    """Return why the pilot's data set cannot stand for that of all nodes of a plan, or None.

    None too where an older pilot did not count its pictures.
    """
    if not pilot.pictures:
        return None
    try:
        deal(
            _that_train(plan.nodes, plan.names),
            np.repeat(np.arange(len(pilot.labels)), pilot.pictures),
            labels=pilot.labels,
            seed=0,
        )
    except DataError as found:
        return str(found)
    return None


def _that_train(nodes: Sequence[Node], names: Collection[str]) -> list[Node]:
    return [node for node in nodes if node.name in names]


def dealing(nodes: Sequence[Node], *, names: Collection[str]) -> Dealt:
    """Return what deals a training's data set to those of the nodes that train: to `names`."""

    def dealt(plan: Plan) -> dict[str, Pictures_N]:
        return deal(
            _that_train(nodes, names),
            plan.data.train_labels_N.numpy(),
            labels=plan.data.labels,
            seed=plan.config.seed,
        )

    return dealt
