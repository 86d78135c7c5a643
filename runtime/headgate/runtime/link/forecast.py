"""What is foretold of a link's rate: a level and residuals, less what a wait rules out.

What is still waited for censors the forecast: a rate at which it would have come is impossible, and
where no recent residual explains the wait, it is expected to last about as long again as it did
(Lindy's law).
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

BLUR = 0.05  # of the bound: samples are not exact, and a hair's breadth late means nothing
OVERDUE_WEIGHT = 3.0  # residuals that Lindy's law counts for while something is overdue
LINDY_SCENARIOS = 3


@dataclass(frozen=True, slots=True)
class Waiting:
    """Bits that have been in service for so long and have not come through."""

    num_bits: float
    waited_s: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """How fast the link will be, as log rates (of bits per second); valid until the next sample."""

    level: float
    residuals: Sequence[float]  # sorted, at least one; the believer's own, so only valid for now
    widening: float = 1.0  # of the residuals above 0: how much faster it may have become
    widening_down: float = 1.0  # of those below
    bound: float = math.inf  # above it what is waited for would have come
    floor_bytes: float = 0.0  # each message counts for so many more: see `paces`

    @property
    def rate_bps(self) -> float:
        """The middling rate; under the bound where something is overdue."""
        middle = self.level + self._widened(self.residuals[len(self.residuals) // 2])
        return math.exp(min(middle, self.bound))

    def at_least(self, log_rate: float) -> float:
        """Return the probability of at least that log rate."""
        num = len(self.residuals)
        num_enough = num - self._num_below(log_rate)
        num_impossible = 0
        if self.bound < math.inf:
            num_impossible = num - self._num_below(self.bound + BLUR)
        if num_impossible == 0:
            return num_enough / (num + 0.5)  # less than certain even where all of a few agree
        weight = OVERDUE_WEIGHT * num_impossible / num
        lindy = max(0.0, 1 - math.exp(min(0.0, log_rate - self.bound)))
        return (max(0, num_enough - num_impossible) + weight * lindy) / (
            num - num_impossible + weight
        )

    def scenarios(self, number: int) -> list[tuple[float, float]]:
        """Return up to so many rates in bits per second, and how likely each is; they add to 1.

        Where something is overdue there are a few more, for it may come at last.
        """
        num = len(self.residuals)
        possible = num
        if self.bound < math.inf:
            possible = self._num_below(self.bound + BLUR)
        found: list[tuple[float, float]] = []
        shown = min(number, possible)
        for i in range(shown):
            residual = self.residuals[int((i + 0.5) * possible / shown)]
            found.append((math.exp(self.level + self._widened(residual)), possible / shown))
        if possible < num:
            weight = OVERDUE_WEIGHT * (num - possible) / num / LINDY_SCENARIOS
            bound_bps = math.exp(self.bound)
            for i in range(LINDY_SCENARIOS):  # by Lindy's law the rate is uniform up to the bound
                found.append((bound_bps * (i + 0.5) / LINDY_SCENARIOS, weight))
        total = sum(weight for _, weight in found)
        return [(rate_bps, weight / total) for rate_bps, weight in found]

    def _num_below(self, log_rate: float) -> int:
        away = log_rate - self.level
        return bisect_left(self.residuals, away / self._widening(away))

    def _widened(self, residual: float) -> float:
        return residual * self._widening(residual)

    def _widening(self, away: float) -> float:
        return self.widening if away > 0 else self.widening_down
