"""One direction of an emulated link: from a trace, when does each byte come out?

A link is a queue in front of a server, and a pipe behind it. The server takes bytes in order at
the rate of the trace (a fluid: a piece leaves when its last byte has been served), the pipe adds a
fixed delay. Several connections share one queue in order of arrival, as packets do in a modem.

    push -> [ queue: at most queue_bytes ] -> server: trace, stalls -> [ pipe: delay_s ] -> pop_due

Data is served in pieces of about a millisecond, so that a slow link trickles as a real one does.
Times are computed, not counted in ticks: a caller that wakes late releases late but loses no rate.
The trace limits the bytes of the stream; headers of TCP and IP are not counted.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from headgate.profiles.trace import Trace

PIECE_S = 0.001  # of the link's time is one piece, within these sizes
MIN_PIECE_BYTES = 128
MAX_PIECE_BYTES = 16 * 1024
DEFAULT_QUEUE_BYTES = 64 * 1024  # before the server, where nothing else is asked for
# Bytes in the pipe are not queueing, but an unlimited link must not hold all that a peer can send.
MAX_PIPE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Window:
    """A time during which the link does not work, in seconds of the trace clock."""

    start_s: float
    duration_s: float

    @property
    def end_s(self) -> float:
        return self.start_s + self.duration_s


@dataclass(frozen=True, slots=True)
class Release:
    """Bytes that come out of the link for one connection. No bytes: the sender has finished."""

    key: int
    data: bytes
    at_s: float


@dataclass(slots=True)
class _Waiting:
    """Bytes of one read that the server has not served yet, from `offset` on."""

    key: int
    data: bytes
    arrived_s: float
    offset: int = 0


def push_past(start_s: float, end_s: float, stalls: tuple[Window, ...]) -> tuple[float, float]:
    """Move a stretch of service, in seconds, out of the stalls, which are in order.

    One that starts in a stall starts after it, and one that a stall interrupts ends later by the
    length of the stall.
    """
    for stall in stalls:
        if stall.end_s <= start_s:
            continue
        if stall.start_s >= end_s:
            break
        if stall.start_s <= start_s:
            end_s += stall.end_s - start_s
            start_s = stall.end_s
        else:
            end_s += stall.duration_s
    return start_s, end_s


class LinkShaper:
    """The state of one direction. All times are seconds of the trace clock, which starts at 0."""

    def __init__(
        self,
        trace: Trace | None,
        *,
        delay_s: float = 0.0,
        stalls: tuple[Window, ...] = (),
        queue_bytes: int = DEFAULT_QUEUE_BYTES,
    ) -> None:
        """A `trace` of None is a link without a limit: only delay and stalls."""
        self._trace = trace
        self._delay_s = delay_s
        self._stalls = tuple(sorted(stalls, key=lambda stall: stall.start_s))
        self._queue_bytes = queue_bytes
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._pipe: deque[Release] = deque()
        self._pipe_bytes = 0
        self._free_s = 0.0  # when the server has served all it has taken
        self._next: tuple[float, int] | None = None  # end of the piece in service, its bytes

    @property
    def room_bytes(self) -> int:
        """How many bytes may be pushed now. At 0 the shell stops reading: the sender feels it."""
        return max(
            0, min(self._queue_bytes - self._queued_bytes, MAX_PIPE_BYTES - self._pipe_bytes)
        )

    @property
    def held_bytes(self) -> int:
        """Bytes that went in and have not come out."""
        return self._queued_bytes + self._pipe_bytes

    def push(self, key: int, data: bytes, *, now_s: float) -> None:
        """Take what a connection has sent; no bytes says that it has finished sending."""
        self._queue.append(_Waiting(key, data, now_s))
        self._queued_bytes += len(data)

    def drop(self, key: int) -> None:
        """Forget a connection that died: what it had queued is not served any more."""
        if self._queue and self._queue[0].key == key:
            self._next = None
        self._queue = deque(item for item in self._queue if item.key != key)
        self._queued_bytes = sum(len(item.data) - item.offset for item in self._queue)
        self._pipe = deque(release for release in self._pipe if release.key != key)
        self._pipe_bytes = sum(len(release.data) for release in self._pipe)

    def pop_due(self, *, now_s: float) -> list[Release]:
        """Serve up to `now_s` and return what has come out of the pipe by then, in order."""
        while self._queue:
            end_s, num_bytes = self._piece_in_service()
            if end_s > now_s:
                break
            self._serve(end_s, num_bytes)
        due = []
        while self._pipe and self._pipe[0].at_s <= now_s:
            release = self._pipe.popleft()
            self._pipe_bytes -= len(release.data)
            due.append(release)
        return due

    def next_timer_s(self) -> float | None:
        """When `pop_due` has something new to do, or None; a dead link may never have."""
        times_s = []
        if self._pipe:
            times_s.append(self._pipe[0].at_s)
        if self._queue:
            times_s.append(self._piece_in_service()[0])
        earliest_s = min(times_s, default=math.inf)
        return None if math.isinf(earliest_s) else earliest_s

    def _piece_in_service(self) -> tuple[float, int]:
        """Return when the piece at the front will have been served, and its size."""
        if self._next is None:
            item = self._queue[0]
            start_s = max(self._free_s, item.arrived_s)
            num_bytes = min(len(item.data) - item.offset, self._piece_bytes(start_s))
            self._next = (self._finish_s(start_s, num_bytes), num_bytes)
        return self._next

    def _piece_bytes(self, start_s: float) -> int:
        if self._trace is None:
            return MAX_PIPE_BYTES
        wanted_bytes = int(self._trace.rate_bps(start_s) * PIECE_S / 8)
        return min(max(wanted_bytes, MIN_PIECE_BYTES), MAX_PIECE_BYTES)

    def _finish_s(self, start_s: float, num_bytes: int) -> float:
        # A stall within a piece shifts the piece's end; pieces are short, so the rate is right.
        start_s, _ = push_past(start_s, start_s, self._stalls)
        if self._trace is None or num_bytes == 0:
            return start_s
        end_s = self._trace.finish_s(start_s, num_bytes)
        return push_past(start_s, end_s, self._stalls)[1]

    def _serve(self, end_s: float, num_bytes: int) -> None:
        item = self._queue[0]
        piece = item.data[item.offset : item.offset + num_bytes]
        item.offset += num_bytes
        if item.offset >= len(item.data):
            self._queue.popleft()
        self._free_s = end_s
        self._next = None
        self._queued_bytes -= num_bytes
        # Nothing moves during a stall: what is in the pipe then comes out after it.
        _, at_s = push_past(end_s, end_s + self._delay_s, self._stalls)
        self._pipe.append(Release(item.key, piece, at_s))
        self._pipe_bytes += num_bytes
