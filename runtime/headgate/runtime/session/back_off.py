"""How long a device leaves an edge alone that has no room for its frames.

A pause that began anew with every answer was a poor guess on an edge that hundreds share: each of
its answers cost two or three refusals, which the edge's core paid for. So a pause doubles with a
refusal and shrinks by a share with an answer: it settles where about one frame in three is refused.
"""

from math import inf

FIRST_PAUSE_S, MAX_PAUSE_S = 0.05, 1.0
SHRINK = 0.7  # at an answer


class BackOff:
    """The pauses of one device before one edge; all times in seconds of one clock."""

    def __init__(self) -> None:
        self._pause_s = FIRST_PAUSE_S
        self._ends_s = -inf

    def ends_s(self, *, now_s: float) -> float | None:
        """Return when the pause is over; None if there is none."""
        return self._ends_s if now_s < self._ends_s else None

    def refused(self, *, now_s: float) -> None:
        """Begin a pause, unless one is under way: nothing is sent in it.

        A refusal in a pause is of a frame that left before it, and says nothing new.
        """
        if now_s < self._ends_s:
            return
        self._ends_s = now_s + self._pause_s
        self._pause_s = min(MAX_PAUSE_S, 2 * self._pause_s)

    def answered(self) -> None:
        """Learn that there was room."""
        self._pause_s = max(FIRST_PAUSE_S, SHRINK * self._pause_s)

    def lift(self) -> None:
        """End the pause: what is at the other end may be another edge by now."""
        self._ends_s = -inf
