"""Small split trainings for tests: a LeNet on 32 pictures, all in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from headgate.profiles.train_messages import Header
from headgate.train.run.plan import Plan
from headgate.train.split_training.client import Message, SplitClient
from headgate.train.split_training.deprune import ClientOptions, make_client, prepare
from headgate.train.split_training.epoch_record import DepruneEpoch
from headgate.train.split_training.outgoing import Outgoing
from headgate.train.split_training.payload import Payload
from headgate.train.split_training.server import SplitServer
from headgate.train.split_training.server_run import ServerOptions, open_server
from headgate.train.split_training.settings import DepruneSettings, parse_schedule
from train.tiny_runs import tiny_config

CPU = torch.device("cpu")
NUM_STEPS = 4  # of an epoch of one client


def small_settings(schedule: str = "2:1,6:1", **changes: Any) -> DepruneSettings:
    """Return settings for split features.2 of a LeNet, which has 6 maps."""
    return DepruneSettings(parse_schedule(schedule), **changes)


def small_plan(pictures: Path, settings: DepruneSettings, **changes: object) -> Plan:
    return prepare(tiny_config(pictures, rate_weight=0.0, **changes), settings)


class Clock:
    """Virtual time, in seconds."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


@contextmanager
def small_server(
    plan: Plan,
    settings: DepruneSettings,
    out: Path,
    *,
    num_clients: int = 1,
    resume: bool = False,
    records: list[DepruneEpoch] | None = None,
) -> Iterator[SplitServer]:
    heard: list[DepruneEpoch] = [] if records is None else records
    with open_server(
        plan,
        settings,
        out,
        options=ServerOptions(num_clients, resume=resume),
        device=CPU,
        epoch_done=heard.append,
        now_s=Clock(),
    ) as server:
        yield server


def small_client(
    plan: Plan,
    settings: DepruneSettings,
    name: str = "ann",
    *,
    share: tuple[int, int] = (1, 1),
    folder: Path | None = None,
    resume: bool = False,
    checkpoint_steps: int | None = None,
) -> SplitClient:
    options = ClientOptions(
        name, share, folder=folder, resume=resume, checkpoint_steps=checkpoint_steps
    )
    return make_client(plan, settings, options, device=CPU)


def two_clients(plan: Plan, settings: DepruneSettings) -> list[SplitClient]:
    """Return ann and bo, who share the pictures."""
    return [
        small_client(plan, settings, name, share=(number, 2))
        for number, name in ((1, "ann"), (2, "bo"))
    ]


class Table:
    """Carries messages between a server and clients, and can lose them; time is the server's."""

    def __init__(self, server: SplitServer) -> None:
        self.server = server
        self.log: list[tuple[str, Header]] = []  # who said what, in order
        self._clients: dict[bytes, SplitClient] = {}
        self._to_server: list[tuple[bytes, Header, tuple[Payload, ...]]] = []
        self._num_peers = 0

    @property
    def now_s(self) -> float:
        return self.server.now_s()

    def connect(self, client: SplitClient) -> bytes:
        """Give a client a (new) connection; return the peer that it is to the server."""
        self._clients = {p: c for p, c in self._clients.items() if c is not client}
        self._to_server = [m for m in self._to_server if m[0] in self._clients]
        self._num_peers += 1
        peer = str(self._num_peers).encode()
        self._clients[peer] = client
        self._say(peer, client.connected(now_s=self.now_s))
        self._say(peer, self.alone(client))
        return peer

    def alone(self, client: SplitClient) -> list[Message]:
        """Let a client do all that it can without us; return what it then says."""
        said = []
        while client.works_alone:
            said += client.handle_timer(now_s=self.now_s)
        return said

    def cut(self, client: SplitClient) -> None:
        """Lose a client's connection, and what is on its way."""
        self._clients = {p: c for p, c in self._clients.items() if c is not client}
        self._to_server = [m for m in self._to_server if m[0] in self._clients]
        client.disconnected()

    def run(self, *, num_messages: int | None = None, lose_answers: bool = False) -> None:
        """Hand the server so many messages, and clients what it answers to them, or nothing."""
        while self._to_server and (num_messages is None or num_messages > 0):
            num_messages = None if num_messages is None else num_messages - 1
            self.hand(*self._to_server.pop(0), lose_answers=lose_answers)

    def hand(
        self,
        peer: bytes,
        header: Header,
        parts: tuple[Payload, ...],
        *,
        lose_answers: bool = False,
    ) -> list[Outgoing]:
        """Hand the server one message."""
        self.log.append((peer.decode(), header))
        out = self.server.received(peer, header, parts, num_bytes=1, now_s=self.now_s)
        for each in out:
            self.log.append(("server", each.header))
            client = self._clients.get(each.peer)
            if client is not None and not lose_answers:
                answers = client.received(each.header, each.parts, now_s=self.now_s)
                self._say(each.peer, [*answers, *self.alone(client)])
        return out

    def _say(self, peer: bytes, messages: Sequence[Message]) -> None:
        self._to_server += [(peer, header, parts) for header, parts in messages]

    @property
    def waiting(self) -> list[tuple[bytes, Header, tuple[Payload, ...]]]:
        return self._to_server


def weights_of(client: SplitClient, server: SplitServer) -> dict[str, torch.Tensor]:
    """Return both halves as one network's weights."""
    from headgate.train.split_training.halves import is_clients

    own, theirs = client.half.model.state_dict(), server.half.model.state_dict()
    return {name: (own if is_clients(name) else theirs)[name].clone() for name in own}


def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    """Return the names of weights that are not equal bit for bit."""
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]
