"""An edge in virtual time that tests send layers of progressive frames to."""

import numpy as np

from headgate.runtime.edge.edge_events import (
    BatchItem,
    EdgeEffect,
    EdgeLimits,
    Ignored,
    ItemOutcome,
    RunBatch,
    SendTo,
)
from headgate.runtime.edge.edge_session import EdgeSession
from headgate.runtime.wire.messages import (
    Ack,
    Goodbye,
    Hello,
    Message,
    NamedTensor,
    Probe,
    Reject,
    Result,
    Welcome,
    stamp_us,
)
from headgate.runtime.wire.wire import decode, encode
from runtime.layered import LAYERED, P3, layers

UPLINK_S = 0.010  # the least delay to the edge
OFFSET_S = 1000.0  # the edge's clock is ahead of the devices' by that
TAIL_S = 0.008
PROBABILITIES = (NamedTensor("probabilities", np.array([0.25, 0.75], np.float32)),)


class Bench:
    """An edge whose tail takes TAIL_S a batch, its clock, and all it was asked to run and say."""

    def __init__(self, limits: EdgeLimits | None = None, *peers: bytes, version: int = 3) -> None:
        self.session = EdgeSession({LAYERED.digest: LAYERED}, limits)
        self.now_s = OFFSET_S
        self.said: list[tuple[bytes, Message]] = []
        self.items: list[tuple[BatchItem, float]] = []  # and when their batch began
        self.batches: list[RunBatch] = []
        self.ends_s: float | None = None
        self.late_s = 0.0  # of its timers and of what it is told of finished batches
        self.version = version
        if version > 2:
            self.warm_up()
        for peer in peers or (b"a",):
            self.greet(peer)

    def greet(self, peer: bytes) -> None:
        versions = tuple(range(self.version, 1, -1))
        self.say(peer, Hello(versions, LAYERED.digest, 1 << 20))
        assert isinstance(self.said.pop()[1], Welcome)
        if self.version > 2:
            self.say(peer, Probe(0, b"", stamp_us(self.device_s)))
            self.said.pop()

    def warm_up(self) -> None:
        """Let the edge learn that a batch takes TAIL_S, whatever its size."""
        self.greet(b"warm")
        frame_id = 0
        for num in range(1, 5):
            for _ in range(num + 1):  # one runs at once, the others after it
                frame_id += 1
                sent_s = self.device_s
                self.layers(frame_id, 0, 3, sent_s=sent_s, deadline_s=None, peer=b"warm")
            self.run_until(self.now_s + 1.0)
        self.say(b"warm", Goodbye())
        self.said.clear()
        self.items.clear()
        self.batches.clear()

    @property
    def device_s(self) -> float:
        """What the devices' clock said when a message left that comes now without having waited."""
        return self.now_s - OFFSET_S - UPLINK_S

    def say(self, peer: bytes, message: Message) -> None:
        self.obey(
            self.session.received(peer, encode(message, version=self.version), now_s=self.now_s)
        )

    def layers(
        self,
        frame_id: int,
        first: int,
        num: int = 1,
        *,
        sent_s: float,
        deadline_s: float | None,
        peer: bytes = b"a",
        point: int = P3,
        last: bool = False,
    ) -> None:
        """Let layers come now that were sent at `sent_s`."""
        self.say(
            peer,
            layers(
                frame_id, first, num, point=point, sent_s=sent_s, deadline_s=deadline_s, last=last
            ),
        )

    def run_until(self, until_s: float) -> None:
        """Let time pass, timers and batches included: all of them are late by `late_s`."""
        while True:
            timer_s = self.session.next_timer_s()
            late_s = None if timer_s is None else timer_s + self.late_s
            due_s = min(
                (each for each in (late_s, self.ends_s) if each is not None), default=until_s
            )
            if due_s >= until_s:
                break
            self.now_s = max(self.now_s, due_s)
            if self.ends_s is not None and self.ends_s <= self.now_s:
                batch, self.ends_s = self.batches[-1], None
                done = ItemOutcome(PROBABILITIES, None, decode_s=0.0, tail_s=TAIL_S)
                effects = self.session.batch_finished(
                    batch.batch_id, [done] * len(batch.items), now_s=self.now_s
                )
            else:
                effects = self.session.handle_timer(now_s=self.now_s)
            self.obey(effects)
        self.now_s = until_s

    def obey(self, effects: list[EdgeEffect]) -> None:
        for effect in effects:
            match effect:
                case SendTo(peer, parts):
                    self.said.append((peer, decode(parts)))
                case RunBatch():
                    assert self.ends_s is None, "one batch at a time"
                    self.ends_s = self.now_s + TAIL_S + self.late_s
                    self.batches.append(effect)
                    self.items += [(item, self.now_s) for item in effect.items]
                case Ignored():
                    pass

    @property
    def results(self) -> list[Result]:
        return [message for _, message in self.said if isinstance(message, Result)]

    @property
    def acks(self) -> list[Ack]:
        return [message for _, message in self.said if isinstance(message, Ack)]

    @property
    def rejects(self) -> list[Reject]:
        return [message for _, message in self.said if isinstance(message, Reject)]
