"""Bounds for plans: time and progress at a price each, instead of as bounds that must be kept.

At a price for a second and for a picture's worth of progress each epoch is chosen for itself, and
the cheapest path through the states follows by dynamic programming. Prices are raised until the
path keeps both bounds: it is then a plan, mostly about the best. What the cheapest path comes to,
less what its bounds are worth at these prices, is less than any plan needs (Lagrangian duality).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np
import numpy.typing as npt

from headgate.train.pact.choices import Choice
from headgate.train.pact.learning_curve import LearningCurve

STEPS = 16  # of halving the bounds of a price of time; of progress six times as many at most
AS_GOOD = 1e-4  # of a price: nearer than that it is found
TIE_W = 1e-6  # what a second is worth where energies are equal: of such plans the quickest is best
ROUNDING = 1e-9  # of a sum

# Shapes: K epochs, S states, C choices of a state's budget

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class State:
    """The maps of an epoch, and whether more of them crossed in one before it."""

    budget: int
    is_later: bool

    def leads_to(self, after: State) -> bool:
        """Say whether an epoch of that state may follow."""
        if after.budget > self.budget:
            return not self.is_later and not after.is_later
        return after.is_later == (self.is_later or after.budget < self.budget)


@dataclass(frozen=True, slots=True)
class Task:
    """What is planned: choices and what they teach, and what a plan must keep."""

    choices: Sequence[Choice]
    curve: LearningCurve
    max_epochs: int
    deadline_s: float
    needed: float  # progress
    last: int  # budget
    shrinks_at: int | None = None  # the first epoch that may have fewer maps; None: none may

    @property
    def states(self) -> list[State]:
        budgets = sorted({choice.budget for choice in self.choices})
        return [State(budget, is_later) for is_later in (False, True) for budget in budgets]

    def of(self, state: State) -> list[Choice]:
        return [choice for choice in self.choices if choice.budget == state.budget]

    def worth(self, state: State, *, epoch: int) -> float | None:
        """Return what a picture teaches in an epoch, None where it cannot be in that state.

        What is counted for plans that shrink later is not more than they are worth.
        """
        if not state.is_later:
            return self.curve.worth(state.budget, epoch=epoch)
        if self.shrinks_at is None or epoch < self.shrinks_at:
            return None
        return self.curve.worth(state.budget, epoch=epoch, shrunk_at=self.shrinks_at)

    def energy_C(self, state: State) -> Floats:
        """Return the energy of each choice, J; of equal ones the quicker counts less."""
        return _numbers(c.cost.energy_j + TIE_W * c.cost.time_s for c in self.of(state))

    def counted_C(self, state: State) -> Floats:
        """Return the pictures of each choice, as the curve counts them."""
        return _numbers(self.curve.counted(c.num_pictures, len(c.names)) for c in self.of(state))


@dataclass(frozen=True, slots=True)
class _Path:
    """The cheapest path at some prices, as (state, choice) by their numbers."""

    steps: list[tuple[int, int]]
    energy_j: float
    time_s: float
    progress: float
    value_KS: Floats  # of what comes after so many epochs, from each state; at these prices
    value: float


class Relaxation:
    """The best prices found, the bound that they give, and the best plan on the way to them.

    `floor_j` is less than the energy of any plan of these choices; `steps` is None where no plan
    was found.
    """

    def __init__(self, task: Task, *, below_j: float = inf) -> None:
        """Search until the bound says that no plan needs less than `below_j`, if it does."""
        self._task = task
        self._below_j = below_j
        self._states = task.states
        self._energy = [task.energy_C(s) for s in self._states]
        self._time = [_numbers(c.cost.time_s for c in task.of(s)) for s in self._states]
        # NaN where an epoch cannot be in a state: `_path` makes its cost infinite.
        worth_KS = np.array(
            [
                [np.nan if (w := task.worth(s, epoch=k)) is None else w for s in self._states]
                for k in range(task.max_epochs)
            ]
        )
        self._is_open_KS = ~np.isnan(worth_KS)
        self._progress = [
            np.outer(np.nan_to_num(worth_KS[:, index]), task.counted_C(state))
            for index, state in enumerate(self._states)
        ]
        self._follows_SS = np.array(
            [[0.0 if a.leads_to(b) else inf for b in self._states] for a in self._states]
        )
        self.floor_j, self.price_j = -inf, inf
        self.steps: list[tuple[int, int]] | None = None
        self.price_s = self.price = 0.0  # of a second, and of progress
        self._guess = 1e-9
        self.value_KS = np.zeros((task.max_epochs + 1, len(self._states)))
        self.is_possible = self._most_progress() >= task.needed and self._is_in_time()
        if self.is_possible:
            self._search()

    def floor_L(
        self, energy_L: Floats, time_L: Floats, progress_L: Floats, *, epochs: int, state: int
    ) -> Floats:
        """Return less than the energy of any plan that begins with L such paths.

        They are of so many epochs and end in `state`.
        """
        left_L = np.maximum(self._task.needed - progress_L, 0.0)
        floor_L: Floats = energy_L + self.price * left_L + self.value_KS[epochs, state]
        if self.price_s:
            floor_L -= self.price_s * (self._task.deadline_s - time_L)
        return floor_L

    def _search(self) -> None:
        price_s, low_s, high_s = 0.0, 0.0, inf
        for _ in range(STEPS):
            if self.floor_j >= min(self._below_j, self.price_j * (1 - AS_GOOD)):
                return
            path = self._reaching(price_s)
            if path is None or path.time_s <= self._task.deadline_s:
                if price_s == 0.0:  # there is time enough
                    return
                high_s = price_s
            else:
                low_s = price_s
            price_s = (low_s + high_s) / 2 if isfinite(high_s) else max(1e-3, 4 * price_s)

    def _reaching(self, price_s: float) -> _Path | None:
        """Return the cheapest path with progress enough, at a price of time."""
        reaching, low, high = None, 0.0, self._guess
        for _ in range(6 * STEPS):
            price = (low + high) / 2 if reaching is not None else high
            path = self._path(price_s, price)
            self._learn_from(path, price_s, price)
            if path.progress >= self._task.needed * (1 - 1e-12):
                high, reaching = price, path
            elif reaching is None:
                low, high = high, 8 * high
            else:
                low = price
            if reaching is not None and high - low < AS_GOOD * high:
                break
        self._guess = high
        return reaching

    def _learn_from(self, path: _Path, price_s: float, price: float) -> None:
        task = self._task
        bound = path.value + price * task.needed
        if price_s:
            bound -= price_s * task.deadline_s
        bound -= ROUNDING * abs(bound)
        if bound > self.floor_j:
            self.floor_j, self.value_KS = bound, path.value_KS
            self.price_s, self.price = price_s, price
        is_plan = path.time_s <= task.deadline_s and path.progress >= task.needed
        if is_plan and path.steps and path.energy_j < self.price_j:
            self.steps, self.price_j = path.steps, path.energy_j

    def _path(self, price_s: float, price: float, *, of_energy: float = 1.0) -> _Path:
        """Return the cheapest path of all that end with the last budget, at these prices."""
        num_epochs, num_states = self._task.max_epochs, len(self._states)
        cost_KS = np.empty((num_epochs, num_states))
        choice_KS = np.empty((num_epochs, num_states), dtype=np.int64)
        for index in range(num_states):
            fixed_C = of_energy * self._energy[index] + price_s * self._time[index]
            cost_KC = fixed_C - price * self._progress[index]
            choice_KS[:, index] = cost_KC.argmin(axis=1)
            is_open_K = self._is_open_KS[:, index]
            cost_KS[:, index] = np.where(is_open_K, cost_KC.min(axis=1), inf)
        stop_S = np.array([0.0 if s.budget == self._task.last else inf for s in self._states])
        value_KS = np.empty((num_epochs + 1, num_states))
        value_KS[num_epochs] = stop_S
        then_KS = np.full((num_epochs + 1, num_states), -1)
        for epoch in range(num_epochs - 1, 0, -1):
            on_SS = self._follows_SS + cost_KS[epoch] + value_KS[epoch + 1]
            best_S = on_SS.min(axis=1)
            then_KS[epoch] = np.where(best_S < stop_S, on_SS.argmin(axis=1), -1)
            value_KS[epoch] = np.minimum(best_S, stop_S)
        begins_S = np.array([inf if s.is_later else 0.0 for s in self._states])
        first_S = begins_S + cost_KS[0] + value_KS[1]
        value_KS[0] = first_S.min()
        return self._walked(int(first_S.argmin()), choice_KS, then_KS, value_KS)

    def _walked(
        self,
        state: int,
        choice_KS: npt.NDArray[np.int64],
        then_KS: npt.NDArray[np.int64],
        value_KS: Floats,
    ) -> _Path:
        steps: list[tuple[int, int]] = []
        energy_j = time_s = progress = 0.0
        while state >= 0:
            epoch, choice = len(steps), int(choice_KS[len(steps), state])
            steps.append((state, choice))
            energy_j += float(self._energy[state][choice])
            time_s += float(self._time[state][choice])
            progress += float(self._progress[state][epoch, choice])
            state = int(then_KS[epoch + 1, state])
        return _Path(steps, energy_j, time_s, progress, value_KS, float(value_KS[0, 0]))

    def _most_progress(self) -> float:
        """Return the progress of the path that learns most."""
        return self._path(0.0, 1.0, of_energy=0.0).progress

    def _is_in_time(self) -> bool:
        """Say whether some path may be in time: False is certain."""
        if not isfinite(self._task.deadline_s):
            return True
        least_s, price = -inf, 1e-9
        for _ in range(8 * STEPS):
            path = self._path(1.0, price, of_energy=0.0)
            least_s = max(least_s, path.value + price * self._task.needed)
            if path.progress >= self._task.needed:
                break
            price *= 1.5
        return least_s <= self._task.deadline_s * (1 + ROUNDING)


def _numbers(found: Iterable[float]) -> Floats:
    return np.array([float(each) for each in found])
