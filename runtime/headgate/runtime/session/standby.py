"""When to open a second connection beside one that stalls, and which of the two goes on.

After an outage TCP waits for its retransmission timer, which doubles with every time-out: the
first frames after 10 s without a link come 0.5 to 1.7 s late (measured). A connection opened anew
begins at once. So, while the first message out waits far longer than it should,

    ALONE --stalled--> TRYING --the second is up, the first still silent--> ALONE (with the second)
                         |----the first speaks again----------------------> ALONE (with the first)

Nothing is sent on the second before it takes over, and nothing on the first from then on: what the
first carried ends as on any lost connection, once. Where the kernel tells of its time-outs, a slow
link (bytes are on their way, no time-out) is told from a stalled one, and sooner. A kernel that has
had everything acknowledged knows nothing: a proxy may have done that, so then time has to tell.
"""

from enum import Enum
from math import inf

PATIENCE_S = 1.0  # if the kernel cannot tell
PATIENCE_TIMES = 4.0  # the round trip: on a path that long a second is nothing
TIMED_OUT_S = 0.4  # if the kernel says that it backs off
LOOK_EVERY_S = 0.1  # once something is overdue by that
FIRST_PAUSE_S, MAX_PAUSE_S = 2.0, 30.0  # between take-overs: doubled by each that follows soon


class Step(Enum):
    """What the shell is to do."""

    NOTHING = "nothing"
    OPEN = "open"  # a second connection
    SWITCH = "switch"  # to the second; close the first
    CLOSE = "close"  # the second


class Standby:
    """Watches one connection. Times are the shell's monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._trying = False
        self._is_up = False  # the second
        self._pause_s = FIRST_PAUSE_S
        self._not_before_s = -inf
        self._switched_s = -inf

    @property
    def trying(self) -> bool:
        """Whether there is a second connection."""
        return self._trying

    def next_timer_s(self, *, overdue_from_s: float | None, now_s: float) -> float | None:
        """Return when to `look` again if nothing else happens, or None.

        `overdue_from_s`: from when on the first message out is overdue; None if nothing is out.
        Nothing else may happen for long: captures can be hours apart.
        """
        stalled_s = inf if overdue_from_s is None else overdue_from_s + TIMED_OUT_S
        if self._trying or stalled_s <= now_s:
            return now_s + LOOK_EVERY_S
        return None if stalled_s == inf else stalled_s

    def look(
        self, *, overdue_s: float, delay_s: float, backs_off: bool | None, now_s: float
    ) -> Step:
        """Return what to do.

        `overdue_s`: how much longer the first message out has been in service than it should.
        `delay_s`: the round trip. `backs_off`: whether the kernel's timer ran out again and again
        on the first connection; None if it does not say or cannot know.
        """
        stalled = _is_stalled(overdue_s=overdue_s, delay_s=delay_s, backs_off=backs_off)
        if not self._trying:
            if not stalled or now_s < self._not_before_s:
                return Step.NOTHING
            self._trying, self._is_up = True, False
            return Step.OPEN
        if overdue_s <= 0:  # not just `not stalled`: it opened for a reason, and that may be over
            self._trying = False
            return Step.CLOSE
        if not self._is_up:
            return Step.NOTHING
        self.taken_over(now_s=now_s)
        return Step.SWITCH

    def second_is_up(self, is_up: bool) -> None:
        """Tell whether the second connection is through its handshake."""
        self._is_up = is_up

    def taken_over(self, *, now_s: float) -> None:
        """Tell that the second has become the first, be it because the first broke."""
        self._trying = False
        soon = now_s - self._switched_s < 2 * MAX_PAUSE_S
        self._pause_s = min(MAX_PAUSE_S, 2 * self._pause_s) if soon else FIRST_PAUSE_S
        self._switched_s = now_s
        self._not_before_s = now_s + self._pause_s


def _is_stalled(*, overdue_s: float, delay_s: float, backs_off: bool | None) -> bool:
    if backs_off is None:
        return overdue_s > max(PATIENCE_S, PATIENCE_TIMES * delay_s)
    return backs_off and overdue_s > max(TIMED_OUT_S, delay_s)
