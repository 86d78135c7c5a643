"""The relay's listening socket: closed during cuts, and opened again as soon as that can be.

Where the system gives no socket to a connection, trying at once again would fail at once again, and
select would say for ever that somebody waits. So it listens no more for a while.
"""

from __future__ import annotations

import contextlib
import logging
import math
import selectors
import socket

from headgate.profiles.errors import UsageError
from headgate.runtime.emulator.link_thread import Address, endpoint_of

log = logging.getLogger(__name__)

REST_S = 1.0
# The kernel would take megabytes ahead of the queue and hide it: keep its buffers small. Loopback
# segments of 64 kB do not fit such a buffer and stall the sender: keep them small as well.
SOCKET_BUFFER_BYTES = 64 * 1024
SEGMENT_BYTES = 1460


class Listener:
    """Listens at one address while it is open. Times are `time.monotonic`."""

    def __init__(self, address: Address, *, selector: selectors.BaseSelector) -> None:
        """Open it; `selector` waits for who calls. Raises UsageError if it cannot listen."""
        self._selector = selector
        self._not_before_s = -math.inf
        self.sock: socket.socket | None = None
        self.address = address
        self._open()

    def accept(self, *, now_s: float) -> tuple[socket.socket, Address] | None:
        """Return who called, and from where; None if that comes to nothing."""
        assert self.sock is not None
        try:
            return self.sock.accept()
        except (BlockingIOError, ConnectionError):  # who called has gone again
            return None
        except OSError as error:
            self.rest(error, now_s=now_s)
            return None

    def rest(self, error: OSError, *, now_s: float) -> None:
        """Close it for a while: the system has no socket for a connection."""
        log.warning("connection refused rest_s=%.0f error=%s", REST_S, error)
        self.close()
        self._not_before_s = now_s + REST_S

    def open_again(self, *, now_s: float) -> None:
        """Open it if it is closed; where that fails, try again at a later call."""
        if self.sock is not None or now_s < self._not_before_s:
            return
        try:
            self._open()
        except UsageError as error:
            log.warning("%s; trying again", error)
            self._not_before_s = now_s + REST_S

    def close(self) -> None:
        """Listen no more; harmless if it is closed."""
        if self.sock is not None:
            self._selector.unregister(self.sock)
            self.sock.close()
            self.sock = None

    def _open(self) -> None:
        family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
        listener: socket.socket | None = None
        try:
            listener = socket.socket(family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            shrink_buffers(listener)  # before listen: the window's scale is fixed by then
            listener.bind(self.address)
            listener.listen(64)
        except OSError as error:
            if listener is not None:
                listener.close()
            raise UsageError(
                f"--listen {endpoint_of(self.address)}: cannot listen there "
                f"({error.strerror}); choose a free port of this machine"
            ) from None
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)
        self.sock = listener
        found_host, found_port = listener.getsockname()[:2]
        self.address = str(found_host), int(found_port)


def shrink_buffers(sock: socket.socket) -> None:
    """Keep small what the kernel takes ahead of the relay's own queue."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
