"""Which maps, from which nodes, in which epoch: least energy for an accuracy in a time.

After PACT (arXiv 2212.02304), of which only the abstracts were read: they state the problem (how
much to compress, on which nodes, with whose data; least energy under bounds of quality and time)
and the means (a graph expanded in time, dynamic programming, losses predicted from data; as close
to the optimum as one likes, in polynomial time). The graph, its costs and the curve are ours.

A vertex is a number of epochs done, the maps of the last one, whether more of them crossed before
it, and cells of the time and of the progress so far; an edge is a choice for the next epoch. In
each vertex only the most promising path is kept, with its exact time and progress, so a plan that
is found keeps its bounds exactly. How promising a path is, `relaxation` says, which also gives most
plans at once, and says of each how far from the best one it is at most. Paths are followed where
that is more than `tolerance`, and only those that may still lead to less energy.

Budgets may grow and then shrink. They do not grow again: a map that left would be learnt anew. What
few maps teach depends on when they shrink, so plans are made for several such epochs, and the best
of them is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import inf

import numpy as np
import numpy.typing as npt

from headgate.train.pact.choices import Choice
from headgate.train.pact.learning_curve import LearningCurve
from headgate.train.pact.relaxation import ROUNDING, TIE_W, Floats, Relaxation, State, Task

TOLERANCE = 0.005  # of energy: a plan so near to the best is not improved
RESOLUTION = 0.01  # of a cell: of its time, and of its progress
FINER = 10  # cells are so much finer where no plan is found, or it may be far from the best:
ANY = 1.0  # tolerance: the first plan will do
FAR = 0.03  # of its energy
MAX_EPOCHS = 60
SHRINKS_AT = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # first epochs with fewer maps that are tried
_MIN_SHARE = 1e-3  # of the deadline, and of the progress needed: below it there is one cell

# Shapes: L labels of one state, C choices of its budget, S one for each label and choice

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Solution:
    """Epochs in their order, and what they come to."""

    epochs: tuple[Choice, ...]
    accuracy: float  # as the curve predicts it
    time_s: float
    energy_j: float
    num_bytes: float
    floor_j: float = 0.0  # no plan of the same choices needs less, that shrinks when plans may

    @property
    def price_j(self) -> float:
        """What it is chosen by: of plans of equal energy the quickest is the best."""
        return self.energy_j + TIE_W * self.time_s


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a plan must keep: the accuracy that is predicted of it, and a time."""

    accuracy: float  # 0..1
    deadline_s: float = inf
    max_epochs: int = MAX_EPOCHS
    last_budget: int | None = None  # of the network that is wanted; None: whichever costs least


def solve(
    choices: Sequence[Choice],
    curve: LearningCurve,
    wanted: Wanted,
    *,
    tolerance: float = TOLERANCE,
    resolution: float = RESOLUTION,
    shrinks_at: Sequence[int] = SHRINKS_AT,
) -> Solution | None:
    """Return the plan of least energy, or None where none is good enough in time.

    Maps may become fewer from one of the epochs `shrinks_at` on.
    """
    best: Solution | None = None
    floor_j = inf
    for last in sorted({choice.budget for choice in choices}):
        needed = curve.progress_for(wanted.accuracy, last_budget=last)
        if needed is None or wanted.last_budget not in (None, last):
            continue
        # Sums in another order differ, and must not miss what is just enough.
        needed, deadline_s = needed * (1 - ROUNDING), wanted.deadline_s * (1 + ROUNDING)
        task = Task(choices, curve, wanted.max_epochs, deadline_s, needed, last)
        can_shrink = any(choice.budget > last for choice in choices)
        for first in (None, *shrinks_at) if can_shrink else (None,):
            if first is not None and first >= wanted.max_epochs:
                break
            some = replace(task, shrinks_at=first)
            best, least_j = _better(best, some, tolerance=tolerance, resolution=resolution)
            floor_j = min(floor_j, least_j)
            if best is not None and tolerance >= ANY:
                return best
    return best if best is None else replace(best, floor_j=min(floor_j, best.energy_j))


