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
from headgate.train.split_training.payload import Payload
from headgate.train.split_training.server import Outgoing, SplitServer
from headgate.train.split_training.transport import ClientSocket, ServerSocket
from headgate.train.split_training.wire_parcels import from_message, to_message

FAREWELL_S = 10.0  # how long a server that ends waits for GOODBYEs of all that it knows
GIVE_UP_S = 300.0
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


def train_as_client(
    client: SplitClient,
    socket: ClientSocket,
    *,
    device: torch.device,
    compress: bool,
    give_up_s: float = GIVE_UP_S,
    endpoint: str = "",
    cpu_share: float = 1.0,
    now_s: Callable[[], float] = time.monotonic,
) -> None:
    """Train until the server says that all is done; raises what made it stop before.

    With a `cpu_share` below 1 it rests after each step for as long as a processor of that share
    would have taken longer.
    """

    def send(out: Sequence[tuple[Header, tuple[Payload, ...]]]) -> None:
        for header, parts in out:
            socket.send(to_message(header, parts, compress=compress))

    lost_s: float | None = now_s()  # since when there is no connection
    while not client.is_done:
        timers_s = [client.next_timer_s(), None if lost_s is None else lost_s + give_up_s]
        due_s = min((timer for timer in timers_s if timer is not None), default=None)
        ready = socket.wait(None if due_s is None else due_s - now_s())
        for is_connected in socket.connection_events() if ready.connection else ():
            lost_s = None if is_connected else lost_s or now_s()
            if is_connected:
                socket.forget()  # what the connection before brought would mislead
                send(client.connected(now_s=now_s()))
            else:
                client.disconnected()
        if lost_s is not None and now_s() >= lost_s + give_up_s:
            raise PeerError(
                f"--server {endpoint}: no connection for {give_up_s:g} s; start the server, or "
                "check address and keys, and repeat the command, where it has a --state with "
                "--resume"
            )
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
