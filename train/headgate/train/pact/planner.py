"""Which maps, from which nodes, in which epoch: least energy for an accuracy in a time.

After PACT (arXiv 2212.02304), of which only the abstracts were read: they state the problem (how
much to compress, on which nodes, with whose data; least energy under bounds of quality and time)
and the means (a graph expanded in time, dynamic programming, losses predicted from data; as close
to the optimum as one likes, in polynomial time). The graph, its costs and the curve are ours.

A vertex is a number of epochs done, the budget of the last one, whether more maps crossed before
it, and cells of the time and of the progress so far; an edge is a choice for the next epoch. In
each vertex only the path of the least energy is kept, with its exact time and progress, so a plan
that is found keeps its bounds exactly.
Cells grow by a factor of 1 + `resolution`: a plan of n epochs needs no more energy than the best
one of all that keep both bounds with a factor of (1 + resolution)^n to spare.

Budgets may grow and then shrink. They do not grow again: a map that left would be learnt anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf

import numpy as np
import numpy.typing as npt

from headgate.train.pact.choices import Choice
from headgate.train.pact.learning_curve import LearningCurve

RESOLUTION = 0.01
MAX_EPOCHS = 60
_MIN_SHARE = 1e-3  # of the deadline, and of the progress needed: below it there is one cell

# Shapes: L labels of one state, C choices of its budget, S one for each label and choice

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Solution:
    """Epochs in their order, and what they come to."""

    epochs: tuple[Choice, ...]
    accuracy: float  # as the curve predicts it
    time_s: float
    energy_j: float
    num_bytes: float

    @property
    def num_pictures(self) -> int:
        return sum(each.num_pictures for each in self.epochs)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a plan must keep: the accuracy that is predicted of it, and a time."""

    accuracy: float  # 0..1
    deadline_s: float = inf
    max_epochs: int = MAX_EPOCHS
    last_budget: int | None = None  # of the network that is wanted; None: whichever costs least


@dataclass(frozen=True, slots=True)
class _Labels:
    """Paths with the same number of epochs that end in the same state."""

    energy_L: Floats
    time_L: Floats
    progress_L: Floats
    choice_L: Ints  # of the budget's choices
    before_L: Ints  # the label it goes on from, among those of the state `came_from`
    came_from_L: Ints

    @classmethod
    def origin(cls) -> _Labels:
        zero, none = np.zeros(1), np.full(1, -1)
        return cls(zero, zero, zero, none, none, none)

    def only(self, kept: Ints) -> _Labels:
        return _Labels(
            self.energy_L[kept],
            self.time_L[kept],
            self.progress_L[kept],
            self.choice_L[kept],
            self.before_L[kept],
            self.came_from_L[kept],
        )


def solve(
    choices: Sequence[Choice],
    curve: LearningCurve,
    wanted: Wanted,
    *,
    resolution: float = RESOLUTION,
) -> Solution | None:
    """Return the plan of least energy, or None where none is good enough in time."""
    best: Solution | None = None
    for last in sorted({choice.budget for choice in choices}):
        if wanted.last_budget not in (None, last):
            continue
        needed = curve.progress_for(wanted.accuracy, last_budget=last)
        if needed is None:
            continue
        most_j = inf if best is None else best.energy_j
        graph = _Graph(choices, curve, wanted, last=last, needed=needed, resolution=resolution)
        found = graph.cheapest(below_j=most_j)
        best = found or best
    return best


def reachable_accuracy(
    choices: Sequence[Choice], curve: LearningCurve, wanted: Wanted, *, steps: int = 8
) -> float:
    """Return about the highest accuracy that some plan reaches in time."""
    low, high = 0.0, wanted.accuracy
    for _ in range(steps):
        middle = (low + high) / 2
        goal = Wanted(middle, wanted.deadline_s, wanted.max_epochs, wanted.last_budget)
        if solve(choices, curve, goal, resolution=5 * RESOLUTION) is None:
            high = middle
        else:
            low = middle
    return low


@dataclass(frozen=True, slots=True)
class _State:
    """The maps of an epoch, and whether more of them crossed in one before it."""

    budget: int
    is_later: bool

    def leads_to(self, after: _State) -> bool:
        """Say whether an epoch of that state may follow."""
        if after.budget > self.budget:
            return not self.is_later and not after.is_later
        return after.is_later == (self.is_later or after.budget < self.budget)


