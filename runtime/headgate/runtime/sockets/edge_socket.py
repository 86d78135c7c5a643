"""The device's socket to the edge: bounded, reconnecting by itself, telling when it is up.

A default DEALER queues 1000 messages while the server is away and delivers them stale (measured).
So this one queues only on a live connection (IMMEDIATE), keeps nothing on close (LINGER 0), holds
few messages, and tells a dead peer by heartbeats.

It does not reconnect after what ZeroMQ takes for an error of its protocol: a message that is too
large, a key that is refused, keys on one side only, bytes that are none of its own. Then the socket
is spent, though what is wrong at the other end may be mended.
"""

import logging
import threading
from enum import Enum

import zmq
from zmq.utils.monitor import parse_monitor_message

from headgate.profiles.errors import UsageError
from headgate.runtime.sockets.handshakes import (
    FAILED_HANDSHAKES,
    NO_ANSWER,
    device_complaint,
    silence_complaint,
)
from headgate.runtime.sockets.keys import Context, DeviceKeys, Socket, secure_client
from headgate.runtime.sockets.tcp_info import ConnectionTap, TcpInfo

log = logging.getLogger(__name__)

HEARTBEAT_MS = 1000
HEARTBEAT_TIMEOUT_MS = 5000  # a slow link must get a full frame through before the answer
RECONNECT_MS = 100
RECONNECT_MAX_MS = 500  # rises to this from the former
CONNECT_TIMEOUT_MS = 1000  # TCP would ask again after 1, 3 and 7 s only
HANDSHAKE_MS = 5000
SPENT_S = 1.0  # ZeroMQ tells at once that it will try again, if it will
NO_ANSWER_TRIES = 3  # in a row, about a second: an edge may start a little after its device
QUEUED_MESSAGES = 256  # above the slices of all frames in flight; the session bounds the bytes

_MONITORED = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_DISCONNECTED
    | FAILED_HANDSHAKES
)

_ENDS = (zmq.EVENT_DISCONNECTED, zmq.EVENT_HANDSHAKE_FAILED_AUTH)  # unless it tries again


