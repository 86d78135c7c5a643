"""When a simulated machine takes what is due: loops are late, and never by the same amount.

A real loop takes a message, a finished computation or a timer some time after it is there: the
kernel wakes it late, and it is busy with what came before. How late is a number that looks random
and depends only on how often the loop was asked, so two runs are the same. Order is kept.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late one machine's loop is: always so much, and exponential on top with that mean."""

    least_s: float = 0.0
    mean_s: float = 0.0

    @property
    def punctual(self) -> bool:
        """Whether it is never late."""
        return self.least_s == 0 and self.mean_s == 0


PUNCTUAL = Lateness()


@dataclass(frozen=True, slots=True)
class Machines:
    """Both sides of the link. All devices are alike."""

    device: Lateness = PUNCTUAL
    edge: Lateness = PUNCTUAL


class Loop:
    """The loop of one machine. `seed` tells its lateness apart from others'."""

    def __init__(self, lateness: Lateness, *, seed: int) -> None:
        self._lateness = lateness
        self._index = seed << 32
        self._took_s = -math.inf
        self._timer: tuple[float, float] | None = None  # when it is due, when it goes off

    @property
    def punctual(self) -> bool:
        """Whether it is never late."""
        return self._lateness.punctual

    def takes_s(self, due_s: float) -> float:
        """Return when the loop takes something that is there at `due_s`; not before the last."""
        self._took_s = max(self._took_s, due_s + self._late_s())
        return self._took_s

    def wakes_s(self, timer_s: float) -> float:
        """Return when a timer of `timer_s` goes off; the same for as long as it stays that one."""
        if self._lateness.punctual or timer_s == math.inf:
            return timer_s
        if self._timer is None or self._timer[0] != timer_s:
            self._timer = timer_s, timer_s + self._late_s()
        return self._timer[1]

    def _late_s(self) -> float:
        self._index += 1
        random = uniform(self._index)
        return self._lateness.least_s - self._lateness.mean_s * math.log(1 - random)


def uniform(index: int) -> float:
    """Return a number from 0 to below 1 that looks random: splitmix64 of the index."""
    mask = (1 << 64) - 1
    z = (index * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return ((z ^ (z >> 31)) >> 11) / float(1 << 53)
