"""How long before its deadline a frame is answered without the edge: a little more than it takes.

The exit's answer is at hand, but the loop that hands it out is late: the kernel wakes it some time
after its timer, and it may be busy with something else. What is handed out late is lost, so the
device measures by how much its timers are late, and leaves that much and a little:

    guard = the larger of  least_s  and  SLACK_S + 99 % of timers' lateness,
            at most MOST_S and MOST_OF_SLA of the time that a frame may take

The longer the guard, the more answers of the edge come after it; one as long as the SLA would
leave the edge nothing at all, for the sake of one timer in a hundred. A machine whose loop is
punctual keeps to the least. The edge does the same with frames that wait for layers
(`edge_margin`).
"""

import math

from headgate.runtime.recent import RecentHigh

LEAST_S = 0.002  # however punctual the loop is
SLACK_S = 0.001  # beyond what was measured
MOST_S = 0.020  # however late the loop is: the edge's answers need time as well
MOST_OF_SLA = 1 / 3  # nor most of what there is
QUANTILE = 0.99  # of timers' lateness


class Guard:
    """Learns how late the device's loop is."""

    def __init__(self, *, least_s: float = LEAST_S, sla_s: float | None = None) -> None:
        self._least_s, self._most_s = least_s, MOST_S
        self._late = RecentHigh(QUANTILE)
        self._seen_s = math.inf  # the last thing that happened
        self._timer_s, self._set_s = math.inf, math.inf  # the next timer, and when it became that
        self._needed_s = 0.0
        self.keep_within(sla_s)

    @property
    def guard_s(self) -> float:
        """How long before its deadline a frame is answered without the edge."""
        return max(self._least_s, min(self._most_s, self._needed_s))

    @property
    def late_s(self) -> float:
        """How late nearly all timers are; the guard while none has been measured."""
        return self._needed_s - SLACK_S if self._needed_s else self.guard_s

    def keep_within(self, sla_s: float | None) -> None:
        """Take no more than a part of what a frame may take from now on; None: as long as any."""
        self._most_s = MOST_S if sla_s is None else min(MOST_S, MOST_OF_SLA * sla_s)

    def saw(self, *, now_s: float) -> None:
        """Take note of anything that happened."""
        self._seen_s = now_s

    def awaits(self, timer_s: float) -> None:
        """Take note of the timer that is next."""
        if timer_s != self._timer_s:
            self._timer_s, self._set_s = timer_s, self._seen_s

    def timer_went_off(self, *, now_s: float) -> None:
        """Learn from the timer that was next; one that was set for the past says nothing."""
        self.saw(now_s=now_s)
        if not self._set_s < self._timer_s <= now_s:
            return
        self._late.add(now_s - self._timer_s)
        self._needed_s = SLACK_S + self._late.high()
