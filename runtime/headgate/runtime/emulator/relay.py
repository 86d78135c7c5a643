"""A TCP relay in user space that behaves like a recorded link: sockets around two `LinkShaper`s.

It accepts connections on one address and connects each to another, and lets bytes through in each
direction as that direction's shaper says (`relay_connections`). All connections share the link. It
needs no privileges, and it cannot lose bytes: what a real link would drop waits here, and a full
queue stops the reading.

    device --> listen [ uplink shaper   ] --> to --> edge
           <--        [ downlink shaper ] <--

The trace's clock starts with the first connection, so that a run sees the trace from its start.
A stall lets nothing move and keeps the connections; a cut closes them and refuses new ones.
Where the system gives no socket, or has given our port away during a cut, the relay goes on with
the connections that it has, and tries again.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from dataclasses import dataclass

from headgate.profiles.trace import Trace
from headgate.runtime.emulator.relay_connections import MAX_CONNECTIONS, Connections
from headgate.runtime.emulator.relay_listener import Address, Listener
from headgate.runtime.emulator.shaper import DEFAULT_QUEUE_BYTES, LinkShaper, Window

log = logging.getLogger(__name__)

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


class Relay:
    """Run a link in a thread of its own: `with Relay(...) as relay: connect to relay.address`."""

    def __init__(self, *, listen: Address, to: Address, plan: LinkPlan) -> None:
        """A port of 0 in `listen` takes a free one; `address` says which."""
        self._plan = plan
        self._uplink = self._shaper(plan.uplink)
        self._downlink = self._shaper(plan.downlink)
        # select(2) is the one call that waits with microseconds; epoll rounds up to a millisecond.
        self._selector = selectors.SelectSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._connections = Connections(
            to=to, uplink=self._uplink, downlink=self._downlink, selector=self._selector
        )
        self._turn = 0
        self._started_s: float | None = None
        self._cut_done_s = -1.0
        self._failure: BaseException | None = None
        self._stopping = threading.Event()
        self._finished = threading.Event()
        self._listener = Listener(listen, selector=self._selector)
        self.address: Address = self._listener.address
        self._thread = threading.Thread(target=self._run, name="headgate-relay", daemon=True)

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """The listening address as ZeroMQ writes it."""
        return f"tcp://{self.address[0]}:{self.address[1]}"

    @property
    def started_s(self) -> float | None:
        """When the trace's clock was 0, in `time.monotonic` seconds; None before a connection."""
        return self._started_s

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the link has closed for good (see `LinkPlan.loop`); True if it has.

        Raises what ended the relay's thread, if that was a bug.
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

    # Everything below runs in the relay's thread.

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                now_s = self._trace_s()
                if not self._plan.loop and self._ended(now_s):
                    log.info("link ended duration_s=%.3f", now_s)
                    break
                self._apply_cut(now_s)
                self._connections.release(now_s=now_s)
                self._connections.update_interest()
                ready = self._selector.select(self._wait_s())
                # Whoever comes first takes the room in the queue: take turns.
                first = self._turn = (self._turn + 1) % max(1, len(ready))
                for key, events in ready[first:] + ready[:first]:
                    self._handle(key.fileobj, events)
        except BaseException as failure:  # re-raised by `wait`: a bug must be seen
            self._failure = failure
        finally:
            self._close_all()
            self._finished.set()

    def _trace_s(self) -> float:
        return 0.0 if self._started_s is None else time.monotonic() - self._started_s

    def _ended(self, now_s: float) -> bool:
        return self._plan.uplink is not None and now_s >= self._plan.uplink.duration_s

    def _wait_s(self) -> float:
        """Return how long nothing happens unless a socket wakes us, at most LONGEST_WAIT_S."""
        now_s = self._trace_s()
        timers_s = [self._uplink.next_timer_s(), self._downlink.next_timer_s()]
        waits_s = [max(0.0, at_s - now_s) for at_s in timers_s if at_s is not None]
        if self._started_s is not None:
            turns_s = [turn_s for cut in self._plan.cuts for turn_s in (cut.start_s, cut.end_s)]
            if not self._plan.loop and self._plan.uplink is not None:
                turns_s.append(self._plan.uplink.duration_s)
            waits_s += [turn_s - now_s for turn_s in turns_s if turn_s > now_s]
        return min([*waits_s, LONGEST_WAIT_S])

    def _apply_cut(self, now_s: float) -> None:
        """Close all connections when a cut begins, and stop listening until it ends."""
        cuts = () if self._started_s is None else self._plan.cuts
        cut = next((c for c in cuts if c.start_s <= now_s < c.end_s), None)
        # First the listener: whoever is thrown out must not slip in again.
        if cut is not None:
            self._listener.close()
        else:
            self._listener.open_again(now_s=time.monotonic())
        begun = [c.start_s for c in cuts if self._cut_done_s < c.start_s <= now_s]
        if begun:
            self._cut_done_s = max(begun)
            log.info("link cut at_s=%.3f connections=%d", now_s, len(self._connections))
            self._connections.close_all(reset=True)

    def _shaper(self, trace: Trace | None) -> LinkShaper:
        plan = self._plan
        return LinkShaper(
            trace, delay_s=plan.delay_s, stalls=plan.stalls, queue_bytes=plan.queue_bytes
        )

    def _handle(self, source: object, events: int) -> None:
        if source is self._listener.sock:
            self._accept()
            return
        self._connections.handle(source, events, now_s=self._trace_s())

    def _accept(self) -> None:
        accepted = self._listener.accept(now_s=time.monotonic())
        if accepted is None:
            return
        near, peer = accepted
        if self._connections.is_full:
            log.warning("connection refused peer=%s connections=%d", peer[0], MAX_CONNECTIONS)
            near.close()
            return
        try:
            far = self._connections.far_socket()
        except OSError as error:
            near.close()
            self._listener.rest(error, now_s=time.monotonic())
            return
        if self._started_s is None:
            self._started_s = time.monotonic()
        self._connections.open(near, far, peer=peer[0], now_s=self._trace_s())

    def _close_all(self) -> None:
        self._connections.close_all()
        self._listener.close()
        self._selector.close()
        self._wake_read.close()
