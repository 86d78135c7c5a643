"""Split training's sockets, one at either end.

With `wire_parcels` this is all of training that knows the runtime: its wire, its keys, ZeroMQ.
ZeroMQ itself is imported when a socket is opened, so that a run in one process does without.

DEALER (client) to ROUTER (server). A part above a megabyte is sent without copying it, a smaller
one with a copy: the bookkeeping of the former costs more than the copy. A client's socket queues
only on a live connection: what was lost with one, the session sends again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headgate.profiles.errors import PeerError, UsageError
from headgate.train.split_training.wire_parcels import LIMITS

if TYPE_CHECKING:
    from headgate.runtime.sockets.keys import Context, DeviceKeys, Socket

log = logging.getLogger(__name__)

ZERO_COPY_BYTES = 1 << 20  # to send without copying
RECEIVED_COPY_BYTES = 1 << 14  # what is received in larger parts stays where it is
HEARTBEAT_MS = 5000
KEEPALIVE_S = 15  # of silence, and between asking
HEARTBEAT_TIMEOUT_MS = 60_000  # a batch of megabytes on a slow link holds up what follows it
RECONNECT_MS = 100
RECONNECT_MAX_MS = 2000
LINGER_MS = 5000
MAX_WAIT_S = 86_400.0  # at a time: ZeroMQ takes no number of any size, and a timer may be never


@dataclass(frozen=True, slots=True)
class Security:
    """Who may connect: a keys folder (see `headgate keygen`), or anyone on loopback."""

    keys: Path | None = None
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """What a client's socket has."""

    message: bool
    connection: bool  # one was made, or lost


class ServerSocket:
    """The ROUTER of a server, bound."""

    def __init__(self, bind: str, security: Security) -> None:
        import zmq

        from headgate.runtime.sockets import keys
        from headgate.runtime.sockets.listening import listen

        keys.check_endpoint(bind, option="--bind")
        has_keys = security.keys is not None
        keys.check_exposure(bind, option="--bind", has_keys=has_keys, insecure=security.insecure)
        own = keys.load_edge_keys(security.keys) if security.keys is not None else None
        self._context: Context = zmq.Context()
        self._authenticator = None
        self._router: Socket = self._context.socket(zmq.ROUTER)
        _tune(self._router)
        # Clients send heartbeats, we only answer them: with our own, a peer that floods us while we
        # compute and then vanishes would have ZeroMQ abort (libzmq issue 4364).
        self._router.tcp_keepalive = 1
        self._router.tcp_keepalive_idle = KEEPALIVE_S
        self._router.tcp_keepalive_intvl = KEEPALIVE_S
        self._router.tcp_keepalive_cnt = 3
        self._router.tcp_maxrt = HEARTBEAT_TIMEOUT_MS
        if own is not None:
            self._authenticator = keys.Authenticator(self._context, own.devices)
            keys.secure_server(self._router, own.own)
        try:
            listen(self._router, bind, option="--bind")
        except UsageError:
            self.close()
            raise
        self._poller = zmq.Poller()
        self._poller.register(self._router, zmq.POLLIN)
        self.endpoint = self._router.getsockopt_string(zmq.LAST_ENDPOINT)

    def receive(self, timeout_s: float | None) -> tuple[bytes, list[Any]] | None:
        """Return a peer's message, or None if none came in time."""
        if not self._poller.poll(_milliseconds(timeout_s)):
            return None
        peer, *parts = _receive(self._router)
        return bytes(peer), parts

    def send(self, peer: bytes, parts: Sequence[Any]) -> None:
        """Send to a peer; what cannot be sent is dropped, and asked for again."""
        _send(self._router, [peer, *parts])

    def close(self) -> None:
        self._router.close(LINGER_MS)
        if self._authenticator is not None:
            self._authenticator.close()
        self._context.term()


