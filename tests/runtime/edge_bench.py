"""An edge session in virtual time that a test plays its devices and its worker to."""

from dataclasses import replace

import numpy as np

from headgate.runtime.edge.edge_events import (
    EdgeEffect,
    EdgeLimits,
    Ignored,
    ItemOutcome,
    RunBatch,
    SendTo,
)
from headgate.runtime.edge.edge_session import EdgeSession
from headgate.runtime.wire.messages import (
    Frame,
    Hello,
    Message,
    NamedTensor,
    Reject,
    RejectReason,
    Welcome,
)
from headgate.runtime.wire.wire import decode, encode
from profiles.manifests import small_manifest

MANIFEST = small_manifest({})
OTHER_MANIFEST = replace(MANIFEST, task="another")
SPLIT, OFFLOAD, LOCAL = 0, 1, 2
PROBABILITIES = (NamedTensor("probabilities", np.array([0.25, 0.75], np.float32)),)
DONE = ItemOutcome(PROBABILITIES, None, decode_s=0.0002, tail_s=0.004)


class Bench:
    """An edge session, its clock, and what it was last asked to run."""

    def __init__(self, limits: EdgeLimits | None = None) -> None:
        families = {m.digest: m for m in (MANIFEST, OTHER_MANIFEST)}
        self.session = EdgeSession(families, limits)
        self.now_s = 100.0
        self.running: RunBatch | None = None
        self.ignored: list[Ignored] = []

    def say(self, peer: bytes, message: Message, *, owner: str | None = None) -> list[Message]:
        """Let a peer say something; return what the edge says to that peer at once."""
        return self.raw(peer, encode(message), owner=owner)

    def raw(self, peer: bytes, parts: list[bytes], *, owner: str | None = None) -> list[Message]:
        effects = self.session.received(peer, parts, now_s=self.now_s, owner=owner)
        said = self.take(effects)
        assert all(to == peer for to, _ in said)
        return [message for _, message in said]

    def hello(self, *peers: bytes) -> None:
        for peer in peers:
            assert isinstance(self.say(peer, hello())[0], Welcome)

    def finish(
        self, outcome: ItemOutcome = DONE, *, after_s: float = 0.005
    ) -> list[tuple[bytes, Message]]:
        """Let the running batch end; return what the edge says to whom."""
        assert self.running is not None
        batch, self.running = self.running, None
        self.now_s += after_s
        outcomes = [outcome] * len(batch.items)
        return self.take(self.session.batch_finished(batch.batch_id, outcomes, now_s=self.now_s))

    def timer(self) -> list[tuple[bytes, Message]]:
        return self.take(self.session.handle_timer(now_s=self.now_s))

    def take(self, effects: list[EdgeEffect]) -> list[tuple[bytes, Message]]:
        said: list[tuple[bytes, Message]] = []
        for effect in effects:
            match effect:
                case SendTo(peer, parts):
                    said.append((peer, decode(parts)))
                case RunBatch():
                    assert self.running is None, "one batch at a time"
                    self.running = effect
                case Ignored():
                    self.ignored.append(effect)
        return said

    @property
    def running_ids(self) -> list[int]:
        return [] if self.running is None else [item.frame_id for item in self.running.items]


def hello(*, versions: tuple[int, ...] = (3, 2), digest: str = MANIFEST.digest) -> Hello:
    return Hello(versions, digest, max_message_bytes=4096)


def frame(frame_id: int, *, point: int = SPLIT, budget_ms: float = 100.0) -> Frame:
    return Frame(frame_id, point, round(1000 * budget_ms), b"features")


def reasons(messages: list[Message]) -> list[RejectReason]:
    return [message.reason for message in messages if isinstance(message, Reject)]


def rejections(said: list[tuple[bytes, Message]]) -> list[tuple[int | None, RejectReason]]:
    return [(m.frame_id, m.reason) for _, m in said if isinstance(m, Reject)]
