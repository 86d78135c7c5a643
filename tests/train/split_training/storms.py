"""A server and clients whose connections, messages and processes fail at random, in virtual time.

Everything but sockets and clock is real: sessions, halves, checkpoints on disk. A cut loses what is
on its way to the client and all but the first messages on their way to the server, which may still
come after the client has greeted again. A restart leaves what is on disk.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch

from headgate.profiles.train_messages import Kind, Place
from headgate.train.run.plan import Plan
from headgate.train.split_training.client import Message, SplitClient
from headgate.train.split_training.client_half import CARRIED
from headgate.train.split_training.epoch_record import DepruneEpoch
from headgate.train.split_training.halves import is_clients, is_servers, pack_side
from headgate.train.split_training.server import SplitServer
from headgate.train.split_training.server_run import ServerOptions, open_server
from headgate.train.split_training.settings import DepruneSettings
from train.split_training.small import CPU, Clock, small_client

TROUBLES = ("cut", "lose", "hasten", "restart client", "restart server")
MAX_EVENTS = 3000  # far more than any of these trainings needs
PATIENT_S = 1e6  # no client is ever given up
Trained = tuple[str, Place]


class KilledError(Exception):
    """Ends a server as a kill does: nothing is published."""


@dataclass(slots=True)
class Wire:
    """One connection, and what is on its way."""

    peer: bytes
    up: deque[Message] = field(default_factory=deque)
    down: deque[Message] = field(default_factory=deque)


@dataclass(slots=True)
class Seat:
    """One client, in whichever process; `checkpoint_steps` of 0 means at epochs' ends."""

    name: str
    share: tuple[int, int]
    folder: Path | None
    checkpoint_steps: int
    client: SplitClient
    wire: Wire | None = None


@dataclass(frozen=True, slots=True)
class World:
    """What is trained, and how its processes keep themselves."""

    plan: Plan
    settings: DepruneSettings
    folder: Path
    num_clients: int = 1
    keeps_state: bool = True  # of the clients, on disk
    checkpoint_steps: int = 1
    client_timeout_s: float = PATIENT_S


