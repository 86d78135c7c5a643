"""A device and an edge that talk while connections break, edges restart and sockets are full.

Each side is held to its rules by tests of its own; here both play together, with an uplink that
keeps the order, so that neither has to take the other's word for what it does.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest

from headgate.profiles.manifest import PointKind
from headgate.profiles.profile import Profile, allowed_points
from headgate.runtime.edge.edge_events import (
    BatchItem,
    EdgeEffect,
    EdgeLimits,
    ItemOutcome,
    RunBatch,
    SendTo,
)
from headgate.runtime.edge.edge_session import EdgeSession
from headgate.runtime.session.device_session import DeviceSession
from headgate.runtime.session.events import (
    Answer,
    Compute,
    Computed,
    ComputeFailed,
    Deliver,
    Effect,
    Send,
)
from headgate.runtime.wire.identities import device_identity
from headgate.runtime.wire.messages import NamedTensor, Reject
from headgate.runtime.wire.wire import decode
from runtime.ladders import ladder_manifest, progressive_manifest
from runtime.predicted import predicted_manifest

MANIFESTS = (progressive_manifest(), predicted_manifest(), ladder_manifest())
PROFILES = (
    Profile("all"),
    Profile("split", kinds=(PointKind.SPLIT,)),
    Profile("split or local", kinds=(PointKind.SPLIT, PointKind.LOCAL)),
)
EXIT = Answer({"probabilities": np.array([0.3, 0.7], np.float32)}, 1, 0.7)
PROBABILITIES = (NamedTensor("probabilities", np.array([0.25, 0.75], np.float32)),)
INTEGERS = np.zeros((1, 12, 12), np.uint8)
CLOCKS_S = 5000.0  # the edge's is ahead
MANY = 400  # timers at one moment: one of the sessions wakes for nothing


class Storm:
    """Both sessions in virtual time, and all that may come between them."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.manifest = rng.choice(MANIFESTS)
        profile = rng.choice(PROFILES)
        self.device = DeviceSession(
            manifest=self.manifest,
            profile=profile,
            points=allowed_points(profile, self.manifest),
            sla_s=rng.choice([0.05, 0.1, 0.3, None]),
        )
        self.limits = EdgeLimits(
            max_in_flight=rng.choice([1, 8]),
            max_batch=rng.choice([1, 4]),
            max_queued=rng.choice([2, 256]),
            max_held_bytes=rng.choice([60_000, 1 << 28]),
        )
        self.rate_bps, self.delay_s = 10 ** rng.uniform(5.5, 8), rng.choice([0.002, 0.02, 0.3])
        self.full = rng.choice([0.0, 0.02])  # the share of messages that the socket does not take
        self.now_s, self.connection, self.up = 1000.0, 0, False
        self.edge, self.life = EdgeSession({self.manifest.digest: self.manifest}, self.limits), 0
        self.free_s = self.back_s = 0.0  # of the uplink, and when the last answer comes
        self.heap: list[tuple[float, int, Callable[[], None]]] = []
        self.num_planned = self.num_captured = 0
        self.records: Counter[int] = Counter()
        self.rejected: Counter[str] = Counter()

    def at(self, time_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self.heap, (time_s, self.num_planned, action))
        self.num_planned += 1

    def run(self) -> None:
        """Capture for some seconds, then wait for all records."""
        rng, end_s, capture_s = self.rng, self.now_s + self.rng.uniform(0.5, 2.5), self.now_s
        self.at(self.now_s, self.connect)
        period_s = rng.choice([0.008, 0.033, 0.1])
        while capture_s < end_s:
            capture_s += period_s * rng.choice([0.1, 1, 1, 2])
            self.at(capture_s, self.capture)
        for _ in range(rng.randrange(6)):
            happening = rng.choice([self.cut, self.connect, self.restart, self.forget, self.switch])
            self.at(rng.uniform(self.now_s, end_s), happening)
        at_once = rng.random() < 0.3
        last_s = max(end_s, capture_s)
        self.at(last_s, lambda: self.obey(self.device.finish(now_s=self.now_s, at_once=at_once)))
        self.play(until_s=last_s + 60.0, done=lambda: self.device.drained)
        assert self.device.drained
        self.play(until_s=self.now_s + 400.0, done=lambda: False)

    def play(self, *, until_s: float, done: Callable[[], bool]) -> None:
        num_at_once = 0
        while not done():
            edge_s = self.edge.next_timer_s()
            device_s = self.device.next_timer_s()
            due = [self.heap[0][0]] if self.heap else []
            due += [] if device_s is None else [device_s]
            due += [] if edge_s is None else [edge_s - CLOCKS_S]
            if not due or min(due) > until_s:
                return
            num_at_once = num_at_once + 1 if min(due) <= self.now_s else 0
            assert num_at_once < MANY
            self.now_s = max(self.now_s, min(due))
            if self.heap and self.heap[0][0] <= self.now_s:
                heapq.heappop(self.heap)[2]()
            elif device_s is not None and device_s <= self.now_s:
                self.obey(self.device.handle_timer(now_s=self.now_s))
            else:
                self.obey_edge(self.edge.handle_timer(now_s=self.now_s + CLOCKS_S))

    # --- what happens

    def connect(self) -> None:
        """Connect, or go on with another connection while the last one stands."""
        self.connection, self.up = self.connection + 1, True
        self.free_s = self.back_s = self.now_s
        self.obey(self.device.connected(now_s=self.now_s))

    def cut(self) -> None:
        self.up = False
        self.obey(self.device.disconnected(now_s=self.now_s))
        self.at(self.now_s + self.rng.choice([0.01, 0.5]), self.connect)

    def restart(self) -> None:
        self.forget()
        self.cut()

    def forget(self) -> None:
        """Put another edge behind the connection, as a proxy does: it knows nobody."""
        self.edge = EdgeSession({self.manifest.digest: self.manifest}, self.limits)
        self.life += 1

    def switch(self) -> None:
        profile = self.rng.choice(PROFILES)
        points = allowed_points(profile, self.manifest)
        self.device.set_profile(profile, points, now_s=self.now_s)

    def capture(self) -> None:
        frame_id, self.num_captured = self.num_captured, self.num_captured + 1
        now_s = self.now_s
        self.obey(self.device.frame_captured(frame_id, captured_s=now_s, now_s=now_s))

    # --- the device's shell

    def obey(self, effects: Sequence[Effect]) -> None:
        not_taken: set[int | None] = set()
        for effect in effects:
            match effect:
                case Compute():
                    took_s = self.rng.choice([0.0, 0.001, 0.003, 0.02])
                    self.at(self.now_s + took_s, partial(self.compute, effect))
                case Send(frame_id, messages):
                    full = frame_id in not_taken or self.rng.random() < self.full
                    if self.up and not full:
                        self.send_up(messages)
                        continue
                    if frame_id is not None:
                        not_taken.add(frame_id)
                    self.obey(self.device.send_failed(frame_id, now_s=self.now_s))
                case Deliver(record, _):
                    self.records[record.frame_id] += 1

    def compute(self, job: Compute) -> None:
        outcome = ComputeFailed("no memory") if self.rng.random() < 0.02 else self.outcome(job)
        self.obey(self.device.computed(job.frame_id, outcome, now_s=self.now_s))

    def outcome(self, job: Compute) -> Computed:
        point = job.point
        if point.kind is PointKind.LOCAL:
            return Computed(None, EXIT, 0.001, 0.0)
        num_bytes = max(1, round(point.bytes.mean * self.rng.uniform(0.5, 1.3)))
        if point.prefix is not None:
            sizes = [num_bytes // point.prefix + 1] * point.prefix
            layers = tuple(map(bytes, sizes))
            return Computed(b"".join(layers), EXIT, 0.001, 0.0, layers=layers)
        distance = 0 if job.reference is None else job.reference.distance
        insurance = EXIT if point.kind is PointKind.SPLIT else None
        return Computed(bytes([distance]) + bytes(num_bytes), insurance, 0.001, 0.0, INTEGERS)

    # --- the way there and back

    def send_up(self, messages: tuple[list[bytes], ...]) -> None:
        connection, life = self.connection, self.life
        identity = device_identity(bytes(16), connection)
        for parts in messages:
            self.free_s = max(self.free_s, self.now_s) + 8 * sum(map(len, parts)) / self.rate_bps

            def arrive(parts: list[bytes] = parts) -> None:
                if self.up and (connection, life) == (self.connection, self.life):
                    now_s = self.now_s + CLOCKS_S
                    self.obey_edge(self.edge.received(identity, parts, now_s=now_s))

            self.at(self.free_s + self.delay_s / 2, arrive)

    def obey_edge(self, effects: Sequence[EdgeEffect]) -> None:
        for effect in effects:
            if isinstance(effect, SendTo):
                self.send_back(effect)
            elif isinstance(effect, RunBatch):
                self.at(
                    self.now_s + self.rng.choice([0.0025, 0.03]),
                    partial(self.finish, effect, self.life),
                )

    def send_back(self, effect: SendTo) -> None:
        message, connection = decode(effect.parts), self.connection
        if isinstance(message, Reject):
            self.rejected[message.reason.name.lower()] += 1
        self.back_s = max(self.back_s, self.now_s + self.delay_s / 2)

        def arrive() -> None:
            if self.up and connection == self.connection:
                self.obey(self.device.received(effect.parts, now_s=self.now_s))

        if effect.peer == device_identity(bytes(16), connection):
            self.at(self.back_s, arrive)

    def finish(self, batch: RunBatch, life: int) -> None:
        if life != self.life:
            return
        outcomes = [self.answer(item) for item in batch.items]
        now_s = self.now_s + CLOCKS_S
        self.obey_edge(self.edge.batch_finished(batch.batch_id, outcomes, now_s=now_s))

    def answer(self, item: BatchItem) -> ItemOutcome:
        decoded = INTEGERS if item.point.kind is PointKind.SPLIT and not item.layers else None
        return ItemOutcome(PROBABILITIES, None, 0.0002, 0.001, decoded=decoded)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_each_frame_ends_once_and_neither_side_breaks_the_rules(seed: int) -> None:
    storm = Storm(seed)
    storm.run()
    assert storm.records == Counter(range(storm.num_captured))
    assert storm.rejected["malformed"] == 0
    if storm.life == 0:
        assert storm.rejected["lost_reference"] == 0
    stats = storm.edge.stats(now_s=storm.now_s + CLOCKS_S)
    assert (stats.num_peers, stats.frames_queued, stats.reference_bytes) == (0, 0, 0)