def _better(
    best: Solution | None, task: Task, *, tolerance: float, resolution: float
) -> tuple[Solution | None, float]:
    """Return the better of a plan and the one of least energy for a task, and the task's floor."""
    relaxed = Relaxation(task, below_j=inf if best is None else best.price_j)
    if not relaxed.is_possible:
        return best, inf
    if relaxed.steps is not None and (best is None or relaxed.price_j < best.price_j):
        best = _solution_of(relaxed.steps, task)
    for cells in (resolution, resolution / FINER):
        if best is not None and best.price_j * (1 - tolerance) <= relaxed.floor_j:
            break
        below_j = inf if best is None else best.price_j
        steps = _Graph(task, relaxed, resolution=cells).cheapest(below_j=below_j)
        best = best if steps is None else _solution_of(steps, task)
        if best is not None and best.price_j * (1 - FAR) <= relaxed.floor_j:
            break
    return best, relaxed.floor_j


def reachable_accuracy(
    choices: Sequence[Choice], curve: LearningCurve, wanted: Wanted, *, steps: int = 10
) -> float:
    """Return about the highest accuracy that some plan reaches in time."""
    low, high = 0.0, wanted.accuracy
    for _ in range(steps):
        middle = (low + high) / 2
        goal = replace(wanted, accuracy=middle)
        if solve(choices, curve, goal, tolerance=ANY, shrinks_at=SHRINKS_AT[3::4]) is None:
            high = middle
        else:
            low = middle
    return low


def solution_of(epochs: Sequence[Choice], curve: LearningCurve) -> Solution:
    """Return what these epochs come to."""
    return Solution(
        tuple(epochs),
        accuracy=curve.accuracy([each.shown for each in epochs]),
        time_s=sum(each.cost.time_s for each in epochs),
        energy_j=sum(each.cost.energy_j for each in epochs),
        num_bytes=sum(each.cost.num_bytes for each in epochs),
    )


def _solution_of(steps: Sequence[tuple[int, int]], task: Task) -> Solution:
    """Return states and their choices as a plan.

    Epochs of the same maps in a row are ordered by what they teach: the first ones teach most.
    """

    def counted(each: Choice) -> float:
        return task.curve.counted(each.num_pictures, len(each.names))

    epochs = [task.of(task.states[state])[choice] for state, choice in steps]
    ordered: list[Choice] = []
    for _, group in groupby(epochs, key=lambda each: each.budget):
        ordered += sorted(group, key=lambda each: (-counted(each), each.names))
    return solution_of(ordered, task.curve)


@dataclass(frozen=True, slots=True)
class _Labels:
    """Paths with the same number of epochs that end in the same state."""

    energy_L: Floats
    time_L: Floats
    progress_L: Floats
    choice_L: Ints  # of the state's choices
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


