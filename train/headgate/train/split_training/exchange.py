"""What goes round between sockets and halves: the server's loop, and that of a client."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch

from headgate.profiles.errors import PeerError, TrainingError, WireError
from headgate.profiles.train_messages import Header, Kind
from headgate.train.split_training.client import SplitClient
from headgate.train.split_training.outgoing import Outgoing
from headgate.train.split_training.payload import Payload
from headgate.train.split_training.server import SplitServer
from headgate.train.split_training.transport import ClientSocket, ServerSocket
from headgate.train.split_training.wire_parcels import from_message, to_message

FAREWELL_S = 10.0  # how long a server that ends waits for GOODBYEs of all that it knows
GIVE_UP_S = 300.0
SAY_AFTER_S = 5.0  # without a connection: so long it takes nobody by surprise
CPU = torch.device("cpu")


def serve(
    server: SplitServer, socket: ServerSocket, *, device: torch.device, compress: bool
) -> None:
    """Serve until the run has finished and its clients have been told; see FAREWELL_S."""

    def send(out: Sequence[Outgoing]) -> None:
        for each in out:
            parts = to_message(each.header, each.parts, compress=compress)
            socket.send(each.peer, parts)
            if each.name is not None:
                server.tally.sent(each.name, each.header.kind, sum(map(len, parts)))

    now_s = server.now_s
    finished_s: float | None = None
    try:
        while True:
            if server.is_finished:
                finished_s = now_s() if finished_s is None else finished_s
                if not server.session.roster.places or now_s() > finished_s + FAREWELL_S:
                    return
            timer_s = server.next_timer_s() if finished_s is None else finished_s + FAREWELL_S
            message = socket.receive(None if timer_s is None else timer_s - now_s())
            if message is None:
                send(server.handle_timer(now_s=now_s()))
                continue
            send(_take(server, *message, device=device, now_s=now_s()))
            del message  # its memory is for the next one: fresh pages cost more than to copy them
    except TrainingError as reason:
        send(server.fail(str(reason)))
        _see_off(set(server.session.roster.peers), socket, now_s=now_s)
        raise


def _see_off(peers: set[bytes], socket: ServerSocket, *, now_s: Callable[[], float]) -> None:
    """Wait for GOODBYEs: with a connection that ends too soon goes what was said last on it."""
    give_up_s = now_s() + FAREWELL_S
    while peers and (left_s := give_up_s - now_s()) > 0:
        message = socket.receive(left_s)
        if message is None:
            continue
        peer, parts = message
        with suppress(WireError):
            header, _ = from_message(parts, device=CPU)
            if header.kind is Kind.GOODBYE:
                peers.discard(peer)


def _take(
    server: SplitServer, peer: bytes, parts: list[Any], *, device: torch.device, now_s: float
) -> list[Outgoing]:
    num_bytes = sum(map(len, parts))
    try:
        header, opened = from_message(parts, device=device)
    except WireError as reason:
        return server.malformed(peer, str(reason))
    return server.received(peer, header, opened, num_bytes=num_bytes, now_s=now_s)


class _Connection:
    """Whether there is one: tells where it is missing for a while, and gives up at last."""

    def __init__(
        self, endpoint: str, *, give_up_s: float, say: Callable[[str], None], now_s: float
    ) -> None:
        self._endpoint, self._give_up_s, self._say = endpoint, give_up_s, say
        self._lost_s: float | None = now_s  # since when there is none
        self._has_said = False

    @property
    def next_timer_s(self) -> float | None:
        """When `check` may have something to say."""
        if self._lost_s is None:
            return None
        after_s = self._give_up_s if self._has_said else min(SAY_AFTER_S, self._give_up_s)
        return self._lost_s + after_s

    def changed(self, is_connected: bool, *, now_s: float) -> None:
        """Take note of a new connection, or of one that was lost."""
        if is_connected and self._has_said:
            self._has_said = False
            self._say("connected")
        self._lost_s = None if is_connected else self._lost_s or now_s

    def check(self, *, now_s: float) -> None:
        """Say that there is none, or raise PeerError if that has been so for too long."""
        if self._lost_s is None:
            return
        left_s = self._lost_s + self._give_up_s - now_s
        if left_s <= 0:
            raise PeerError(
                f"--server {self._endpoint}: no connection for {self._give_up_s:g} s; start the "
                "server, or check address and keys, and repeat the command, where it has a "
                "--state with --resume"
            )
        if not self._has_said and now_s >= self._lost_s + SAY_AFTER_S:
            self._has_said = True
            self._say(
                f"no connection to {self._endpoint}; is the server running there? "
                f"Tries for {left_s:.0f} s more"
            )


def train_as_client(
    client: SplitClient,
    socket: ClientSocket,
    *,
    device: torch.device,
    compress: bool,
    give_up_s: float = GIVE_UP_S,
    endpoint: str = "",
    cpu_share: float = 1.0,
    say: Callable[[str], None] = lambda _: None,
    now_s: Callable[[], float] = time.monotonic,
) -> None:
    """Train until the server says that all is done; raises what made it stop before.

    `say` is told where there is no connection for a while, and when there is one again.
    With a `cpu_share` below 1 it rests after each step for as long as a processor of that share
    would have taken longer.
    """

    def send(out: Sequence[tuple[Header, tuple[Payload, ...]]]) -> None:
        for header, parts in out:
            socket.send(to_message(header, parts, compress=compress))

    connection = _Connection(endpoint, give_up_s=give_up_s, say=say, now_s=now_s())
    while not client.is_done:
        timers_s = (client.next_timer_s(), connection.next_timer_s)
        due_s = min((timer for timer in timers_s if timer is not None), default=None)
        ready = socket.wait(None if due_s is None else due_s - now_s())
        for is_connected in socket.connection_events() if ready.connection else ():
            connection.changed(is_connected, now_s=now_s())
            if is_connected:
                socket.forget()  # what the connection before brought would mislead
                send(client.connected(now_s=now_s()))
            else:
                client.disconnected()
        connection.check(now_s=now_s())
        began_s = time.process_time()
        if ready.message and not ready.connection:  # else it comes with the next look
            message = from_message(socket.receive(), device=device)
            send(client.received(*message, now_s=now_s()))
            del message  # see `serve`
        else:
            send(client.handle_timer(now_s=now_s()))
        if cpu_share < 1:
            time.sleep((time.process_time() - began_s) * (1 / cpu_share - 1))
    if client.failure is not None:
        raise client.failure
