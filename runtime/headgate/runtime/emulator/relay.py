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

import logging
import time

from headgate.profiles.trace import Trace
from headgate.runtime.emulator.link_thread import Address, LinkPlan, LinkThread
from headgate.runtime.emulator.relay_connections import MAX_CONNECTIONS, Connections
from headgate.runtime.emulator.relay_listener import Listener
from headgate.runtime.emulator.shaper import LinkShaper

log = logging.getLogger(__name__)


class Relay(LinkThread):
    """Run a relay in a thread of its own: `with Relay(...) as relay: connect to relay.address`."""

    def __init__(self, *, listen: Address, to: Address, plan: LinkPlan) -> None:
        """A port of 0 in `listen` takes a free one; `address` says which."""
        super().__init__(plan, to=to, name="headgate-relay")
        self._uplink = self._shaper(plan.uplink)
        self._downlink = self._shaper(plan.downlink)
        self._connections = Connections(
            to=to, uplink=self._uplink, downlink=self._downlink, selector=self._selector
        )
        self._first = 0  # whose turn it is
        self._cut_done_s = -1.0
        self._listener = Listener(listen, selector=self._selector)
        self.address = self._listener.address

    # Everything below runs in the relay's thread.

    def _turn(self) -> bool:
        now_s = self._trace_s()
        if self._has_ended(now_s):
            log.info("link ended duration_s=%.3f", now_s)
            return False
        self._apply_cut(now_s)
        self._connections.release(now_s=now_s)
        self._connections.update_interest()
        timers_s = [self._uplink.next_timer_s(), self._downlink.next_timer_s()]
        ready = self._selector.select(self._wait_s(timers_s))
        # Whoever comes first takes the room in the queue: take turns.
        first = self._first = (self._first + 1) % max(1, len(ready))
        for key, events in ready[first:] + ready[:first]:
            self._handle(key.fileobj, events)
        return True

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

    def _close(self) -> None:
        self._connections.close_all()
        self._listener.close()