class _Graph:
    """The paths to one last budget, an epoch at a time."""

    def __init__(self, task: Task, relaxed: Relaxation, *, resolution: float) -> None:
        self._task, self._relaxed, self._resolution = task, relaxed, resolution
        self._states = task.states
        self._choices = [task.of(state) for state in self._states]
        self._layers: list[list[_Labels | None]] = []

    def cheapest(self, *, below_j: float) -> list[tuple[int, int]] | None:
        """Return states and choices of the plan of least energy, if that is below `below_j`."""
        goal: tuple[int, int, int] | None = None  # epochs but one, state, and which of its labels
        for epoch in range(self._task.max_epochs):
            layer = [
                self._expanded(index, epoch=epoch, below_j=below_j)
                for index in range(len(self._states))
            ]
            self._layers.append(layer)
            for index, labels in enumerate(layer):
                if labels is None or self._states[index].budget != self._task.last:
                    continue
                reached_L = np.flatnonzero(labels.progress_L >= self._task.needed)
                if len(reached_L):
                    label = int(reached_L[labels.energy_L[reached_L].argmin()])
                    if labels.energy_L[label] < below_j:
                        goal, below_j = (epoch, index, label), float(labels.energy_L[label])
            if not any(labels is not None for labels in layer):
                break
        return None if goal is None else self._steps_to(*goal)

    def _expanded(self, index: int, *, epoch: int, below_j: float) -> _Labels | None:
        """Return the labels that are in a state after one more epoch."""
        task, state, own = self._task, self._states[index], self._choices[index]
        worth = task.worth(state, epoch=epoch)
        if worth is None:
            return None
        energy_C = task.energy_C(state)
        time_C = np.array([choice.cost.time_s for choice in own])
        progress_C = worth * task.counted_C(state)
        parts, floors = [], []
        for came_from, labels in self._before(state, epoch=epoch):
            energy_S = np.add.outer(labels.energy_L, energy_C).ravel()
            time_S = np.add.outer(labels.time_L, time_C).ravel()
            progress_S = np.add.outer(labels.progress_L, progress_C).ravel()
            floor_S = self._relaxed.floor_L(
                energy_S, time_S, progress_S, epochs=epoch + 1, state=index
            )
            is_kept_S = (time_S <= task.deadline_s) & (energy_S < below_j) & (floor_S < below_j)
            kept = np.flatnonzero(is_kept_S)
            before_L, choice_L = np.divmod(kept, len(own))
            floors.append(floor_S[kept])
            parts.append(
                _Labels(
                    energy_S[kept],
                    time_S[kept],
                    np.minimum(progress_S[kept], task.needed),
                    choice_L,
                    before_L,
                    np.full(len(kept), came_from),
                )
            )
        if not any(len(part.energy_L) for part in parts):
            return None
        return self._thinned(_joined(parts), floor_L=np.concatenate(floors))

    def _before(self, state: State, *, epoch: int) -> list[tuple[int, _Labels]]:
        """Return from which states one more epoch leads to this one, and their labels."""
        if epoch == 0:
            return [] if state.is_later else [(-1, _Labels.origin())]
        return [
            (index, labels)
            for index, labels in enumerate(self._layers[epoch - 1])
            if labels is not None and self._states[index].leads_to(state)
        ]

    def _thinned(self, labels: _Labels, *, floor_L: Floats) -> _Labels:
        """Keep the most promising label of each cell, if none in a better cell is as cheap."""
        longest_s = min(self._task.deadline_s, float(labels.time_L.max()))
        late_L = self._cells(labels.time_L, most=longest_s)
        if self._task.deadline_s == inf:
            late_L[:] = 0
        far_L = self._cells(labels.progress_L, most=self._task.needed)
        order_L = np.lexsort((labels.time_L, floor_L))
        cell_L = late_L * (far_L.max() + 1) + far_L
        _, first = np.unique(cell_L[order_L], return_index=True)
        kept = order_L[first]
        least = np.full((late_L.max() + 2, far_L.max() + 2), inf)  # a border: nothing is beyond it
        least[late_L[kept] + 1, far_L[kept]] = labels.energy_L[kept]
        least = np.minimum.accumulate(least, axis=0)
        least = np.minimum.accumulate(least[:, ::-1], axis=1)[:, ::-1]
        rival_L = np.minimum(
            least[late_L[kept], far_L[kept]], least[late_L[kept] + 1, far_L[kept] + 1]
        )
        return labels.only(np.sort(kept[labels.energy_L[kept] < rival_L]))

    def _cells(self, values_L: Floats, *, most: float) -> Ints:
        shares_L = np.maximum(values_L / most, _MIN_SHARE) / _MIN_SHARE
        cells_L = np.floor(np.log(shares_L) / np.log1p(self._resolution))
        _, place_L = np.unique(cells_L, return_inverse=True)  # most of fine cells are empty
        return place_L.astype(np.int64)

    def _steps_to(self, epoch: int, index: int, label: int) -> list[tuple[int, int]]:
        steps = []
        for layer in reversed(self._layers[: epoch + 1]):
            labels = layer[index]
            assert labels is not None
            steps.append((index, int(labels.choice_L[label])))
            index, label = int(labels.came_from_L[label]), int(labels.before_L[label])
        return steps[::-1]


def _joined(parts: Sequence[_Labels]) -> _Labels:
    return _Labels(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in _Labels.__dataclass_fields__
        )
    )
