"""What is believed of a link's rate: a level that follows the samples, and how far these strayed.

A sample is a service: so many bits in so much time. Levels of several paces follow the samples, and
the one that lately foretold them best is believed (`level`). The forecast is a distribution: that
level plus its recent residuals, each of a sample against the level that was known when its message
was sent. Service within the noise says only that the link is at least so fast: it may raise a level
and never lowers it. Service that is little longer says little of a slower link: the message may
have waited for those of another device. Without that a device that sends next to nothing takes
every wait for a slow link, and leaves the link to the others for good.

An estimate without news is widened: the link may have changed. While bounds come in it is only
widened upwards, as they show that it has not become much slower.

What is still waited for censors the forecast: a rate at which it would have come is impossible, and
where no recent residual explains the wait, it is expected to last about as long again as it did
(Lindy's law). A filter over a grid of rates, which does all this by Bayes' rule, was tried: see
docs/log.md.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from headgate.runtime.link.level import Level

PACES_S = (0.05, 0.12, 0.4, 1.5)
FIRST_PACE = 1  # of these: believed until another has foretold better
BETTER = 0.02  # nats of a mean log density: by so much, so that the choice does not flicker
STALE_S = 0.5  # older estimates are widened
MAX_WIDENING = 4.0
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


class RateBelief:
    """Learns from services in the order of their ends."""

    def __init__(self) -> None:
        self._levels = tuple(Level(time_s) for time_s in PACES_S)
        self._best = self._levels[FIRST_PACE]
        self._sampled_s: float | None = None
        self._bounded_s = -math.inf  # when the last bound came, above the level or below
        self._has_bound = False  # the level is one, if it was never measured

    @property
    def level(self) -> float:
        """The log rate that the samples lie around, lately."""
        return self._best.value

    @property
    def levels(self) -> tuple[float, ...]:
        """What each pace foresees now; to be handed to `observe` with what is sent now."""
        return tuple([level.value for level in self._levels])

    @property
    def measured(self) -> bool:
        """Whether the level is more than a guess: that of a sample, or that of a bound."""
        return self._sampled_s is not None or self._has_bound

    def observe(
        self,
        *,
        num_bits: float,
        service_s: float,
        foreseen: tuple[float, ...],
        noise_s: float,
        now_s: float,
    ) -> None:
        """Learn from one service; `foreseen` are the `levels` when its message was sent.

        Service shorter than `noise_s` may as well have been shorter still: only a bound.
        """
        if service_s < noise_s:
            self.bounded(num_bits=num_bits, within_s=noise_s, foreseen=foreseen, now_s=now_s)
            return
        log_rate = math.log(num_bits / service_s)
        sampled_s, self._sampled_s = self._sampled_s, now_s
        if sampled_s is None:
            for level in self._levels:
                level.begin(log_rate)
            return
        hidden = noise_s / service_s
        for level, value in zip(self._levels, foreseen, strict=True):
            level.follow(log_rate, foreseen=value, since_s=now_s - sampled_s, hidden=hidden)
        best = max(self._levels, key=lambda level: level.score)
        if best.score > self._best.score + BETTER:
            self._best = best

    def bounded(
        self, *, num_bits: float, within_s: float, foreseen: tuple[float, ...], now_s: float
    ) -> None:
        """Learn that so many bits took no longer than `within_s`, and maybe much less.

        A bound above what was foreseen raises a level. One below it is no news: taken for a sample
        it would draw the forecast down to what the noise hides, for as long as messages are small.
        Either shows that the link has not become much slower: only upwards do doubts grow on.
        """
        self._bounded_s = now_s
        at_least = math.log(num_bits / within_s)
        self._has_bound = self._has_bound or at_least >= self._best.value
        for level, value in zip(self._levels, foreseen, strict=True):
            level.rise_to(at_least, foreseen=value)

    def forecast(self, *, now_s: float, waiting: Waiting | None = None) -> Forecast:
        """Return what to expect from `now_s` on, given what is waited for."""
        age_s = 0.0 if self._sampled_s is None else now_s - self._sampled_s
        widening = _widening(age_s)
        widening_down = _widening(min(age_s, now_s - self._bounded_s))
        bound = math.inf
        if waiting is not None and waiting.waited_s > 0:
            bound = math.log(waiting.num_bits / waiting.waited_s)
        return Forecast(self._best.value, self._best.residuals, widening, widening_down, bound)


def _widening(age_s: float) -> float:
    return 1.0 if age_s <= STALE_S else min(MAX_WIDENING, math.sqrt(age_s / STALE_S))
