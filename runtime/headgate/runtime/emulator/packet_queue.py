"""One direction of a link that carries packets: each comes out whole and late, or not at all.

As `shaper`, but what crosses are the packets of the kernel's own TCP, headers and all, so what a
real link does to them happens here: a full queue drops what comes (drop tail), radio loses some,
and during a cut all. A packet leaves the server when its last byte has been served.

    push -> lost? -> [ queue: at most queue_bytes ] -> server: trace, stalls -> [ pipe ] -> pop_due
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from headgate.profiles.trace import Trace
from headgate.runtime.emulator.shaper import DEFAULT_QUEUE_BYTES, Window, push_past


@dataclass(slots=True)
class PacketCounts:
    """What became of the packets that were pushed; those of none of the others are on their way."""

    pushed: int = 0
    overflowed: int = 0  # the queue was full
    lost: int = 0  # by chance, or in a cut
    delivered: int = 0


@dataclass(frozen=True, slots=True)
class _Packet:
    data: bytes
    served_s: float
    at_s: float


class PacketQueue:
    """The state of one direction. All times are seconds of the trace clock, which starts at 0."""

    def __init__(
        self,
        trace: Trace | None,
        *,
        delay_s: float = 0.0,
        stalls: tuple[Window, ...] = (),
        cuts: tuple[Window, ...] = (),
        queue_bytes: int = DEFAULT_QUEUE_BYTES,
        loses: Callable[[], bool] | None = None,
    ) -> None:
        """`loses` says of each packet anew whether it is lost; a `trace` of None has no limit.

        A queue takes at least one packet, whatever its size.
        """
        self._trace = trace
        self._delay_s = delay_s
        self._stalls = tuple(sorted(stalls, key=lambda stall: stall.start_s))
        self._cuts = cuts
        self._queue_bytes = queue_bytes
        self._loses = loses
        self._queue: deque[_Packet] = deque()  # not served yet; when each will be is known
        self._queued_bytes = 0
        self._pipe: deque[_Packet] = deque()
        self._free_s = 0.0  # when the server has served all it has taken
        self.counts = PacketCounts()

    def push(self, data: bytes, *, now_s: float) -> None:
        """Take a packet, or lose it. `now_s` never falls."""
        self.counts.pushed += 1
        self._serve(now_s)
        if self._is_cut(now_s) or (self._loses is not None and self._loses()):
            self.counts.lost += 1
            return
        if self._queue and self._queued_bytes + len(data) > self._queue_bytes:
            self.counts.overflowed += 1
            return
        self._free_s = self._finish_s(max(now_s, self._free_s), len(data))
        # Nothing moves during a stall: what is in the pipe then comes out after it.
        _, at_s = push_past(self._free_s, self._free_s + self._delay_s, self._stalls)
        self._queue.append(_Packet(data, self._free_s, at_s))
        self._queued_bytes += len(data)

    def pop_due(self, *, now_s: float) -> list[bytes]:
        """Return the packets that have come out of the pipe by `now_s`, in order."""
        self._serve(now_s)
        due: list[bytes] = []
        while self._pipe and self._pipe[0].at_s <= now_s:
            packet = self._pipe.popleft()
            if self._is_cut(packet.at_s):
                self.counts.lost += 1
                continue
            due.append(packet.data)
        self.counts.delivered += len(due)
        return due

    def next_timer_s(self) -> float | None:
        """When `pop_due` has something new to do, or None; a dead link may never have."""
        first = self._pipe[0] if self._pipe else self._queue[0] if self._queue else None
        return None if first is None or math.isinf(first.at_s) else first.at_s

    def _serve(self, now_s: float) -> None:
        while self._queue and self._queue[0].served_s <= now_s:
            packet = self._queue.popleft()
            self._queued_bytes -= len(packet.data)
            self._pipe.append(packet)

    def _finish_s(self, start_s: float, num_bytes: int) -> float:
        start_s, _ = push_past(start_s, start_s, self._stalls)
        if self._trace is None:
            return start_s
        return push_past(start_s, self._trace.finish_s(start_s, num_bytes), self._stalls)[1]

    def _is_cut(self, at_s: float) -> bool:
        return any(cut.start_s <= at_s < cut.end_s for cut in self._cuts)
