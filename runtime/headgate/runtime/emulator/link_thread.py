"""What every emulated link has: a plan, and a thread that carries it out until told to stop."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

from headgate.profiles.trace import Trace
from headgate.runtime.emulator.shaper import DEFAULT_QUEUE_BYTES, Window

Address = tuple[str, int]

LONGEST_WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """What the link does: rates by direction (None: no limit), one-way delay, stalls and cuts."""

    uplink: Trace | None
    downlink: Trace | None = None
    delay_s: float = 0.0
    stalls: tuple[Window, ...] = ()
    cuts: tuple[Window, ...] = ()
    loop: bool = True  # False: the link closes for good at the end of the uplink trace
    queue_bytes: int = DEFAULT_QUEUE_BYTES


class LinkThread(ABC):
    """A link in a thread of its own: `with Link(...) as link: connect to link.endpoint`.

    The trace's clock starts with the first connection, so that a run sees the trace from its start.
    """

    address: Address  # where the device connects

    def __init__(self, plan: LinkPlan, *, to: Address, name: str) -> None:
        self._plan = plan
        self._to = to
        # select(2) is the one call that waits with microseconds; epoll rounds up to a millisecond.
        self._selector = selectors.SelectSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._started_s: float | None = None
        self._failure: BaseException | None = None
        self._stopping = threading.Event()
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """Where the device connects, as ZeroMQ writes it."""
        return endpoint_of(self.address)

    @property
    def to(self) -> str:
        """Where the edge is, as ZeroMQ writes it."""
        return endpoint_of(self._to)

    @property
    def started_s(self) -> float | None:
        """When the trace's clock was 0, in `time.monotonic` seconds; None before a connection."""
        return self._started_s

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the link has closed for good (see `LinkPlan.loop`); True if it has.

        Raises what ended the link's thread, if that was a bug.
        """
        finished = self._finished.wait(timeout_s)
        if self._failure is not None:
            raise self._failure
        return finished

    def request_stop(self) -> None:
        """Ask the thread to end, without waiting for it: safe in a signal handler."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._wake_write.send(b"x")

    def stop(self) -> None:
        """Close everything and end the thread."""
        self.request_stop()
        if self._thread.is_alive():
            self._thread.join()
        self._wake_write.close()

    # Everything below runs in the link's thread.

    def _run(self) -> None:
        try:
            while not self._stopping.is_set() and self._turn():
                pass
        except BaseException as failure:  # re-raised by `wait`: a bug must be seen
            self._failure = failure
        finally:
            self._close()
            self._selector.close()
            self._wake_read.close()
            self._finished.set()

    @abstractmethod
    def _turn(self) -> bool:
        """Let out what is due, wait, take what came in; False once the link has ended."""

    @abstractmethod
    def _close(self) -> None:
        """Close what the link has opened."""

    def _trace_s(self) -> float:
        return 0.0 if self._started_s is None else time.monotonic() - self._started_s

    def _has_ended(self, now_s: float) -> bool:
        if self._plan.loop or self._plan.uplink is None:
            return False
        return now_s >= self._plan.uplink.duration_s

    def _wait_s(self, timers_s: list[float | None]) -> float:
        """Return how long nothing happens unless a socket wakes us, at most LONGEST_WAIT_S."""
        now_s = self._trace_s()
        waits_s = [max(0.0, at_s - now_s) for at_s in timers_s if at_s is not None]
        if self._started_s is not None:
            turns_s = [turn_s for cut in self._plan.cuts for turn_s in (cut.start_s, cut.end_s)]
            if not self._plan.loop and self._plan.uplink is not None:
                turns_s.append(self._plan.uplink.duration_s)
            waits_s += [turn_s - now_s for turn_s in turns_s if turn_s > now_s]
        return min([*waits_s, LONGEST_WAIT_S])


def endpoint_of(address: Address) -> str:
    """Return a host and a port as ZeroMQ writes them; an IPv6 host stands in brackets."""
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"tcp://{host}:{address[1]}"
