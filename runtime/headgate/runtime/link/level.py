"""A level that follows a link's log rates at one pace, and how far samples strayed from it.

The level is an exponentially weighted mean. A residual is a sample less the level that was known
when its message was sent; the sorted last ones are what a forecast draws from.

No pace suits all links: one that drifts wants the newest sample, one that only jitters about its
mean wants many. So several levels follow side by side (`belief`), and each keeps a score of how
well it has foretold: the log density of its residuals, lately, as a Laplace distribution with their
own mean size would have it.
"""

import math
from bisect import bisect_left, insort
from collections import deque

NUM_RESIDUALS = 300  # 10 s at 30 frames/s
MIN_GAIN, MAX_GAIN = 0.2, 0.6  # of a sample; the least is that of the pace below
MIN_GAIN_TIME_S = 0.12  # slower levels have less
MAX_FALL = 1.5  # of the level in one sample, nats: a stall that is over does not tell the rate
MAX_RESIDUAL = 2.0
# Before the first samples: 1 Mbit/s, give or take a lot. The widest are the first to be dropped.
FIRST_LEVEL = math.log(1e6)
FIRST_RESIDUALS = tuple(sign * 0.25 * i for i in range(6, 0, -1) for sign in (-1, 1))
FIRST_SPREAD, MIN_SPREAD = 0.5, 0.02  # mean size of the residuals, nats
SPREAD_GAIN = 0.05
NEARLY = 0.01  # nats: what it is to be as foreseen
SCORE_GAIN = 0.005  # 7 s at 30 frames/s
MAX_SURPRISE = 8.0  # spreads: one outage must not decide


class Level:
    """One pace: samples further apart than `time_s` count for more than all before them."""

    def __init__(self, time_s: float) -> None:
        self.value = FIRST_LEVEL
        self.residuals: list[float] = sorted(FIRST_RESIDUALS)
        self.score = 0.0  # mean log density of the last residuals, higher is better
        self._time_s = time_s
        self._min_gain = MIN_GAIN * MIN_GAIN_TIME_S / max(MIN_GAIN_TIME_S, time_s)
        self._window: deque[float] = deque(FIRST_RESIDUALS)
        self._num_guessed = len(FIRST_RESIDUALS)  # of those, not measured
        self._spread = FIRST_SPREAD

    def begin(self, log_rate: float) -> None:
        """Go to the first sample, but down by no more than `MAX_FALL`."""
        self.value += max(-MAX_FALL, log_rate - self.value)

    def follow(self, log_rate: float, *, foreseen: float, since_s: float, hidden: float) -> None:
        """Learn from a sample that came `since_s` after the one before.

        `hidden` is the share of its service that may be noise: a slower rate is believed by less.
        """
        residual = min(MAX_RESIDUAL, max(-MAX_RESIDUAL, log_rate - foreseen))
        self._add(residual)
        self._judge(residual)
        gain = min(MAX_GAIN, max(self._min_gain, 1 - math.exp(-since_s / self._time_s)))
        if log_rate < self.value:
            gain *= 1 - hidden
        self.value += max(-MAX_FALL, gain * (log_rate - self.value))

    def rise_to(self, at_least: float, *, foreseen: float) -> None:
        """Learn that the log rate is no less than that."""
        away = at_least - foreseen
        if away > 0:
            self._add(0.0)
        else:
            self._add_no_less_than(away)
        self.value = max(self.value, at_least)

    def _add_no_less_than(self, away: float) -> None:
        """Count a sample of which only that is known as the middle one of those no less.

        It was too quick to be measured. Were only slow ones remembered, a good link that stumbles
        now and then would be thought bad. But a bound that lies below what was foreseen and below
        most residuals is hardly news: counted, it would make the forecast surer for no reason.
        """
        num = len(self.residuals)
        below = bisect_left(self.residuals, away)
        if away > -NEARLY or 2 * below >= num:
            self._add(self.residuals[(below + num) // 2] if below < num else away)

    def _judge(self, residual: float) -> None:
        spread = max(MIN_SPREAD, self._spread)
        density = -math.log(2 * spread) - min(MAX_SURPRISE, abs(residual) / spread)
        self.score += SCORE_GAIN * (density - self.score)
        self._spread += SPREAD_GAIN * (abs(residual) - self._spread)

    def _add(self, residual: float) -> None:
        if self._num_guessed or len(self._window) >= NUM_RESIDUALS:
            self._num_guessed = max(0, self._num_guessed - 1)
            oldest = self._window.popleft()
            del self.residuals[bisect_left(self.residuals, oldest)]
        self._window.append(residual)
        insort(self.residuals, residual)
