"""The device's way to the edge: one connection, and for a while a second when the first stalls.

`Standby` decides; this shell owns the sockets, has them polled, and tells the device of a take-over
as of any new connection. Both connections carry the device's name, so that the edge knows that the
second replaces the first (see `identities`).
"""

import logging
import os

import zmq

from headgate.runtime.session.standby import TIMED_OUT_S, Standby, Step
from headgate.runtime.sockets.edge_socket import (
    CONNECT_TIMEOUT_MS,
    RECONNECT_MAX_MS,
    RECONNECT_MS,
    EdgeSocket,
    LinkEvent,
)
from headgate.runtime.sockets.keys import Context, DeviceKeys, Socket
from headgate.runtime.wire.identities import NAME_BYTES, device_identity

log = logging.getLogger(__name__)

# A second connection asks again soon: the link may come back at any moment (200 bytes a second).
SECOND_CONNECT_TIMEOUT_MS, TIMEOUT_TIMES = 300, 3.0  # the latter of the round trip
# It may go on for days, and the way become a longer one, which such haste never gets through.
HASTY_TRIES = 10  # unanswered, some 4 s; then a socket with more patience takes its place


class EdgeLink:
    """The sockets to one edge. `poller` is the device's: sockets come and go in it."""

    def __init__(
        self,
        context: Context,
        endpoint: str,
        *,
        keys: DeviceKeys | None,
        max_part_bytes: int,
    ) -> None:
        self._context, self._endpoint = context, endpoint
        self._keys, self._max_part_bytes = keys, max_part_bytes
        self._name = os.urandom(NAME_BYTES)
        self._num_connections = 0
        self._complained: set[str] = set()  # of what, since a connection stood: once is enough
        self._poller: zmq.Poller | None = None
        self._standby = Standby()
        self._second: EdgeSocket | None = None
        self._is_hasty = False  # the first was a second once
        self._first = self._open_first()

    @property
    def dealer(self) -> Socket:
        """The socket that messages come from and go to at present."""
        return self._first.dealer

    @property
    def monitors(self) -> tuple[Socket, ...]:
        """The sockets that tell of connections: when one is readable, call `events`."""
        if self._second is None:
            return (self._first.monitor,)
        return self._first.monitor, self._second.monitor

    def connect(self, poller: zmq.Poller) -> None:
        """Begin to connect, and have `poller` wait for the sockets; raises UsageError."""
        self._poller = poller
        for waited in (self._first.dealer, self._first.monitor):
            poller.register(waited, zmq.POLLIN)
        self._first.connect()

    def send(self, messages: tuple[list[bytes], ...]) -> bool:
        """Hand messages to ZeroMQ; False if it took not all of them (no connection, or full)."""
        return self._first.send(messages)

    def receive(self) -> list[bytes] | None:
        """Return one message that waits, or None."""
        return self._first.receive()

    def events(self, *, now_s: float) -> list[LinkEvent]:
        """Return what happened to the connection that is in use."""
        if self._second is not None:
            self._second.events(now_s=now_s)
            self._standby.second_is_up(self._second.is_up)
        happened = self._first.events(now_s=now_s)
        if LinkEvent.DISCONNECTED in happened and self._second is not None:
            is_up = self._second.is_up
            self._take_over()
            self._standby.taken_over(now_s=now_s)
            return [LinkEvent.DISCONNECTED, *([LinkEvent.CONNECTED] if is_up else [])]
        return happened

    def next_timer_s(self, *, overdue_from_s: float | None, now_s: float) -> float | None:
        """Return when to `look` again if nothing else happens, or None."""
        standby_s = self._standby.next_timer_s(overdue_from_s=overdue_from_s, now_s=now_s)
        timers_s = (standby_s, self._first.spent_s)
        return min((timer_s for timer_s in timers_s if timer_s is not None), default=None)

    def look(self, *, overdue_s: float, delay_s: float, now_s: float) -> list[LinkEvent]:
        """See whether the connection stalls; returns CONNECTED when another one took over.

        `overdue_s` and `delay_s` are the conversation's.
        """
        gives_up = self._is_hasty and self._first.num_unanswered >= HASTY_TRIES
        if gives_up or self._first.is_spent(now_s=now_s):
            self._begin_anew(now_s=now_s)
        if self._second is not None and self._second.is_spent(now_s=now_s):
            self._close_second()
        if self._second is None and self._standby.trying:
            self._open_second(delay_s=delay_s)
        if overdue_s < TIMED_OUT_S and not self._standby.trying:
            return []
        info = self._first.tcp_info()
        backs_off = None if info is None else info.backs_off
        step = self._standby.look(
            overdue_s=overdue_s, delay_s=delay_s, backs_off=backs_off, now_s=now_s
        )
        if step is Step.OPEN:
            log.info("edge %s: no word for %.1f s; connecting anew", self._endpoint, overdue_s)
            self._open_second(delay_s=delay_s)
        elif step is Step.CLOSE:
            log.info("edge %s: the first connection goes on", self._endpoint)
            self._close_second()
        elif step is Step.SWITCH:
            log.info("edge %s: going on with the second connection", self._endpoint)
            self._take_over()
            return [LinkEvent.CONNECTED]
        return []

    def close(self) -> None:
        """Close all sockets."""
        self._close_second()
        self._first.close()

    def _open(self, *, connect_timeout_ms: int, reconnect_max_ms: int) -> EdgeSocket:
        identity = device_identity(self._name, self._num_connections)
        self._num_connections += 1
        return EdgeSocket(
            self._context,
            self._endpoint,
            keys=self._keys,
            max_part_bytes=self._max_part_bytes,
            identity=identity,
            complained=self._complained,
            connect_timeout_ms=connect_timeout_ms,
            reconnect_max_ms=reconnect_max_ms,
        )

    def _open_first(self) -> EdgeSocket:
        return self._open(connect_timeout_ms=CONNECT_TIMEOUT_MS, reconnect_max_ms=RECONNECT_MAX_MS)

    def _begin_anew(self, *, now_s: float) -> None:
        """Put a fresh socket in the place of one that will hardly connect again."""
        assert self._poller is not None
        spent = self._first
        try:
            self._first = self._open_first()
        except zmq.ZMQError as reason:
            self._complain(reason)
            spent.keep_for_now(now_s=now_s)
            return
        self._is_hasty = False
        for waited in (spent.dealer, spent.monitor):
            self._poller.unregister(waited)
        spent.close()
        self.connect(self._poller)

    def _take_over(self) -> None:
        """Go on with the second connection; what the first held is not sent any more."""
        assert self._second is not None
        assert self._poller is not None
        for waited in (self._first.dealer, self._first.monitor):
            self._poller.unregister(waited)
        self._first.abandon()
        self._first, self._second, self._is_hasty = self._second, None, True
        self._register(self._first.dealer)

    def _open_second(self, *, delay_s: float) -> None:
        """Connect once more; without a descriptor for it, the next `look` tries again."""
        timeout_ms = max(SECOND_CONNECT_TIMEOUT_MS, round(TIMEOUT_TIMES * delay_s * 1000))
        try:
            self._second = self._open(connect_timeout_ms=timeout_ms, reconnect_max_ms=RECONNECT_MS)
        except zmq.ZMQError as reason:
            self._complain(reason)
            return
        self._register(self._second.monitor)
        self._second.connect()

    def _close_second(self) -> None:
        if self._second is None:
            return
        if self._poller is not None:
            self._poller.unregister(self._second.monitor)
        self._second.close()
        self._second = None

    def _complain(self, reason: zmq.ZMQError) -> None:
        """Log once that the system gives no socket."""
        text = f"cannot open another connection ({reason.strerror}); trying again"
        if text not in self._complained:
            log.warning("edge %s: %s; close files or raise `ulimit -n`", self._endpoint, text)
            self._complained.add(text)

    def _register(self, waited: Socket) -> None:
        assert self._poller is not None
        self._poller.register(waited, zmq.POLLIN)
