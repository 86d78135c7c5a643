"""Which floor the times of messages have: bytes that each takes the time of beside its own.

Several floors read the same times, as (S + floor) / T. The one whose rates lie closest about a mean
tells messages of all sizes best. The means are of several paces, each floor's best counts: a device
sends less when its link is slow, and by one slow mean its small and slow messages beside its large
and quick ones would look like a floor.

Where sizes hardly differ all floors tell alike. Then what is likely decides: small messages share
packets and turns, and to believe so has them grow, which shows whether it is true. To believe the
opposite would keep them small.
"""

import math
from collections.abc import Sequence

CLEARLY_BETTER = 0.03  # nats of a mean log density: what is not likely is believed only for so much
FLICKER = 0.02  # and something else only for so much more
FIRST_DOUBT = 1.0  # nats more after one time, a half after two
GAINS = (0.05, 0.2, 0.6)  # of a time, in the means
SPREAD_GAIN, SCORE_GAIN = 0.05, 0.01
FIRST_SPREAD, MIN_SPREAD = 1.0, 0.05  # mean distance from the mean, nats
MAX_SURPRISE = 8.0  # spreads: one outage must not decide
PACKET_BYTES = 1500
LIKELY_TURN_S = 0.03  # longer waits for a turn have to be shown


class Floors:
    """Chooses among floors: the first is none, the second the likely one of small messages."""

    def __init__(self, floors_bytes: Sequence[int]) -> None:
        self._floors = tuple(_Floor(num_bytes) for num_bytes in floors_bytes)
        self._num = 0
        self._usual_bytes = self._usual_s = 0.0
        self._best = 1

    @property
    def best(self) -> int:
        """Which of the floors is believed."""
        return self._best

    def learn(self, num_bytes: int, time_s: float) -> None:
        """Take the time of a message that waited for no other of ours; above 0."""
        self._num += 1
        gain = max(SPREAD_GAIN, 1 / self._num)
        self._usual_bytes += gain * (num_bytes - self._usual_bytes)
        self._usual_s += gain * (time_s - self._usual_s)
        for floor in self._floors:
            floor.learn(num_bytes, time_s)
        scores = [floor.score for floor in self._floors]
        likely = int(self._usual_bytes < PACKET_BYTES and self._usual_s < LIKELY_TURN_S)
        needed = scores[likely] + CLEARLY_BETTER + FIRST_DOUBT / self._num
        best = max(range(len(scores)), key=scores.__getitem__)
        if scores[best] > max(needed, scores[self._best] + FLICKER):
            self._best = best
        elif scores[self._best] < needed - FLICKER:
            self._best = likely


class _Floor:
    """Means of the rates that a floor makes of the times, and how far the rates lie from them."""

    def __init__(self, num_bytes: int) -> None:
        self._num_bytes = num_bytes
        self._means = tuple(_Mean(gain) for gain in GAINS)

    @property
    def score(self) -> float:
        """The mean log density of the last rates, higher is better."""
        return max(mean.score for mean in self._means)

    def learn(self, num_bytes: int, time_s: float) -> None:
        log_rate = math.log((num_bytes + self._num_bytes) / time_s)
        for mean in self._means:
            mean.learn(log_rate)


class _Mean:
    """A mean of one pace; its score is that of a Laplace distribution about it."""

    def __init__(self, gain: float) -> None:
        self.score = 0.0
        self._gain = gain
        self._value = 0.0
        self._spread = FIRST_SPREAD
        self._num = 0

    def learn(self, log_rate: float) -> None:
        self._num += 1
        if self._num == 1:
            self._value = log_rate
            return
        away = abs(log_rate - self._value)
        spread, share = max(MIN_SPREAD, self._spread), 1 / self._num
        density = -math.log(2 * spread) - min(MAX_SURPRISE, away / spread)
        self.score += max(SCORE_GAIN, share) * (density - self.score)
        self._spread += max(SPREAD_GAIN, share) * (away - self._spread)
        self._value += max(self._gain, share) * (log_rate - self._value)
