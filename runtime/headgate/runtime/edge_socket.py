"""The device's socket to the edge: bounded, reconnecting by itself, telling when it is up.

A default DEALER queues 1000 messages while the server is away and delivers them stale (measured).
So this one queues only on a live connection (IMMEDIATE), keeps nothing on close (LINGER 0), holds
few messages, and tells a dead peer by heartbeats.
"""

import contextlib
import logging
from enum import Enum

import zmq
from zmq.utils.monitor import parse_monitor_message

from headgate.profiles.errors import UsageError
from headgate.runtime.keys import Context, DeviceKeys, Socket, secure_client
from headgate.runtime.tcp_info import ConnectionTap, TcpInfo

log = logging.getLogger(__name__)

HEARTBEAT_MS = 1000
HEARTBEAT_TIMEOUT_MS = 5000  # a slow link must get a full frame through before the answer
RECONNECT_MS = 100
RECONNECT_MAX_MS = 500  # rises to this from the former
CONNECT_TIMEOUT_MS = 1000  # TCP would ask again after 1, 3 and 7 s only
HANDSHAKE_MS = 5000
QUEUED_MESSAGES = 256  # above the slices of all frames in flight; the session bounds the bytes

_MONITORED = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_DISCONNECTED
)


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
        connect_timeout_ms: int = CONNECT_TIMEOUT_MS,
        reconnect_max_ms: int = RECONNECT_MAX_MS,
    ) -> None:
        """`identity` names the device and connection to the edge; None leaves that to the edge."""
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
        self.monitor: Socket = self.dealer.get_monitor_socket(_MONITORED)
        self._last_complaint: str | None = None
        self._is_up = self._is_refused = False
        self._tap: ConnectionTap | None = None

    @property
    def is_up(self) -> bool:
        """Whether the connection is through its handshake."""
        return self._is_up

    @property
    def is_refused(self) -> bool:
        """Whether the edge refused our key: ZeroMQ does not try again by itself then (measured)."""
        return self._is_refused

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

    def connect_anew(self) -> None:
        """Ask an edge again that refused our key: it may have been given it meanwhile."""
        self._is_refused = False
        with contextlib.suppress(zmq.ZMQError):  # there is nothing left to take down
            self.dealer.disconnect(self.endpoint)
        self.connect()

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

    def events(self) -> list[LinkEvent]:
        """Return what happened to the connection, logging what an operator can mend."""
        happened = []
        while self.monitor.poll(0):
            message = parse_monitor_message(self.monitor.recv_multipart())
            kind, value = message["event"], message["value"]
            if kind == zmq.EVENT_CONNECTED:
                self._open_tap(value)
            elif kind == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                happened.append(LinkEvent.CONNECTED)
                self._last_complaint, self._is_up = None, True
            elif kind == zmq.EVENT_DISCONNECTED:
                if self._is_up:  # else it was never through its handshake, ten times a second
                    happened.append(LinkEvent.DISCONNECTED)
                self._is_up = False
                self._close_tap()
            else:
                self._is_refused |= kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH
                self._complain(handshake_complaint(kind, value, has_keys=self._has_keys))
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

    def _complain(self, text: str) -> None:
        """Log a refusal once, not at each of the attempts that follow."""
        if text != self._last_complaint:
            log.warning("edge %s: %s; staying on local and trying again", self.endpoint, text)
            self._last_complaint = text


def has_message(socket: Socket) -> bool:
    """Return whether a message waits to be received."""
    return bool(int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)


def handshake_complaint(kind: int, value: int, *, has_keys: bool) -> str:
    """Say what a failed handshake means to the operator of the device.

    Only a refused key is told apart by ZeroMQ; a wrong one of the edge's is met with silence.
    """
    if kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return (
            f"refused our key (status {value}); add this device's .key file to the edge's "
            "devices folder"
        )
    if has_keys:
        return (
            "handshake failed; check that edge.key is the key of that edge, and that the edge "
            "was started with --keys"
        )
    return "handshake failed, most likely it asks for keys and we have none; pass --keys"
