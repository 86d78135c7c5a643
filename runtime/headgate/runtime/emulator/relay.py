"""A TCP relay in user space that behaves like a recorded link: sockets around two `LinkShaper`s.

It accepts connections on one address and connects each to another, and lets bytes through in each
direction as that direction's shaper says. All connections share the link. It needs no privileges,
and it cannot lose bytes: what a real link would drop waits here, and a full queue stops the
reading, so that the kernel's own flow control reaches the sender.

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
import struct
import threading
import time
from dataclasses import dataclass, field

from headgate.profiles.trace import Trace
from headgate.runtime.emulator.relay_listener import Address, Listener, shrink_buffers
from headgate.runtime.emulator.shaper import DEFAULT_QUEUE_BYTES, LinkShaper, Release, Window

log = logging.getLogger(__name__)

READ_BYTES = 8 * 1024
MAX_UNSENT_BYTES = 256 * 1024  # what a peer that does not read may leave here
LONGEST_WAIT_S = 1.0
MAX_CONNECTIONS = 128  # two sockets each: select(2) takes descriptors below 1024 only
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


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


@dataclass(slots=True, eq=False)
class _End:
    """One socket of a relayed connection: read into `shaper`, written from `unsent`."""

    sock: socket.socket
    key: int
    shaper: LinkShaper
    other: _End | None = None
    unsent: bytearray = field(default_factory=bytearray)
    finished_reading: bool = False
    finish_writing: bool = False  # shut down once `unsent` is empty
    connecting: bool = False
    interest: int = 0


class Relay:
    """Run a link in a thread of its own: `with Relay(...) as relay: connect to relay.address`."""

    def __init__(self, *, listen: Address, to: Address, plan: LinkPlan) -> None:
        """A port of 0 in `listen` takes a free one; `address` says which."""
        self._plan = plan
        self._to = to
        self._uplink = self._shaper(plan.uplink)
        self._downlink = self._shaper(plan.downlink)
        # select(2) is the one call that waits with microseconds; epoll rounds up to a millisecond.
        self._selector = selectors.SelectSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._ends: dict[tuple[int, bool], _End] = {}
        self._next_key = 0
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
                self._release(now_s)
                self._update_interest()
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
            log.info("link cut at_s=%.3f connections=%d", now_s, len(self._ends) // 2)
            for end in list(self._ends.values()):
                self._close(end, reset=True)

    def _shaper(self, trace: Trace | None) -> LinkShaper:
        plan = self._plan
        return LinkShaper(
            trace, delay_s=plan.delay_s, stalls=plan.stalls, queue_bytes=plan.queue_bytes
        )

    def _handle(self, source: object, events: int) -> None:
        if source is self._listener.sock:
            self._accept()
            return
        end = next((e for e in self._ends.values() if e.sock is source), None)
        if end is None:  # the wake-up, or closed by an earlier event of this round
            return
        if events & selectors.EVENT_WRITE:
            self._write(end)
        if events & selectors.EVENT_READ and (end.key, end.shaper is self._uplink) in self._ends:
            self._read(end)

    def _accept(self) -> None:
        accepted = self._listener.accept(now_s=time.monotonic())
        if accepted is None:
            return
        near, peer = accepted
        if len(self._ends) >= 2 * MAX_CONNECTIONS:
            log.warning("connection refused peer=%s connections=%d", peer[0], MAX_CONNECTIONS)
            near.close()
            return
        try:
            far = socket.socket(self._far_family(), socket.SOCK_STREAM)
        except OSError as error:
            near.close()
            self._listener.rest(error, now_s=time.monotonic())
            return
        for sock in (near, far):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        shrink_buffers(far)
        if self._started_s is None:
            self._started_s = time.monotonic()
        key = self._next_key = self._next_key + 1
        device = _End(near, key, self._uplink)
        edge = _End(far, key, self._downlink, other=device, connecting=True)
        device.other = edge
        self._ends[key, True], self._ends[key, False] = device, edge
        log.info("connection accepted key=%d peer=%s at_s=%.3f", key, peer[0], self._trace_s())
        try:
            far.connect(self._to)
        except BlockingIOError:
            pass  # `_write` learns how it ended
        except OSError as error:
            self._fail(edge, error)

    def _far_family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self._to[0] else socket.AF_INET

    def _read(self, end: _End) -> None:
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
        end.shaper.push(end.key, data, now_s=self._trace_s())

    def _release(self, now_s: float) -> None:
        for shaper, to_device in ((self._uplink, False), (self._downlink, True)):
            for release in shaper.pop_due(now_s=now_s):
                self._deliver(release, to_device=to_device)

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
        log.info("connection failed key=%d error=%s", end.key, error)
        self._close(end, reset=True)

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

    def _update_interest(self) -> None:
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

    def _close_all(self) -> None:
        for end in list(self._ends.values()):
            self._close(end)
        self._listener.close()
        self._selector.close()
        self._wake_read.close()
