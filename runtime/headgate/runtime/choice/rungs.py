"""The ladder of the points that go whole, and how far up it the next frame may go.

The link has shown that it carries the last point sent, and no more. So the choice is among the
rungs up to a bounded step above that one; a stall leads back to the foot. Nor may a step be so
short that nothing is gained by it: the rungs above would then never be reached.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence

from headgate.profiles.manifest import OperatingPoint
from headgate.runtime.choice.candidates import STICKINESS
from headgate.runtime.choice.pareto import Merits, undominated

LEVELS_UP = 2  # at most so many rungs up from the last point sent


class Rungs:
    """The points of one profile that nothing beats in every respect, by rising bytes."""

    def __init__(
        self,
        points: Sequence[OperatingPoint],
        *,
        merits: Callable[[OperatingPoint], Merits],
    ) -> None:
        """`points` are those that send, and go whole."""
        self._points = undominated(points, merits)
        self._sent: OperatingPoint | None = None  # last, unless the link has stood still since
        self._rank = -1  # of it: the highest rung that asks for no more; below the first if none

    def __len__(self) -> int:
        return len(self._points)

    @property
    def points(self) -> tuple[OperatingPoint, ...]:
        """All of them, from the smallest."""
        return self._points

    @property
    def last(self) -> OperatingPoint:
        """The rung under way, or the lowest."""
        return self._points[max(0, self._rank)]

    @property
    def has_above(self) -> bool:
        """Whether something is under way, and a rung above it."""
        return self._sent is not None and self._rank + 1 < len(self._points)

    def begin_anew(self) -> None:
        """Start from the foot again: the link stands still."""
        self._sent, self._rank = None, -1

    def sent(self, point: OperatingPoint) -> None:
        """Take note of a point that is sent: a rung, or the prefix that a frame in layers may be.

        A prefix counts as the rung of its bytes, which may be none: all pictures may be larger.
        """
        self._sent = point
        if point in self._points:
            self._rank = self._points.index(point)
        else:
            sizes = [rung.bytes.mean for rung in self._points]
            self._rank = bisect_right(sizes, point.bytes.mean) - 1

    def reachable(
        self, *, here: float, promise: Callable[[OperatingPoint], float]
    ) -> tuple[OperatingPoint, ...]:
        """Return the ladder up to a bounded step above the last point sent.

        On a dense ladder two rungs are next to nothing: twice the bytes are within reach as well.
        Rungs that promise no more than what is had, by what another must be better, are no steps
        at all: nothing would be sent from them, and what is above them would never be tried. What
        is had is what answering here is worth, `here`, or the last point sent where that is more.
        `promise` is what a rung earns on a link as fast as any: a good point whose compute leaves
        no time for the link's delay promises little.
        """
        rank, last = self._rank, len(self._points) - 1
        had = here if self._sent is None else max(here, promise(self._sent))
        top = min(rank + LEVELS_UP, last)
        steps = self._points[rank + 1 : top + 1]
        while top < last and all(promise(point) <= had + STICKINESS for point in steps):
            top += 1
            steps = self._points[top : top + 1]
        if rank >= 0:
            double = 2 * self._points[rank].bytes.mean
            while top < last and self._points[top + 1].bytes.mean <= double:
                top += 1
        return self._points[: top + 1]
