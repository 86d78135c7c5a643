"""When messages left the uplink, from two clocks that know nothing of each other.

Every answer names its message's arrival on the edge's clock. The clocks' difference is unknown and
drifts, but slowly, and the uplink's least delay is steady for seconds. So the least `arrival -
sending` of the last seconds, seen for small messages that waited for nobody, is clock difference
plus fixed delay; what a later message has above it is waiting and service on the uplink. The way
back and the residence at the edge are not in it: their jitter is not taken for a slow uplink.

    ours     sent_s ----------- served -------------------------- back_s
                  \\ uplink: least delay + service                 /
    edge's         \\-> edge_s ------ residence ------ leaving ----/  downlink: least delay + jitter

The skew of the clocks (quartz: up to some 100 ppm, 1 ms in 10 s) is the slope of the way back's
lower envelope, which every answer adds to and no queue of ours disturbs: the segment of its lower
convex hull over the middle of the last minute (as Moon, Skelly and Towsley, INFOCOM 1999).
Absolute one-way delays cannot be told, their error is the path's asymmetry. Nothing here needs
them: changes are exact.
"""

import math
from collections import deque
from dataclasses import dataclass
from itertools import pairwise

WINDOW_S = 10.0  # of the least delays: a path that changed is forgotten after it
SKEW_WINDOW_S = 60.0
MIN_SKEW_SPAN_S = 15.0
BUCKET_S = 1.0
MAX_SKEW = 500e-6
SMALL_BYTES = 128  # messages up to this size measure delays
MIN_NOISE_S = 0.0005
NOISE_GAIN = 0.1
MAX_RISE = 8.0  # a sample of the noise counts as at most so many times what it was


@dataclass(frozen=True, slots=True)
class Served:
    """When the uplink was through with a message, on our clock and less the fixed delay.

    `known_bytes`: the service of so many is in the delay already, that of the message that showed
    it. `noise_s`: by how much `at_s` is usually late.
    """

    at_s: float
    known_bytes: int
    noise_s: float


def smoothed_noise_s(noise_s: float, excess_s: float) -> float:
    """Return the noise once a small message took so much longer than delay and service.

    The rise is bounded: one outage is not a noisy link.
    """
    excess_s = min(max(0.0, excess_s), MAX_RISE * max(MIN_NOISE_S, noise_s))
    return noise_s + NOISE_GAIN * (excess_s - noise_s)


class _Floor:
    """The least of recent values of a line that may rise or fall with the clocks' skew."""

    def __init__(self) -> None:
        self._rising: deque[tuple[float, float, int]] = deque()  # (when, value, of what size)

    def add(self, now_s: float, value_s: float, *, skew: float, num_bytes: int) -> None:
        """Take one value; `skew` is by how much the line rises in a second."""
        while self._rising and self._at(self._rising[-1], now_s, skew) >= value_s:
            self._rising.pop()
        self._rising.append((now_s, value_s, num_bytes))
        while now_s - self._rising[0][0] > WINDOW_S:
            self._rising.popleft()

    def least(self, now_s: float, *, skew: float) -> tuple[float, int] | None:
        """Return the least value, as it would be now, and the size of what showed it."""
        if not self._rising:
            return None
        first = self._rising[0]
        return self._at(first, now_s, skew), first[2]

    @staticmethod
    def _at(item: tuple[float, float, int], now_s: float, skew: float) -> float:
        return item[1] + skew * (now_s - item[0])


class OneWay:
    """Tells when messages had been served by the uplink. One per connection."""

    def __init__(self) -> None:
        self._up = _Floor()
        self._bucket_s = -math.inf  # when the last of these was begun
        self._buckets: deque[tuple[float, float]] = deque()  # (when, least of the way back)
        self._noise_s = MIN_NOISE_S
        self._skew = 0.0  # of the edge's clock against ours: seconds it gains in a second

    @property
    def skew(self) -> float:
        """How much faster than ours the edge's clock runs; 0 until that is known."""
        return self._skew

    def answered(
        self,
        *,
        sent_s: float,
        edge_s: float,
        back_s: float,
        num_bytes: int,
        alone: bool,
        own_s: float = 0.0,
    ) -> Served | None:
        """Learn from one answer; returns when its message was served, None while that is unknown.

        `edge_s` is the arrival at the edge, on its clock; `back_s` the answer's arrival on ours,
        less the residence at the edge. `alone`: nothing was ahead of the message on the uplink.
        `own_s` is about how long the uplink should have had it: that is service, and not noise.
        """
        self._learn_skew(back_s - edge_s, now_s=back_s)
        up_s = edge_s - sent_s
        least = self._up.least(back_s, skew=self._skew)
        small = alone and num_bytes <= SMALL_BYTES
        if small and least is not None:
            self._noise_s = smoothed_noise_s(self._noise_s, up_s - least[0] - own_s)
        if small or (alone and least is not None and up_s < least[0]):
            self._up.add(back_s, up_s, skew=self._skew, num_bytes=num_bytes)
            least = self._up.least(back_s, skew=self._skew)
        return None if least is None else Served(edge_s - least[0], least[1], self._noise_s)

    def _learn_skew(self, down_s: float, *, now_s: float) -> None:
        buckets = self._buckets
        if now_s - self._bucket_s < BUCKET_S:
            if down_s < buckets[-1][1]:
                buckets[-1] = (now_s, down_s)
            return
        self._bucket_s = now_s
        buckets.append((now_s, down_s))
        while now_s - buckets[0][0] > SKEW_WINDOW_S:
            buckets.popleft()
        if now_s - buckets[0][0] < MIN_SKEW_SPAN_S:
            return
        skew = -_envelope_slope(list(buckets))
        if abs(skew) <= MAX_SKEW:
            self._skew = skew
        else:  # no clock drifts like that: one was set, or stood still, or the path changed
            buckets.clear()
            self._bucket_s = -math.inf


def _envelope_slope(points: list[tuple[float, float]]) -> float:
    """Return the slope of the lower convex hull over the middle of the points' times."""
    hull: list[tuple[float, float]] = []
    for x, y in points:
        while len(hull) > 1 and _turns_up(hull[-2], hull[-1], (x, y)) <= 0:
            hull.pop()
        hull.append((x, y))
    middle = (points[0][0] + points[-1][0]) / 2
    for (x0, y0), (x1, y1) in pairwise(hull):
        if x1 >= middle:
            return (y1 - y0) / (x1 - x0)
    return math.nan


def _turns_up(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    """Return more than 0 if the way from a over b to c turns to the left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
