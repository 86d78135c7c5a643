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

The edge counts deadlines from a message's stamp plus the least way there that it has seen lately
(`send_clock`). Where the uplink is never idle, waits and service are in that, and it would answer
late by as much. The same reckoning here, over the same arrivals, with the least way back is the
round trip that a deadline must be early by; the clocks' difference falls out of the sum.
"""

import math
from collections import deque
from dataclasses import dataclass
from itertools import pairwise

from headgate.runtime.link.least_delay import (
    MIN_NOISE_S,
    WINDOW_S,
    Least,
    LeastDelay,
    excess_s,
    smoothed_noise_s,
)
from headgate.runtime.link.send_clock import SendClock
from headgate.runtime.wire.messages import stamp_us

SKEW_WINDOW_S = 60.0  # the skew is that of the last minute
MIN_SKEW_SPAN_S = 15.0  # none is believed from less: jitter would look like skew
BUCKET_S = 1.0  # one least way back is kept of each
MAX_SKEW = 500e-6  # seconds per second; more is not two quartzes, so it is not believed
SMALL_BYTES = 128  # messages up to this size measure delays


@dataclass(frozen=True, slots=True)
class Served:
    """When the uplink was through with a message, on our clock and less the least delay.

    `least`: in it is the service of the message that showed it. `noise_s`: by how much `at_s` is
    usually late.
    """

    at_s: float
    least: Least
    noise_s: float


class OneWay:
    """Tells when messages had been served by the uplink. One per connection."""

    def __init__(self) -> None:
        self._up = LeastDelay()
        self._bucket_s = -math.inf  # when the last of these was begun
        self._buckets: deque[tuple[float, float]] = deque()  # (when, least of the way back)
        self._noise_s = MIN_NOISE_S
        self._skew = 0.0  # of the edge's clock against ours: seconds it gains in a second
        self._edges = SendClock()  # as the edge has it, but for messages that have no answer yet
        self._way_there_s: float | None = None  # the least, by the edge's clock

    @property
    def skew(self) -> float:
        """How much faster than ours the edge's clock runs; 0 until that is known."""
        return self._skew

    def counted_trip_s(self, *, now_s: float) -> float | None:
        """Return the edge's least way there and our least way back; None before an answer."""
        if self._way_there_s is None:
            return None
        recent = [back_s for at_s, back_s in self._buckets if now_s - at_s <= WINDOW_S]
        return self._way_there_s + min(recent) if recent else None

    def answered(
        self,
        *,
        sent_s: float,
        edge_s: float,
        back_s: float,
        num_bytes: int,
        alone: bool,
        own_s: float | None = None,
    ) -> Served | None:
        """Learn from one answer; returns when its message was served, None while that is unknown.

        `edge_s` is the arrival at the edge, on its clock; `back_s` the answer's arrival on ours,
        less the residence at the edge. `alone`: nothing was ahead of the message on the uplink.
        `own_s` is about how long the uplink should have had it, by the rate believed by now.
        """
        self._learn_skew(back_s - edge_s, now_s=back_s)
        self._way_there_s = self._edges.heard(stamp_us(sent_s), now_s=edge_s) - sent_s
        up_s = edge_s - sent_s
        least = self._up.at(back_s, skew=self._skew)
        small = alone and num_bytes <= SMALL_BYTES
        if small and least is not None:
            late_s = excess_s(up_s, own_s=own_s, least=least)
            self._noise_s = smoothed_noise_s(self._noise_s, excess_s=late_s)
        if small or (alone and least is not None and up_s < least.delay_s):
            noise_s = max(MIN_NOISE_S, self._noise_s)
            seen = Least(back_s, up_s, num_bytes, own_s)
            self._up.add(seen, noise_s=noise_s, skew=self._skew)
            least = self._up.at(back_s, skew=self._skew)
        return None if least is None else Served(edge_s - least.delay_s, least, self._noise_s)

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
