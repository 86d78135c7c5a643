"""When a device asks the path how it is, and with how many bytes.

Probes keep the estimate alive when no frame does: small ones while frames are answered locally, a
tiny one each second for the fixed delay, and now and then one as large as the next operating point,
where the frames sent are too small to show what the link could carry.

A small one does not follow at once on the answer of the one before. Where a link carries messages
in turns (cellular grants, a radio that sleeps in between) that comes with a turn: the next probe
would go just after it, wait for all of the next one, and no probe ever would see a shorter way.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from headgate.runtime.wire.messages import Probe, stamp_us

LOCAL_PROBE_S, LOCAL_PROBE_BYTES = 0.1, 1000  # while frames are answered locally
DELAY_PROBE_S = 1.0  # between tiny ones for the fixed delay
SCATTER = (math.sqrt(5) - 1) / 2  # its multiples, less whole ones, spread evenly over 0 to 1
PATIENCE = 3  # delay probes wait so much longer while something is out
UPWARD_PROBE_S, MAX_UPWARD_PROBE_BYTES = 2.0, 32 * 1024  # as large as the next point


@dataclass(frozen=True, slots=True)
class ProbeNeed:
    """What the session wants probes for, and no later than when: frames must be coming.

    `local_bytes`: of one in place of frames that are answered locally though sending could be worth
    more, or 0. `upward_bytes`: of a rung of the ladder to explore, or 0.
    """

    until_s: float
    local_bytes: int
    upward_bytes: int


class Due(NamedTuple):
    """When the next probe is due, its padding, and whether it explores a rung."""

    due_s: float
    num_bytes: int
    upward: bool = False


class Probing:
    """Makes the probes of one conversation and remembers when they were sent."""

    def __init__(self) -> None:
        self._num_probes = 0
        self._delay_probe_s = 0.0
        self._upward_probe_s = 0.0

    def due(self, need: ProbeNeed, *, sent_s: float, answered_s: float, is_waiting: bool) -> Due:
        """Return the next probe that is due.

        `sent_s` is when anything was sent last, `answered_s` when a probe was answered. While
        something is out (`is_waiting`) its answer will tell: ask only if that seems lost, or if
        there has been something out for so long that the delay was not measured.
        """
        if is_waiting:
            lost = Due(sent_s + DELAY_PROBE_S, need.local_bytes)
            return min(lost, Due(self._delay_probe_s + PATIENCE * DELAY_PROBE_S, 0))
        due = [Due(self._delay_probe_s + DELAY_PROBE_S, 0)]
        if need.local_bytes:
            apart_s = LOCAL_PROBE_S * (self._num_probes * SCATTER % 1)
            due_s = max(sent_s + LOCAL_PROBE_S, answered_s + apart_s)
            due.append(Due(due_s, need.local_bytes))
        if need.upward_bytes:
            num_bytes = min(need.upward_bytes, MAX_UPWARD_PROBE_BYTES)
            due.append(Due(self._upward_probe_s + UPWARD_PROBE_S, num_bytes, upward=True))
        return min(due)

    def make(self, num_bytes: int, *, upward: bool = False, now_s: float) -> Probe:
        """Return the probe to send now, with so much padding."""
        if upward:
            self._upward_probe_s = now_s
        elif num_bytes == 0:
            self._delay_probe_s = now_s
        probe = Probe(self._num_probes, bytes(num_bytes), stamp_us(now_s))
        self._num_probes = (self._num_probes + 1) % (1 << 32)
        return probe