class _Graph:
    """The paths to one last budget, an epoch at a time."""

    def __init__(
        self,
        choices: Sequence[Choice],
        curve: LearningCurve,
        wanted: Wanted,
        *,
        last: int,
        needed: float,
        resolution: float,
    ) -> None:
        self._curve, self._wanted, self._needed = curve, wanted, needed
        self._resolution = resolution
        self._budgets = sorted({choice.budget for choice in choices})
        self._last = last
        self._states = [_State(b, is_later) for is_later in (False, True) for b in self._budgets]
        self._choices = {b: [c for c in choices if c.budget == b] for b in self._budgets}
        self._layers: list[list[_Labels | None]] = []

    def cheapest(self, *, below_j: float) -> Solution | None:
        """Return the plan of least energy, if it needs less than `below_j`."""
        goal: tuple[int, int, int] | None = None  # epochs but one, state, and which of its labels
        for epoch in range(self._wanted.max_epochs):
            layer = [self._expanded(state, epoch=epoch, below_j=below_j) for state in self._states]
            self._layers.append(layer)
            for index, labels in enumerate(layer):
                if labels is None or self._states[index].budget != self._last:
                    continue
                reached_L = np.flatnonzero(labels.progress_L >= self._needed)
                if len(reached_L):
                    label = int(reached_L[labels.energy_L[reached_L].argmin()])
                    if labels.energy_L[label] < below_j:
                        goal, below_j = (epoch, index, label), float(labels.energy_L[label])
            if not any(labels is not None for labels in layer):
                break
        return None if goal is None else self._solution(*goal)

    def _expanded(self, state: _State, *, epoch: int, below_j: float) -> _Labels | None:
        """Return the labels that are in a state after one more epoch."""
        own = self._choices[state.budget]
        worth = self._curve.worth(state.budget, epoch=epoch, is_later=state.is_later)
        energy_C = np.array([choice.cost.energy_j for choice in own])
        time_C = np.array([choice.cost.time_s for choice in own])
        progress_C = worth * np.array([float(choice.num_pictures) for choice in own])
        parts = []
        for came_from, labels in self._before(state, epoch=epoch):
            energy_S = np.add.outer(labels.energy_L, energy_C).ravel()
            time_S = np.add.outer(labels.time_L, time_C).ravel()
            progress_S = np.add.outer(labels.progress_L, progress_C).ravel()
            kept = np.flatnonzero((time_S <= self._wanted.deadline_s) & (energy_S < below_j))
            before_L, choice_L = np.divmod(kept, len(own))
            parts.append(
                _Labels(
                    energy_S[kept],
                    time_S[kept],
                    np.minimum(progress_S[kept], self._needed),
                    choice_L,
                    before_L,
                    np.full(len(kept), came_from),
                )
            )
        return self._thinned(_joined(parts)) if parts else None

    def _before(self, state: _State, *, epoch: int) -> list[tuple[int, _Labels]]:
        """Return from which states one more epoch leads to this one, and their labels."""
        if epoch == 0:
            return [] if state.is_later else [(-1, _Labels.origin())]
        return [
            (index, labels)
            for index, labels in enumerate(self._layers[epoch - 1])
            if labels is not None and self._states[index].leads_to(state)
        ]

    def _thinned(self, labels: _Labels) -> _Labels | None:
        """Keep the cheapest label of each cell, if none in a better cell is as cheap."""
        if not len(labels.energy_L):
            return None
        longest_s = min(self._wanted.deadline_s, float(labels.time_L.max()))
        late_L = self._cells(labels.time_L, most=longest_s)
        far_L = self._cells(labels.progress_L, most=self._needed)
        order_L = np.lexsort((labels.time_L, labels.energy_L))
        cell_L = late_L * (far_L.max() + 1) + far_L
        _, first = np.unique(cell_L[order_L], return_index=True)
        kept = order_L[first]
        least = np.full((late_L.max() + 2, far_L.max() + 2), inf)  # a border: nothing is beyond it
        least[late_L[kept] + 1, far_L[kept]] = labels.energy_L[kept]
        least = np.minimum.accumulate(least, axis=0)
        least = np.minimum.accumulate(least[:, ::-1], axis=1)[:, ::-1]
        rival = np.minimum(
            least[late_L[kept], far_L[kept]], least[late_L[kept] + 1, far_L[kept] + 1]
        )
        return labels.only(np.sort(kept[labels.energy_L[kept] < rival]))

    def _cells(self, values_L: Floats, *, most: float) -> Ints:
        shares_L = np.maximum(values_L / most, _MIN_SHARE) / _MIN_SHARE
        cells_L = np.floor(np.log(shares_L) / np.log1p(self._resolution))
        _, place_L = np.unique(cells_L, return_inverse=True)  # most of fine cells are empty
        return place_L.astype(np.int64)

    def _solution(self, epoch: int, index: int, label: int) -> Solution:
        epochs: list[Choice] = []
        for layer in reversed(self._layers[: epoch + 1]):
            labels = layer[index]
            assert labels is not None
            epochs.append(self._choices[self._states[index].budget][labels.choice_L[label]])
            index, label = int(labels.came_from_L[label]), int(labels.before_L[label])
        return solution_of(_larger_first(epochs[::-1]), self._curve)


def _larger_first(epochs: Sequence[Choice]) -> list[Choice]:
    """Order epochs of the same maps in a row by their pictures: the first ones teach most."""
    ordered: list[Choice] = []
    for _, group in groupby(epochs, key=lambda each: each.budget):
        ordered += sorted(group, key=lambda each: (-each.num_pictures, each.names))
    return ordered


def solution_of(epochs: Sequence[Choice], curve: LearningCurve) -> Solution:
    """Return what these epochs come to."""
    return Solution(
        tuple(epochs),
        accuracy=curve.accuracy([(each.budget, each.num_pictures) for each in epochs]),
        time_s=sum(each.cost.time_s for each in epochs),
        energy_j=sum(each.cost.energy_j for each in epochs),
        num_bytes=sum(each.cost.num_bytes for each in epochs),
    )


def _joined(parts: Sequence[_Labels]) -> _Labels:
    return _Labels(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in _Labels.__dataclass_fields__
        )
    )