class Storm:
    """One training; `draw` says what happens next."""

    def __init__(self, world: World, draw: random.Random | None = None) -> None:
        self._world = world
        self._draw = draw or random.Random(0)
        self._clock = Clock()
        self._held = ExitStack()
        self._late: list[Wire] = []  # cut, with messages that will yet arrive
        self._num_peers = 0
        self.happened: list[str] = []
        self.records: list[DepruneEpoch] = []
        self.trained: list[Trained] = []  # by the server, less what it lost with a restart
        self._kept_trained: list[Trained] = []
        self.server = self._start_server(resume=False)
        self.seats = [self._seat(number) for number in range(1, world.num_clients + 1)]

    def play(self, troubles: Sequence[str]) -> None:
        """Train to the end, with these troubles on the way."""
        left = list(troubles)
        for seat in self.seats:  # one after the other, so that their order is known
            self._connect(seat)
            wire = seat.wire
            assert wire is not None
            self._to_server(wire)
        for _ in range(MAX_EVENTS):
            if self.is_over:
                return
            if left and self._draw.random() < 0.15:
                self._trouble(left.pop())
            else:
                self._go_on()
        raise AssertionError(f"not finished: {self._where()}")

    def in_order(self, order: Sequence[Trained]) -> None:
        """Train without any trouble, batches in this order."""
        left = deque(order)
        names = [name for name, _ in order]
        for seat in sorted(self.seats, key=lambda seat: names.index(seat.name)):
            self._connect(seat)
            wire = seat.wire
            assert wire is not None
            self._to_server(wire)
        while not self.is_over:
            for seat in self.seats:
                while seat.client.works_alone:
                    self._say(seat, seat.client.handle_timer(now_s=self._clock.s))
            busy = [s.wire for s in self.seats if s.wire is not None and s.wire.up]
            other = [w for w in busy if w.up[0][0].kind is not Kind.BATCH]
            if any(s.wire is not None and s.wire.down for s in self.seats):
                for seat in self.seats:
                    if seat.wire is not None and seat.wire.down:
                        self._to_client(seat)
            elif other:
                self._to_server(other[0])
            else:
                name, place = left.popleft()
                (seat,) = (s for s in self.seats if s.name == name)
                assert seat.wire is not None
                assert seat.wire.up[0][0].place == place
                self._to_server(seat.wire)

    def close(self) -> None:
        """End the server; a finished one publishes its run."""
        if self.server.is_finished:
            self._held.close()
        else:
            self._kill_server()

    @property
    def is_over(self) -> bool:
        return self.server.is_finished and all(seat.client.is_done for seat in self.seats)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all that was trained: the server's half, each client's, rounding errors owed."""
        found = pack_side(self.server.half.model, self.server.half.optimizer, belongs=is_servers)
        for name, carried_P in self.server.half.carried().items():
            found[f"{name} {CARRIED}"] = carried_P
        for seat in self.seats:
            half = seat.client.half
            own = pack_side(half.model, half.optimizer, belongs=is_clients)
            own |= half.extra_state()
            found |= {f"{seat.name} {name}": tensor for name, tensor in own.items()}
        return found

    def _where(self) -> str:
        clients = [
            f"{s.name}: {s.client.session.state.name} at {s.client.session.place}, "
            f"{'on' if s.wire else 'off'}line"
            for s in self.seats
        ]
        server = f"server: epoch {self.server.session.epoch}, {self.server.session.roster.places}"
        return "; ".join([server, *clients, *self.happened[-40:]])

    def _seat(self, number: int) -> Seat:
        world, name = self._world, f"client{number}"
        share = (number, world.num_clients)
        folder = world.folder / name if world.keeps_state else None
        steps = world.checkpoint_steps
        return Seat(name, share, folder, steps, self._new_client(name, share, folder, resume=False))

    def _new_client(
        self, name: str, share: tuple[int, int], folder: Path | None, *, resume: bool
    ) -> SplitClient:
        world = self._world
        return small_client(
            world.plan,
            world.settings,
            name,
            share=share,
            folder=folder,
            resume=resume,
            checkpoint_steps=world.checkpoint_steps or None,
        )

    def _start_server(self, *, resume: bool) -> SplitServer:
        world = self._world
        options = ServerOptions(world.num_clients, world.client_timeout_s, resume=resume)
        opened = open_server(
            world.plan,
            world.settings,
            world.folder / "run",
            options=options,
            device=CPU,
            epoch_done=self._epoch_done,
            now_s=self._clock,
        )
        return self._held.enter_context(opened)

    def _epoch_done(self, record: DepruneEpoch) -> None:
        self.records.append(record)
        self._kept_trained = list(self.trained)

    def _kill_server(self) -> None:
        held, self._held = self._held, ExitStack()
        killed = KilledError()
        try:
            held.__exit__(KilledError, killed, None)
        except KilledError:
            return

    # What happens by itself.

    def _go_on(self) -> None:
        """Let one message arrive, or a connection be made; if there is none, let time pass."""
        up = [s.wire for s in self.seats if s.wire is not None and s.wire.up]
        up += [wire for wire in self._late if wire.up]
        down = [s for s in self.seats if s.wire is not None and s.wire.down]
        offline = [s for s in self.seats if s.wire is None and not s.client.is_done]
        number = self._draw.randrange(max(1, len(up) + len(down) + len(offline)))
        if number < len(up):
            self._to_server(up[number])
        elif number < len(up) + len(down):
            self._to_client(down[number - len(up)])
        elif offline:
            self._connect(offline[number - len(up) - len(down)])
        else:
            self._pass_time()

    def _connect(self, seat: Seat) -> None:
        self._num_peers += 1
        seat.wire = Wire(str(self._num_peers).encode())
        self.happened.append(f"{seat.name} connects")
        self._say(seat, seat.client.connected(now_s=self._clock.s))

    def _to_server(self, wire: Wire) -> None:
        header, parts = wire.up.popleft()
        session = self.server.session
        name, before = session.roster.name_at(wire.peer) or "", session.roster.places
        self.happened.append(f"server gets {header.kind.name} {header.place} of {name or 'nobody'}")
        now_s = self._clock.s
        out = self.server.received(wire.peer, header, parts, num_bytes=1, now_s=now_s)
        if header.kind is Kind.BATCH and session.roster.places.get(name) != before.get(name):
            self.trained.append((name, header.place))
        for each in out:
            for seat in self.seats:
                if seat.wire is not None and seat.wire.peer == each.peer:
                    seat.wire.down.append((each.header, each.parts))

    def _to_client(self, seat: Seat) -> None:
        assert seat.wire is not None
        header, parts = seat.wire.down.popleft()
        self.happened.append(f"{seat.name} gets {header.kind.name} {header.place} {header.status}")
        self._say(seat, seat.client.received(header, parts, now_s=self._clock.s))

    def _say(self, seat: Seat, messages: Sequence[Message]) -> None:
        assert seat.wire is not None
        assert seat.client.failure is None, f"{seat.client.failure}: {self._where()}"
        seat.wire.up.extend(messages)

    def _pass_time(self) -> None:
        sides: list[SplitServer | SplitClient] = [self.server]
        sides += [s.client for s in self.seats if s.wire is not None]
        timers_s = [t for t in (side.next_timer_s() for side in sides) if t is not None]
        assert timers_s, f"all wait for ever: {self._where()}"
        self._clock.s = max(self._clock.s, min(timers_s))
        self.happened.append(f"it is {self._clock.s:g} s")
        for seat in self.seats:
            if seat.wire is not None:
                self._say(seat, seat.client.handle_timer(now_s=self._clock.s))
        for each in self.server.handle_timer(now_s=self._clock.s):
            for seat in self.seats:
                if seat.wire is not None and seat.wire.peer == each.peer:
                    seat.wire.down.append((each.header, each.parts))

    # What goes wrong.

    def _trouble(self, which: str) -> None:
        seat = self._draw.choice(self.seats)
        self.happened.append(f"{which} ({seat.name})")
        match which:
            case "cut":
                self._cut(seat)
            case "lose":
                if seat.wire is not None:
                    queue = self._draw.choice([seat.wire.up, seat.wire.down])
                    if queue:
                        queue.popleft()
            case "hasten":
                self._pass_time_if_any()
            case "restart client":
                self._restart_client(seat)
            case "restart server":
                self._restart_server()
            case _:
                raise AssertionError(which)

    def _pass_time_if_any(self) -> None:
        """Let answers be late: time passes while they are on their way."""
        if any(s.wire is not None and s.client.next_timer_s() is not None for s in self.seats):
            self._pass_time()

    def _cut(self, seat: Seat) -> None:
        if seat.wire is None:
            return
        wire, seat.wire = seat.wire, None
        for _ in range(self._draw.randint(0, len(wire.up))):
            wire.up.pop()
        wire.down.clear()
        self._late.append(wire)
        seat.client.disconnected()

    def _restart_client(self, seat: Seat) -> None:
        if seat.client.is_done:
            return
        self._cut(seat)
        resume = seat.folder is not None
        seat.client = self._new_client(seat.name, seat.share, seat.folder, resume=resume)

    def _restart_server(self) -> None:
        if self.server.is_finished:
            return
        for seat in self.seats:
            self._cut(seat)
        self._late.clear()
        self._kill_server()
        self.trained = list(self._kept_trained)
        self.server = self._start_server(resume=True)
        self.records = self.records[: self.server.session.epoch]
