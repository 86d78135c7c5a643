"""Levels of several paces that read services alike, and which of them is believed.

On a link that serves bytes evenly a message of S bytes takes S / C. On one that carries packets,
each when its turn comes (cellular grants, Wi-Fi's contention), what is smaller than a packet takes
as long as a packet, and small messages look like a slow link: then smaller ones are sent, which
make it look slower still. Paces with a floor read times as (S + floor) / C; which floor is believed
is up to `floors`.

A service right behind another message of ours did not wait for a turn of its own: there the bytes
count as they are.
"""

import math
from collections.abc import Sequence

from headgate.runtime.link.level import Level

PACES_S = (0.05, 0.12, 0.4, 1.5)
FIRST_PACE = 1  # of these: believed until another has foretold better
BETTER = 0.02  # nats of a mean log density: by so much, so that the choice does not flicker
USUAL_BYTES = 2000  # a message for which a first guess holds whatever the floor


class Paces:
    """One level for each pace, all with the same floor."""

    def __init__(self, floor_bytes: int = 0) -> None:
        self.floor_bytes = floor_bytes
        self._levels = tuple(Level(time_s) for time_s in PACES_S)
        for level in self._levels:
            level.value += math.log1p(floor_bytes / USUAL_BYTES)
        self.best = self._levels[FIRST_PACE]

    @property
    def values(self) -> tuple[float, ...]:
        """The levels now."""
        return tuple([level.value for level in self._levels])

    def counted_bits(self, num_bits: float) -> float:
        """Return what a message counts for that comes by itself."""
        return num_bits + 8 * self.floor_bytes

    def begin(self, log_rate: float) -> None:
        """Learn from the first sample, see `Level.begin`."""
        for level in self._levels:
            level.begin(log_rate)

    def follow(
        self, log_rate: float, *, foreseen: Sequence[float], since_s: float, hidden: float
    ) -> None:
        """Learn from a sample, see `Level.follow`, and believe the level that foretold best."""
        for level, value in zip(self._levels, foreseen, strict=True):
            level.follow(log_rate, foreseen=value, since_s=since_s, hidden=hidden)
        best = max(self._levels, key=lambda level: level.score)
        if best.score > self.best.score + BETTER:
            self.best = best

    def rise_to(self, at_least: float, *, foreseen: Sequence[float], most: float) -> None:
        """Learn that the log rate is no less than that, or than `most` above what was foreseen."""
        for level, value in zip(self._levels, foreseen, strict=True):
            level.rise_to(min(at_least, value + most), foreseen=value)
