"""How the accuracy at a training's end follows from what it was trained on, fitted to short ones.

Errors of networks trained to the end of their rate schedule fall as a power of the pictures seen,
towards a floor (Hestness et al. 2017), here the last budget's; a picture that crosses in few maps
teaches less, and one seen many times before as well (Muennighoff et al. 2023):

    error    = floor(last budget) + scale * progress^-exponent
    progress = sum over epochs k, from 0, of
               pictures_k * clients_k^-crowding * share(budget_k) * exp(-k / repeats)

The number of an epoch stands for how often its pictures were seen: not less than they were. The
more clients share the pictures of an epoch, the fewer steps each client's half takes.

Few maps teach more after many than from the start, for as many epochs as came before they did: that
is what pilots try, and a single epoch with many maps does not carry a whole training. So they have
two shares, the later one from the epoch in which maps first become fewer up to twice its number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt, tanh

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from headgate.profiles.errors import UsageError

MOST_REPEATS = 1000.0  # as good as none that teaches less
_EXPONENT = 0.3  # to begin with
_DOUBT = 0.06  # at most, in logarithms of errors, and
_DOUBTED = 0.1  # up to which floor it grows
_MOST_POWER = 100.0  # of e: more pictures than anybody has
_LEAST_ERROR = 1e-3  # below it the logarithm of an error says nothing

# Shapes: R runs, U unknowns

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shown:
    """What an epoch shows: maps that cross, and of how many pictures, of so many clients."""

    budget: int
    num_pictures: int
    num_clients: int = 1


@dataclass(frozen=True, slots=True)
class Trained:
    """A training that was carried out: what it was shown, and how well it answered."""

    epochs: tuple[Shown, ...]
    accuracy: float  # 0..1, at its end


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """The curve of one network and data set."""

    budgets: tuple[int, ...]  # ascending
    floors: tuple[float, ...]  # errors, 0..1, by budget
    shares: tuple[float, ...]  # by budget: that a picture teaches, of what it would with the last
    later_shares: tuple[float, ...]  # the same after epochs with more maps
    scale: float
    exponent: float
    repeats: float
    crowding: float
    rms_error: float  # 0..1, of the runs it was fitted to, for as many as are free to differ

    def worth(self, budget: int, *, epoch: int, shrunk_at: int | None = None) -> float:
        """Return what a picture adds to the progress in an epoch, from 0.

        `shrunk_at` is the epoch that was first to have fewer maps than one before it, if so has
        this one.
        """
        is_later = shrunk_at is not None and epoch < 2 * shrunk_at
        shares = self.later_shares if is_later else self.shares
        share: float = shares[self.budgets.index(budget)]
        return share * exp(-epoch / self.repeats)

    def counted(self, num_pictures: int, num_clients: int) -> float:
        """Return the pictures of one client that so many, of so many clients, are worth."""
        alone: float = num_pictures * num_clients**-self.crowding
        return alone

    def progress(self, epochs: Sequence[Shown]) -> float:
        """Return the progress after these epochs, in pictures."""
        total, most = 0.0, 0
        shrunk_at: int | None = None
        for number, each in enumerate(epochs):
            has_fewer = each.budget < most
            if has_fewer and shrunk_at is None:
                shrunk_at = number
            at = shrunk_at if has_fewer else None
            worth = self.worth(each.budget, epoch=number, shrunk_at=at)
            total += self.counted(each.num_pictures, each.num_clients) * worth
            most = max(most, each.budget)
        return total

    def accuracy(self, epochs: Sequence[Shown]) -> float:
        """Return the accuracy at the end of a training of these epochs."""
        return max(0.0, 1.0 - self.error(epochs))

    def error(self, epochs: Sequence[Shown]) -> float:
        """Return the share of wrong answers; of very short trainings it comes to more than 1."""
        last = self.budgets.index(epochs[-1].budget)
        found: float = self.floors[last] + self.scale * self.progress(epochs) ** -self.exponent
        return found

    def progress_for(self, accuracy: float, *, last_budget: int) -> float | None:
        """Return the progress that an accuracy needs; None where it cannot be reached."""
        above = 1.0 - accuracy - self.floors[self.budgets.index(last_budget)]
        if above <= 0:
            return None
        power = log(self.scale / above) / self.exponent
        return exp(power) if power < _MOST_POWER else None


def fit(runs: Sequence[Trained]) -> LearningCurve:
    """Return the curve closest to these trainings, in the squares of errors' logarithms.

    Raises UsageError where they are too few to tell its numbers.
    """
    budgets = tuple(sorted({each.budget for run in runs for each in run.epochs}))
    _check(runs, budgets)
    error_R = np.log([max(_LEAST_ERROR, 1.0 - run.accuracy) for run in runs])
    num_R = np.log([sum(each.num_pictures for each in run.epochs) for run in runs])
    guess = float((error_R + _EXPONENT * num_R).mean())
    low_U, high_U, start_U = _bounds(budgets, runs, scale=guess)

    def residuals(unknowns_U: Floats) -> Floats:
        curve = _curve(budgets, unknowns_U)
        found_R: Floats = np.log([min(1.0, curve.error(run.epochs)) for run in runs])
        return np.append(found_R - error_R, _doubt(curve.floors[0]))

    best = least_squares(residuals, start_U, bounds=(low_U, high_U), x_scale="jac")
    curve = _curve(budgets, best.x)
    squares = [(curve.accuracy(run.epochs) - run.accuracy) ** 2 for run in runs]
    num_free = max(1, len(runs) - len(start_U))
    return _curve(budgets, best.x, rms_error=sqrt(sum(squares) / num_free))


def _doubt(floor: float) -> float:
    """Return what a floor is held against: short trainings hardly tell a low one from none."""
    return _DOUBT * tanh(floor / _DOUBTED)


def _check(runs: Sequence[Trained], budgets: Sequence[int]) -> None:
    needed = 2 + 3 * len(budgets)  # as many as there are unknowns
    if len(runs) < needed:
        raise UsageError(
            f"curve: {len(runs)} trainings, expected {needed} or more for {len(budgets)} budgets"
        )
    for budget in budgets:
        lengths = {
            sum(each.num_pictures for each in run.epochs)
            for run in runs
            if {each.budget for each in run.epochs} == {budget}
        }
        if len(lengths) < 2:
            raise UsageError(
                f"curve: of {budget} maps there are trainings of {len(lengths)} lengths, expected "
                "2 or more"
            )


def _bounds(
    budgets: Sequence[int], runs: Sequence[Trained], *, scale: float
) -> tuple[Floats, Floats, Floats]:
    """Return the least, the most and a guess of what `_curve` takes, from one of the scale."""
    num = len(budgets)
    errors = [
        max(_LEAST_ERROR, 1.0 - max(r.accuracy for r in runs if r.epochs[-1].budget == budget))
        for budget in budgets
    ]
    low = [log(1e-4), log(0.02), 0.0, 0.0, *[0.0] * num, *[log(0.02)] * 2 * (num - 1)]
    high = [log(1e9), log(2.0), 1.0, 1.0, *errors, *[log(1.5)] * 2 * (num - 1)]
    start = [
        scale,
        log(_EXPONENT),
        0.02,
        0.1,
        *(0.1 * error for error in errors),
        *[log(0.7)] * 2 * (num - 1),
    ]
    return np.array(low), np.array(high), np.array(start)


def _curve(
    budgets: tuple[int, ...], unknowns_U: Floats, *, rms_error: float = inf
) -> LearningCurve:
    """Return the curve of: scale, exponent, what is forgotten, crowding, floor steps, both shares.

    The floor steps up with each smaller budget: it holds no more than a larger one.
    """
    num = len(budgets)
    scale, exponent, forgotten, crowding = unknowns_U[:4]
    steps, shares = unknowns_U[4 : 4 + num], unknowns_U[4 + num : 3 + 2 * num]
    later_shares = unknowns_U[3 + 2 * num :]
    return LearningCurve(
        budgets,
        floors=tuple(float(steps[index:].sum()) for index in range(num)),
        shares=(*(exp(each) for each in shares), 1.0),
        later_shares=(*(exp(each) for each in later_shares), 1.0),
        scale=exp(scale),
        exponent=exp(exponent),
        repeats=1.0 / max(float(forgotten), 1.0 / MOST_REPEATS),
        crowding=float(crowding),
        rms_error=rms_error,
    )
