"""The connections that a relay carries: a socket on either side of two shapers, and their bytes.

What a real link would drop waits here, and a full queue stops the reading, so that the kernel's own
flow control reaches the sender. All times are seconds of the trace's clock.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import struct
import time
from dataclasses import dataclass, field

from headgate.runtime.complaints import Complaints
from headgate.runtime.emulator.link_thread import Address
from headgate.runtime.emulator.relay_listener import shrink_buffers
from headgate.runtime.emulator.shaper import LinkShaper, Release

log = logging.getLogger(__name__)

READ_BYTES = 8 * 1024
MAX_UNSENT_BYTES = 256 * 1024  # what a peer that does not read may leave here
MAX_CONNECTIONS = 128  # two sockets each: select(2) takes descriptors below 1024 only
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(slots=True, eq=False)
class _End:
    """One socket of a connection: read into `shaper`, written from `unsent`."""

    sock: socket.socket
    key: int  # of the connection
    shaper: LinkShaper
    other: _End | None = None
    unsent: bytearray = field(default_factory=bytearray)
    finished_reading: bool = False
    finish_writing: bool = False  # shut down once `unsent` is empty
    connecting: bool = False
    interest: int = 0


class Connections:
    """All connections of one relay; they share its two shapers and its selector."""

    def __init__(
        self,
        *,
        to: Address,
        uplink: LinkShaper,
        downlink: LinkShaper,
        selector: selectors.BaseSelector,
    ) -> None:
        self._to = to
        self._uplink, self._downlink = uplink, downlink
        self._selector = selector
        self._ends: dict[tuple[int, bool], _End] = {}  # by connection, and whether the device's
        self._next_key = 0
        self._complaints = Complaints()

    def __len__(self) -> int:
        return len(self._ends) // 2

    @property
    def is_full(self) -> bool:
        """Whether no further one can be carried."""
        return len(self) >= MAX_CONNECTIONS

    def far_socket(self) -> socket.socket:
        """Return a socket for the side that is connected to; raises OSError where there is none."""
        family = socket.AF_INET6 if ":" in self._to[0] else socket.AF_INET
        return socket.socket(family, socket.SOCK_STREAM)

    def open(self, near: socket.socket, far: socket.socket, *, peer: str, now_s: float) -> None:
        """Connect `far`, and carry what comes in at either from now on."""
        for sock in (near, far):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        shrink_buffers(far)
        key = self._next_key = self._next_key + 1
        device = _End(near, key, self._uplink)
        edge = _End(far, key, self._downlink, other=device, connecting=True)
        device.other = edge
        self._ends[key, True], self._ends[key, False] = device, edge
        self._say(f"connection accepted key={key} peer={peer} at_s={now_s:.3f}")
        try:
            far.connect(self._to)
        except BlockingIOError:
            pass  # `_write` learns how it ended
        except OSError as error:
            self._fail(edge, error)

    def handle(self, source: object, events: int, *, now_s: float) -> None:
        """Do what a socket is ready for; nothing, if it is none of ours."""
        end = next((e for e in self._ends.values() if e.sock is source), None)
        if end is None:  # the wake-up, or closed by an earlier event of this round
            return
        if events & selectors.EVENT_WRITE:
            self._write(end)
        if events & selectors.EVENT_READ and (end.key, end.shaper is self._uplink) in self._ends:
            self._read(end, now_s=now_s)

    def release(self, *, now_s: float) -> None:
        """Hand on what the shapers let out by now."""
        for shaper, to_device in ((self._uplink, False), (self._downlink, True)):
            for release in shaper.pop_due(now_s=now_s):
                self._deliver(release, to_device=to_device)

    def update_interest(self) -> None:
        """Read from those that have room ahead of them, write to those that have bytes waiting."""
        for end in self._ends.values():
            assert end.other is not None
            may_read = (
                not end.finished_reading
                and not end.connecting
                and end.shaper.room_bytes > 0
                and len(end.other.unsent) < MAX_UNSENT_BYTES
            )
            wanted = selectors.EVENT_READ if may_read else 0
            if end.connecting or end.unsent:
                wanted |= selectors.EVENT_WRITE
            if wanted == end.interest:
                continue
            if not end.interest:
                self._selector.register(end.sock, wanted)
            elif not wanted:
                self._selector.unregister(end.sock)
            else:
                self._selector.modify(end.sock, wanted)
            end.interest = wanted

    def close_all(self, *, reset: bool = False) -> None:
        """Close all of them; with `reset` the peers lose what the kernel still held for them."""
        for end in list(self._ends.values()):
            self._close(end, reset=reset)

    def _read(self, end: _End, *, now_s: float) -> None:
        room_bytes = min(end.shaper.room_bytes, READ_BYTES)
        if room_bytes == 0 or end.finished_reading:
            return
        try:
            data = end.sock.recv(room_bytes)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(end, error)
            return
        end.finished_reading = not data
        end.shaper.push(end.key, data, now_s=now_s)

    def _deliver(self, release: Release, *, to_device: bool) -> None:
        end = self._ends.get((release.key, to_device))
        if end is None:
            return
        end.unsent += release.data
        end.finish_writing = end.finish_writing or not release.data
        if not end.connecting:
            self._write(end)

    def _write(self, end: _End) -> None:
        if end.connecting:
            number = end.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                self._fail(end, OSError(number, "cannot connect to the far side"))
                return
            end.connecting = False
        try:
            while end.unsent:
                del end.unsent[: end.sock.send(end.unsent)]
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(end, error)
            return
        if end.finish_writing:
            with contextlib.suppress(OSError):
                end.sock.shutdown(socket.SHUT_WR)
            assert end.other is not None
            if end.finished_reading and end.other.finish_writing and not end.other.unsent:
                self._close(end)

    def _fail(self, end: _End, error: OSError) -> None:
        self._say(f"connection failed key={end.key} error={error}")
        self._close(end, reset=True)

    def _say(self, text: str) -> None:
        """Log what happened; a device whose edge is down tries again ten times a second."""
        line = self._complaints.say(text, now_s=time.monotonic())
        if line is not None:
            log.info("%s", line)

    def _close(self, end: _End, *, reset: bool = False) -> None:
        """Close both sides of a connection and forget what it had on the way.

        With `reset` the peers notice at once and lose what the kernel still held for them.
        """
        assert end.other is not None
        for side in (end, end.other):
            if side.interest:
                self._selector.unregister(side.sock)
                side.interest = 0
            side.shaper.drop(side.key)
            if reset:
                with contextlib.suppress(OSError):
                    side.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            side.sock.close()
        self._ends.pop((end.key, True), None)
        self._ends.pop((end.key, False), None)
