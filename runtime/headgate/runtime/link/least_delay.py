"""The least delay of a path in the last seconds, and what part of it is the service of its message.

The path's fixed delay is never seen alone: the message that showed the least delay was served too.
A later message of S bytes that takes T, against a least of F shown by K bytes, was served for

    T - F + own        own: the service of the K bytes, when they showed F

and not for T - F. On a link of 20 kbit/s own is tens of milliseconds, and on one that was faster
then than it is now next to nothing. It is estimated when F is seen, from the rate believed then;
where F fell, what was its message's service before must have fallen by as much, since the path did
not become shorter. So a link that recovers is not taken for one that is still slow. What is assumed
and not measured is as uncertain as noise, and whoever uses it should treat it so.
"""

from collections import deque
from dataclasses import dataclass, replace

WINDOW_S = 10.0  # a path that changed is forgotten after it
MIN_NOISE_S = 0.0005  # no path is believed to be steadier
NOISE_GAIN = 0.1  # of a sample, in the mean
MAX_RISE = 8.0  # a sample of the noise counts as at most so many times what it was


@dataclass(frozen=True, slots=True)
class Least:
    """The least delay, shown by so many bytes. `own_s`: their service, None if nobody knows."""

    seen_s: float
    delay_s: float
    num_bytes: int
    own_s: float | None


class LeastDelay:
    """The least of recent delays. They may be differences of two clocks that drift apart."""

    def __init__(self) -> None:
        self._rising: deque[Least] = deque()

    @property
    def newest(self) -> Least | None:
        """The least delay of one clock, None before the first."""
        return self._rising[0] if self._rising else None

    def add(self, seen: Least, *, noise_s: float, skew: float = 0.0) -> None:
        """Take one delay; `skew` is by how much delays rise in a second for the clocks' sake.

        `seen.own_s` is by the rate believed at the moment; that may be about to be corrected.
        """
        before = self.at(seen.seen_s, skew=skew)
        if before is not None and before.own_s is not None and seen.own_s is not None:
            most_s = before.own_s + noise_s + seen.delay_s - before.delay_s
            seen = replace(seen, own_s=min(seen.own_s, max(0.0, most_s)))
        while self._rising and _moved(self._rising[-1], seen.seen_s, skew) >= seen.delay_s:
            self._rising.pop()
        self._rising.append(seen)
        while seen.seen_s - self._rising[0].seen_s > WINDOW_S:
            self._rising.popleft()

    def at(self, now_s: float, *, skew: float = 0.0) -> Least | None:
        """Return the least delay as it would be now, None before the first."""
        if not self._rising:
            return None
        first = self._rising[0]
        return replace(first, delay_s=_moved(first, now_s, skew))


def excess_s(delay_s: float, *, own_s: float | None, least: Least) -> float:
    """Return by how much a small message took longer than the least delay and its own service."""
    return delay_s - least.delay_s - ((own_s or 0.0) - (least.own_s or 0.0))


def smoothed_noise_s(noise_s: float, *, excess_s: float) -> float:
    """Return the noise after a message that took so much longer than it had to.

    The rise is bounded: one outage is not a noisy link.
    """
    excess_s = min(max(0.0, excess_s), MAX_RISE * max(MIN_NOISE_S, noise_s))
    return noise_s + NOISE_GAIN * (excess_s - noise_s)


def _moved(least: Least, now_s: float, skew: float) -> float:
    return least.delay_s + skew * (now_s - least.seen_s)
