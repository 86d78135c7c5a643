"""Whose pictures are whose where one data set stands for those of all nodes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from headgate.profiles.errors import DataError, UsageError
from headgate.train.pact.nodes import Node
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
        if len(fitting_N) < node.pictures or node.pictures < MIN_BATCH:
            raise DataError(
                f"node {node.name}: is to have {node.pictures} pictures, and {len(fitting_N)} are "
                f"left for it; expected {MIN_BATCH} or more each, and not more than the data set "
                "has of its labels"
            )
        dealt[node.name] = np.sort(fitting_N[: node.pictures])
        left_N[dealt[node.name]] = False
    return {node.name: dealt[node.name] for node in nodes}


def dealing(nodes: Sequence[Node], *, names: Collection[str]) -> Dealt:
    """Return what deals a training's data set to all nodes, of which those of `names` train."""

    def dealt(plan: Plan) -> dict[str, Pictures_N]:
        found = deal(
            nodes,
            plan.data.train_labels_N.numpy(),
            labels=plan.data.labels,
            seed=plan.config.seed,
        )
        return {name: own_N for name, own_N in found.items() if name in names}

    return dealt