def keys_to(endpoint: str, security: Security) -> DeviceKeys | None:
    """Return a client's keys, or raise UsageError if it may not connect there with what it has."""
    from headgate.runtime.sockets import keys

    keys.check_endpoint(endpoint, option="--server")
    has_keys = security.keys is not None
    keys.check_exposure(endpoint, option="--server", has_keys=has_keys, insecure=security.insecure)
    return keys.load_device_keys(security.keys) if security.keys is not None else None


class ClientSocket:
    """The DEALER of a client, and its monitor."""

    def __init__(self, endpoint: str, security: Security) -> None:
        import zmq

        from headgate.runtime.sockets import keys

        own = keys_to(endpoint, security)
        self._context: Context = zmq.Context()
        self._dealer: Socket = self._context.socket(zmq.DEALER)
        _tune(self._dealer)
        self._dealer.immediate = True
        self._dealer.heartbeat_ivl = HEARTBEAT_MS
        self._dealer.heartbeat_timeout = HEARTBEAT_TIMEOUT_MS
        self._dealer.reconnect_ivl = RECONNECT_MS
        self._dealer.reconnect_ivl_max = RECONNECT_MAX_MS
        if own is not None:
            keys.secure_client(self._dealer, own)
        self._refused = f"--server {endpoint}: refused our key; put our .key file into its devices"
        self._unlike = (
            f"--server {endpoint}: handshake failed; either only one side has keys, or it is no "
            "Headgate server: start both with --keys or both without"
        )
        self._monitor: Socket = self._dealer.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_DISCONNECTED
        )
        self._poller = zmq.Poller()
        for waited in (self._dealer, self._monitor):
            self._poller.register(waited, zmq.POLLIN)
        self._dealer.connect(endpoint)

    def wait(self, timeout_s: float | None) -> Ready:
        """Return what has happened, or nothing at the end of the time."""
        ready = [socket for socket, _ in self._poller.poll(_milliseconds(timeout_s))]
        return Ready(message=self._dealer in ready, connection=self._monitor in ready)

    def connection_events(self) -> list[bool]:
        """Return True for each new connection and False for each lost one; raises PeerError."""
        import zmq
        from zmq.utils.monitor import recv_monitor_message

        events = []
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)["event"]
            if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:  # ZeroMQ tries no more after either
                raise PeerError(self._refused)
            if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                raise PeerError(self._unlike)
            events.append(event == zmq.EVENT_HANDSHAKE_SUCCEEDED)
        return events

    def receive(self) -> list[Any]:
        """Return the message that `wait` has told of."""
        return _receive(self._dealer)

    def forget(self) -> None:
        """Throw away what has come."""
        while self._dealer.poll(0):
            _receive(self._dealer)

    def send(self, parts: Sequence[Any]) -> None:
        _send(self._dealer, parts)

    def close(self) -> None:
        self._dealer.disable_monitor()
        self._monitor.close(0)
        self._dealer.close(LINGER_MS)
        self._context.term()


def _tune(socket: Socket) -> None:
    socket.linger = LINGER_MS
    socket.maxmsgsize = LIMITS.max_part_bytes
    socket.copy_threshold = ZERO_COPY_BYTES


def _send(socket: Socket, parts: Sequence[Any]) -> None:
    import zmq

    # `send_multipart` takes longer to look at small parts than to send them.
    flags = zmq.NOBLOCK | zmq.SNDMORE
    last = len(parts) - 1
    try:
        for index, part in enumerate(parts):
            if index == last:
                flags = zmq.NOBLOCK
            socket.send(part, flags, len(part) < ZERO_COPY_BYTES)
    except zmq.Again:
        log.info("a message was not sent, there is no connection")


def _receive(socket: Socket) -> list[Any]:
    """Return one message; large parts stay in ZeroMQ's memory."""
    frame = socket.recv(0, False)
    frames = [frame]
    while frame.more:
        frame = socket.recv(0, False)
        frames.append(frame)
    return [f.buffer if len(f) >= RECEIVED_COPY_BYTES else f.bytes for f in frames]


def _milliseconds(timeout_s: float | None) -> int | None:
    return None if timeout_s is None else round(1000 * min(max(0.0, timeout_s), MAX_WAIT_S))
