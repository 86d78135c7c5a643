"""The path to the edge in virtual time: a fluid uplink that is a trace, and delays that may jitter.

The uplink serves messages in order at the rate of the trace; then each takes half the round-trip
time. Answers take the other half and no room. Jitter is an exponential delay on top, in either
direction, that keeps the order as TCP does; it belongs to the moment and not to the message, so
that what travels together is late together and two runs see the same.
"""

import math
from dataclasses import dataclass

from headgate.profiles.trace import Trace
from headgate.runtime.simulation.simulated_loop import uniform

FRAMING_BYTES = 36  # of one message on the uplink; with a frame's header 64
JITTER_SLOT_S = 0.01  # what leaves within so long has the same jitter
_UP, _DOWN = 0, 1


@dataclass(frozen=True, slots=True)
class Link:
    """The path to the edge, as a scenario asks for it."""

    trace: Trace | None  # None: there is no edge
    rtt_s: float  # without service and jitter
    cuts: tuple[tuple[float, float], ...] = ()  # start and end; what is on its way then is lost
    jitter_s: float = 0.0  # mean of an extra delay in each direction


class Uplink:
    """The link's state: until when it is busy, and when things arrive that are sent now."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._arrived_s: dict[tuple[int, int], float] = {}  # the last arrival, to keep the order
        self.free_s = 0.0

    @property
    def trace(self) -> Trace | None:
        """The rate over time, or None without an edge."""
        return self._link.trace

    @property
    def rtt_s(self) -> float:
        """The delay there and back, without service and jitter."""
        return self._link.rtt_s

    def clear(self, *, now_s: float) -> None:
        """Empty the queue: a connection is new."""
        self.free_s = now_s

    def serve(self, num_bytes: int, *, device: int, now_s: float) -> float:
        """Queue a message sent now; return when it arrives at the edge."""
        assert self._link.trace is not None
        self.free_s = self._link.trace.finish_s(max(now_s, self.free_s), num_bytes)
        return self._delayed(self.free_s, _UP, device)

    def answer(self, *, device: int, now_s: float) -> float:
        """Return when an answer that leaves the edge now arrives at the device."""
        return self._delayed(now_s, _DOWN, device)

    def _delayed(self, leaves_s: float, direction: int, device: int) -> float:
        arrives_s = leaves_s + self._link.rtt_s / 2
        if self._link.jitter_s > 0 and arrives_s < math.inf:
            slot = 2 * int(leaves_s / JITTER_SLOT_S) + direction
            arrives_s += -self._link.jitter_s * math.log(1 - uniform(slot))
            arrives_s = max(arrives_s, self._arrived_s.get((direction, device), 0.0))
            self._arrived_s[direction, device] = arrives_s
        return arrives_s
