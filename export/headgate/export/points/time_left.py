"""Say early how long measuring will take, where it takes so long that one would rather know.

Points differ in cost, but less than an order: each picture goes through about one whole network at
each of them, on the device, at the edge or shared out. So the pace of the first tells of the rest.
"""

from collections.abc import Sequence
from itertools import takewhile

from headgate.profiles.manifest import OperatingPoint

LONG_S = 180.0


class TimeLeft:
    """The points that are still to be measured, and the pace at which that goes."""

    def __init__(
        self, points: Sequence[OperatingPoint], *, num_pictures: int, started_s: float
    ) -> None:
        """`points` in the order in which they are measured."""
        self._num_points = len(points)
        # Prefixes of a series share the device's half, so that the first alone is dear.
        self._num_first = sum(1 for _ in takewhile(lambda p: _together(p, points[0]), points))
        self._num_pictures = num_pictures
        self._started_s = started_s
        self._num_measured = 0

    def measured(self, *, now_s: float) -> str | None:
        """Count one more point; return what there is to say of the time that the others take."""
        self._num_measured += 1
        if self._num_measured != self._num_first:
            return None
        num_left = self._num_points - self._num_measured
        left_s = (now_s - self._started_s) / self._num_measured * num_left
        if left_s < LONG_S:
            return None
        return (
            f"the other {num_left} points take about {time_text(left_s)} like this, on "
            f"{self._num_pictures} pictures each; --limit measures on fewer"
        )


def time_text(duration_s: float) -> str:
    """Write about how long something takes."""
    minutes = duration_s / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _together(point: OperatingPoint, first: OperatingPoint) -> bool:
    return point is first or (point.prefix is not None and point.series == first.series)