class LinkEvent(Enum):
    """What the transport noticed."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


class EdgeSocket:
    """One DEALER and its monitor; both belong in the device's poller."""

    def __init__(
        self,
        context: Context,
        endpoint: str,
        *,
        keys: DeviceKeys | None,
        max_part_bytes: int,
        identity: bytes | None = None,
        complained: set[str] | None = None,
        connect_timeout_ms: int = CONNECT_TIMEOUT_MS,
        reconnect_max_ms: int = RECONNECT_MAX_MS,
    ) -> None:
        """`identity` names the device and connection to the edge; None leaves that to the edge.

        `complained` is what was said of the edge since a connection stood; sockets may share it.
        """
        self.endpoint = endpoint
        self.dealer: Socket = context.socket(zmq.DEALER)
        self.dealer.linger = 0
        self.dealer.immediate = True
        self.dealer.sndhwm = QUEUED_MESSAGES
        self.dealer.maxmsgsize = max_part_bytes
        self.dealer.heartbeat_ivl = HEARTBEAT_MS
        self.dealer.heartbeat_timeout = HEARTBEAT_TIMEOUT_MS
        self.dealer.reconnect_ivl = RECONNECT_MS
        self.dealer.reconnect_ivl_max = reconnect_max_ms
        self.dealer.connect_timeout = connect_timeout_ms
        self.dealer.handshake_ivl = HANDSHAKE_MS
        if identity is not None:
            self.dealer.routing_id = identity
        self._has_keys = keys is not None
        if keys is not None:
            secure_client(self.dealer, keys)
        try:
            self.monitor: Socket = self.dealer.get_monitor_socket(_MONITORED)
        except zmq.ZMQError:  # no descriptor is left for it
            self.dealer.close(0)
            raise
        self._complained = set() if complained is None else complained
        self._is_up = False
        self._num_unanswered = 0  # attempts since somebody was there
        self._ended_s: float | None = None  # when it was, and nothing has been tried since
        self._tap: ConnectionTap | None = None

    @property
    def is_up(self) -> bool:
        """Whether the connection is through its handshake."""
        return self._is_up

    @property
    def num_unanswered(self) -> int:
        """Attempts to connect that nobody answered, since somebody was there."""
        return max(0, self._num_unanswered)

    @property
    def spent_s(self) -> float | None:
        """From when on the socket is of no use, unless it is heard to try again; or None."""
        return None if self._ended_s is None else self._ended_s + SPENT_S

    def keep_for_now(self, *, now_s: float) -> None:
        """Count as of use a little longer: there is nothing yet to take its place."""
        self._ended_s = now_s

    def is_spent(self, *, now_s: float) -> bool:
        """Return whether the connection ended for good."""
        return self.spent_s is not None and now_s >= self.spent_s

    def tcp_info(self) -> TcpInfo | None:
        """Return what the kernel knows of the connection, where it tells."""
        return None if self._tap is None else self._tap.info()

    def connect(self) -> None:
        """Begin to connect; from here on ZeroMQ keeps trying by itself.

        Raises UsageError for what is not an address that one can connect to.
        """
        try:
            self.dealer.connect(self.endpoint)
        except zmq.ZMQError as reason:
            raise UsageError(
                f"--edge {self.endpoint}: cannot connect there ({reason.strerror}); "
                "expected the edge's own address, as in tcp://192.0.2.7:7700"
            ) from None

    def send(self, messages: tuple[list[bytes], ...]) -> bool:
        """Hand messages to ZeroMQ; False if it took not all of them (no connection, or full)."""
        try:
            for parts in messages:
                self.dealer.send_multipart(parts, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def receive(self) -> list[bytes] | None:
        """Return one message that waits, or None.

        Asking first costs a sixth of the exception that trying would end in (measured).
        """
        if not has_message(self.dealer):
            return None
        return self.dealer.recv_multipart(zmq.NOBLOCK)

    def events(self, *, now_s: float) -> list[LinkEvent]:
        """Return what happened to the connection, logging what an operator can mend."""
        happened = []
        while self.monitor.poll(0):
            message = parse_monitor_message(self.monitor.recv_multipart())
            kind, value = message["event"], message["value"]
            self._ended_s = now_s if kind in _ENDS else None
            if kind == zmq.EVENT_CONNECT_RETRIED:
                self._num_unanswered += 1
                if self._num_unanswered == NO_ANSWER_TRIES:
                    self._complain_of_silence()
                continue
            if kind == zmq.EVENT_CONNECTED:
                self._num_unanswered = -1  # when this attempt has failed it will be tried again
                self._open_tap(value)
            elif kind == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                happened.append(LinkEvent.CONNECTED)
                self._is_up = True
                self._complained.clear()
                self._complained.add(NO_ANSWER)  # from now on it is told that the connection ended
            elif kind == zmq.EVENT_DISCONNECTED:
                if self._is_up:  # else it was never through its handshake, ten times a second
                    happened.append(LinkEvent.DISCONNECTED)
                self._is_up = False
                self._close_tap()
            else:
                self._complain(device_complaint(kind, value, has_keys=self._has_keys))
        return happened

    def abandon(self) -> None:
        """Close at once; what the kernel still holds is not sent, as far as it lets us."""
        if self._tap is not None:
            self._tap.abort_on_close()
        self.close()

    def close(self) -> None:
        self._close_tap()
        self.dealer.disable_monitor()
        self.monitor.close(0)
        self.dealer.close(0)

    def _open_tap(self, descriptor: int) -> None:
        self._close_tap()
        self._tap = ConnectionTap.open(descriptor, endpoint=self.endpoint)
        if self._tap is not None:
            self._tap.tune()

    def _close_tap(self) -> None:
        """Close the duplicate: while it is open the edge does not see the connection's end."""
        if self._tap is not None:
            self._tap.close()
            self._tap = None

    def _complain_of_silence(self) -> None:
        """Log once that nobody answers, aside: frames must not wait until a name is looked up."""
        if NO_ANSWER in self._complained:
            return
        self._complained.add(NO_ANSWER)

        def look_up() -> None:
            text = silence_complaint(self.endpoint)
            if not self._is_up:
                self._warn(text)

        threading.Thread(target=look_up, name="edge-name", daemon=True).start()

    def _complain(self, text: str) -> None:
        """Log a refusal once, not at each of the attempts that follow."""
        if text not in self._complained:
            self._warn(text)
            self._complained.add(text)

    def _warn(self, text: str) -> None:
        log.warning("edge %s: %s; staying on local and trying again", self.endpoint, text)


def has_message(socket: Socket) -> bool:
    """Return whether a message waits to be received."""
    return bool(int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)
