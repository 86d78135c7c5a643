"""Arrivals inside one frame: how it is sliced for them, and how the edge notes them.

A large frame travels as several messages, so that the edge sees when its bytes come and not only
when the last one has (Salsify, NSDI 2018: measure arrivals inside a burst, ignore the pauses of the
application). The bytes after the first arrival over the time from the first to the last are a
sample of the link's rate that needs no fixed delay, no return path and no second frame:

    slices   |--1--|--2--|--3--|--4--|--5--|
    stamps        first                   last      rate = 8 * (bytes of 2 to 5) / (last - first)

ZeroMQ reads 8 kB at a time: slices that were read together carry the same stamp give or take the
loop that takes them, and are one arrival. Fewer than five slices are too coarse to tell a rate
(measured: 1.32 of the true rate with three, 0.9 to 1.1 with five), so small frames stay whole.
"""

import math
from dataclasses import dataclass

from headgate.runtime.wire.messages import NO_BURST, Burst

MESSAGE_OVERHEAD_BYTES = 64  # of one message: our header and ZeroMQ's
PROBE_OVERHEAD_BYTES = 52  # its header is 12 bytes shorter than a frame's
SLICE_BYTES = 2000  # at least
MIN_SLICES, MAX_SLICES = 5, 10  # more would cost both sides time for nothing
TOGETHER_S = 0.0002  # slices closer than this were read together
MIN_ARRIVALS = 3  # with fewer a burst says nothing of the link
MIN_SPREAD_S = 0.001  # shorter ones are the edge's loop and not the link
# A sender whose window is smaller than the frame waits for acknowledgements, a round trip each.
FIRST_WINDOW_BYTES = 14_000  # Linux starts at 10 segments, and goes back to it after a pause
WINDOW_GAP = 0.4  # of the fixed delay: as long as that between two arrivals is such a wait,
WINDOW_GAP_TIMES = 2.5  # if it also stands out among the others
IDLE_S = 0.2  # and a round trip: after such a pause the window is the first one again
_MAX_US = 0xFFFF_FFFF


def slice_bytes(payload_bytes: int) -> int:
    """Return how large a frame's slices are to be: all of it where slicing does not pay."""
    num_slices = min(MAX_SLICES, payload_bytes // SLICE_BYTES)
    if num_slices < MIN_SLICES:
        return max(1, payload_bytes)
    return -(-payload_bytes // num_slices)


class ArrivalMeter:
    """Notes when the slices of one frame come in. Times are the edge's clock, in seconds."""

    def __init__(self) -> None:
        self._arrivals = 0
        self._num_bytes = 0  # after the first arrival
        self._first_s = self._last_s = 0.0
        self._largest_gap_s = 0.0

    def add(self, num_bytes: int, *, now_s: float) -> None:
        """Note one slice with that much payload; `now_s` never falls."""
        if self._arrivals == 0:
            self._arrivals, self._first_s, self._last_s = 1, now_s, now_s
            return
        gap_s = now_s - self._last_s
        self._last_s = now_s
        if gap_s < TOGETHER_S:
            if self._arrivals == 1:  # still the first arrival: its last slice tells its time
                self._first_s = now_s
                return
        else:
            self._arrivals += 1
            self._largest_gap_s = max(self._largest_gap_s, gap_s)
        self._num_bytes += num_bytes + MESSAGE_OVERHEAD_BYTES

    def burst(self) -> Burst:
        """Return what was noted so far."""
        if self._arrivals < 2:
            return NO_BURST
        return Burst(
            arrivals=self._arrivals,
            spread_us=_microseconds(self._last_s - self._first_s),
            num_bytes=self._num_bytes,
            largest_gap_us=_microseconds(self._largest_gap_s),
        )


@dataclass(frozen=True, slots=True)
class BurstPace:
    """What a burst says of the link: so many bytes in that time. `held_up`: it says nothing."""

    num_bytes: int
    service_s: float
    held_up: bool


class TcpWindow:
    """What the sender's TCP window has been seen to hold: at least the frames that got through."""

    def __init__(self) -> None:
        self._num_bytes = FIRST_WINDOW_BYTES
        self._sent_s = -math.inf

    def sent(self, *, delay_s: float, now_s: float) -> int:
        """Note that something is sent; return what the window holds by then, in bytes."""
        if now_s - self._sent_s > IDLE_S + delay_s:
            self._num_bytes = FIRST_WINDOW_BYTES
        self._sent_s = now_s
        return self._num_bytes

    def answered(self, num_bytes: int) -> None:
        """Note that a message of that size got through: the window has grown with it."""
        self._num_bytes = max(self._num_bytes, num_bytes)


def pace(burst: Burst, *, sent_bytes: int, window_bytes: int, delay_s: float) -> BurstPace | None:
    """Return the pace of a frame's arrivals, or None if there were too few to tell.

    `sent_bytes` are those of the whole frame with the overhead of its messages. A frame larger
    than `window_bytes` that paused for about the delay there and back was held up by the sender's
    window and not by the link.
    """
    spread_s = burst.spread_us / 1e6
    if burst.arrivals < MIN_ARRIVALS or spread_s < MIN_SPREAD_S:
        return None
    gap_s = burst.largest_gap_us / 1e6
    usual_gap_s = (spread_s - gap_s) / (burst.arrivals - 2)
    held_up = (
        sent_bytes > window_bytes
        and gap_s > WINDOW_GAP * delay_s
        and gap_s > WINDOW_GAP_TIMES * usual_gap_s
    )
    return BurstPace(burst.num_bytes, spread_s, held_up)


def _microseconds(duration_s: float) -> int:
    return min(_MAX_US, round(duration_s * 1e6))
