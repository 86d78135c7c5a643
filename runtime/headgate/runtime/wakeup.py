"""Wakes a thread that waits in a ZeroMQ poller, from any other thread or a signal handler."""

import math
import socket


class Wakeup:
    """One end is registered with the poller; `set` from anywhere makes it readable."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor to poll for reading."""
        return self._reader.fileno()

    def set(self) -> None:
        """Make the poller return; safe in a signal handler, and after `close`."""
        try:
            self._writer.send(b"!")
        except (BlockingIOError, OSError):
            return  # full: the poller will wake anyway; closed: nobody waits any more

    def clear(self) -> None:
        """Take back every `set` so far; call before looking at what it announced."""
        try:
            while len(self._reader.recv(4096)) == 4096:
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


def poll_timeout_ms(timer_s: float | None, *, now_s: float) -> int | None:
    """Return how long a poller may wait for a timer, rounded up: never early, 1 ms late at most."""
    return None if timer_s is None else max(0, math.ceil(1000 * (timer_s - now_s)))
