"""How much sooner than just in time an edge begins with an incomplete frame: as late as it is.

A frame that waits for layers is begun at the last moment that is safe, so whatever is late then
costs its answer. Two things are, and both are measured: the edge's timers, which go off later than
asked for on a busy machine, and its batches, which take longer than planned. The margin is a
little, for what cannot be measured, and a high quantile of each:

    margin = LEAST_S + 95 % of timers' lateness + 95 % of batches' overrun,   at most MOST_S

The last NUM_SAMPLES of each count, so a machine that is loaded for a while is trusted again after
it. Of a few samples the quantile is the largest: one late timer is believed at once. Above MOST_S
frames would be begun so early that hardly a layer could still come.
"""

from math import inf

from headgate.runtime.recent import RecentHigh

LEAST_S = 0.0025  # of it the way back may jitter; with 1.5 ms that cost answers
FIRST_S = 0.003  # before anything was measured
MOST_S = 0.030  # with more, hardly a layer could still come
QUANTILE = 0.95  # of timers' lateness, and of batches' overrun


class Margin:
    """Learns how late the edge is."""

    def __init__(self) -> None:
        self._timers, self._batches = RecentHigh(QUANTILE), RecentHigh(QUANTILE)
        self._timer_s = inf  # the next one that is asked for
        self._now_s = -inf  # when something happened last

    @property
    def margin_s(self) -> float:
        """How much sooner to begin."""
        timers_s = self._timers.high() if self._timers else FIRST_S - LEAST_S
        return min(MOST_S, LEAST_S + timers_s + self._batches.high())

    def awaits(self, timer_s: float | None) -> None:
        """Take note of the timer that is next; one for the past could not go off before now."""
        self._timer_s = inf if timer_s is None else max(timer_s, self._now_s)

    def saw(self, *, now_s: float) -> None:
        """Take note of anything that happened, and learn how late a timer is that was due."""
        if self._timer_s <= now_s:
            self.timer_went_off(late_s=now_s - self._timer_s)
            self._timer_s = inf
        self._now_s = now_s

    def timer_went_off(self, *, late_s: float) -> None:
        """Learn how much later than asked for a timer went off."""
        self._timers.add(late_s)

    def batch_ended(self, *, planned_s: float, elapsed_s: float) -> None:
        """Learn how long a batch took that was planned to take no longer than `planned_s`."""
        self._batches.add(max(0.0, elapsed_s - planned_s))
