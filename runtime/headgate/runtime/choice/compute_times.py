"""Compute times of points as they are measured, and how they fade while nothing is measured.

A measured time is what it was then. A point that looked too slow once is not used any more, so
nothing would ever tell that the edge is idle again or the device has cooled down. So after HOLDS
choices without a sample an estimate fades, until the point is tried anew; that sample counts for as
much as the estimate has faded. What it fades to is the least that the point ever took, times how
much slower than their least the points that were measured last are:

    rest_p = least_p * exp(slower),   slower: mean of log(value_q / least_q) over all points q

so an edge that is slow is tried by one point, and what that shows holds for all. `slower` fades to
0 in the same way. A trial that comes to nothing doubles the time to the next, up to MOST_PATIENCE.
"""

import math

GAIN = 0.1
# Compute times scatter; predict a little above the mean, as TCP does for its timer.
DEVIATIONS = 2.0
# In choices, not in seconds: what a trial costs is a frame, however fast they come.
HOLDS = 15
FADES = 60
TRIAL = 0.5  # an estimate of which less is left is tried anew by the next sample
MOST_PATIENCE = 4.0


class Fading:
    """Exponentially weighted mean and mean absolute deviation, of a time or of its logarithm.

    `at` are choices, counted; `rest` is where the estimate fades to.
    """

    __slots__ = ("_at", "_deviation", "_mean", "_patience", "least")

    def __init__(self, value: float, *, at: int) -> None:
        self._mean = self.least = value
        self._deviation, self._patience = 0.0, 1.0
        self._at = at

    def add(self, value: float, *, at: int, rest: float) -> None:
        """Count a sample."""
        kept = self._kept(at)
        if kept > TRIAL:
            self._patience = max(1.0, self._patience - GAIN)
        elif value > rest + TRIAL * max(0.0, self._mean - rest):
            self._patience = min(MOST_PATIENCE, 2 * self._patience)  # it still is as it was
        mean, gain = self.mean(at=at, rest=rest), 1 - (1 - GAIN) * kept
        self._deviation = (1 - gain) * kept * self._deviation + gain * abs(value - mean)
        self._mean = mean + gain * (value - mean)
        self.least = min(self.least, value)
        self._at = at

    def mean(self, *, at: int, rest: float) -> float:
        """Return what is left of the mean, and the rest."""
        return rest + self._kept(at) * (self._mean - rest)

    def likely(self, *, at: int, rest: float) -> float:
        """Return what will hardly be exceeded."""
        kept = self._kept(at)
        return rest + kept * (self._mean - rest) + DEVIATIONS * kept * self._deviation

    def _kept(self, at: int) -> float:
        """Return what share of the estimate is left at this choice."""
        age = (at - self._at) / self._patience
        return 1.0 if age <= HOLDS else math.exp((HOLDS - age) / FADES)


class ComputeTimes:
    """One kind of time, of device or edge, of every point."""

    def __init__(self, priors_s: dict[str, float]) -> None:
        """`priors_s`: by point id; a point without one takes no time until it is measured."""
        self._priors_s = priors_s
        self._measured: dict[str, Fading] = {}
        self._log_ratio = 0.0  # measured over prior, over all points
        self._slower = Fading(0.0, at=0)

    def add(self, point_id: str, value_s: float, *, at: int) -> None:
        """Count a sample, taken about this choice."""
        prior_s = self._priors_s.get(point_id, 0.0)
        if prior_s > 0 and value_s > 0:
            gain = GAIN if self._measured else 1.0
            self._log_ratio += gain * (math.log(value_s / prior_s) - self._log_ratio)
        known = self._measured.get(point_id)
        if known is None:
            known = self._measured[point_id] = Fading(value_s, at=at)
        else:
            known.add(value_s, at=at, rest=self._rest_s(known, at))
        if known.least > 0:
            self._slower.add(math.log(value_s / known.least), at=at, rest=0.0)

    def likely_s(self, point_id: str, *, at: int) -> float:
        """Return the time that this point will hardly exceed."""
        known = self._measured.get(point_id)
        if known is not None:
            return known.likely(at=at, rest=self._rest_s(known, at))
        return self._priors_s.get(point_id, 0.0) * math.exp(self._log_ratio)

    def _rest_s(self, known: Fading, at: int) -> float:
        return known.least * math.exp(self._slower.mean(at=at, rest=0.0))
