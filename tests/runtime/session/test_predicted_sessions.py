"""Device and edge together, in any order of events: what is decoded is what was encoded."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headgate.profiles.manifest import PointKind
from headgate.profiles.profile import Profile, allowed_points
from headgate.profiles.trace import named_trace
from headgate.runtime.codec.prediction import decode_split, encode_split, reference_distance
from headgate.runtime.edge.edge_events import (
    BatchItem,
    EdgeEffect,
    EdgeLimits,
    ItemOutcome,
    RunBatch,
    SendTo,
)
from headgate.runtime.edge.edge_session import EdgeSession
from headgate.runtime.records import FrameRecord, Source
from headgate.runtime.session.device_session import DeviceSession
from headgate.runtime.session.events import Compute, Computed, Deliver, Effect, Send
from headgate.runtime.simulation.simulate import Link, Pace, Scenario, simulate
from headgate.runtime.wire.headers import SPOKEN_VERSIONS
from headgate.runtime.wire.messages import Frame, Hello, NamedTensor, Reject, RejectReason
from headgate.runtime.wire.wire import decode, encode
from runtime.ladders import ladder_manifest
from runtime.predicted import Integers, drifting, predicted_manifest

MANIFEST = predicted_manifest()
ALL = Profile(name="all", kinds=(PointKind.SPLIT,), points=("*-p",))
ONE = Profile(name="one", kinds=(PointKind.SPLIT,), points=("b1r1-l16-p",))
SHAPE = MANIFEST.members[0].features.shape
SCORES = np.array([0.2, 0.8], np.float32)
PEER = b"camera"


@dataclass
class World:
    """One device and one edge; messages wait in queues until a step lets them through."""

    limits: EdgeLimits = field(default_factory=EdgeLimits)
    profile: Profile = ONE
    scene_seed: int = 1

    def __post_init__(self) -> None:
        self.now_s = 100.0
        self.rejects: list[Reject] = []
        self.decoded = self.predicted = 0
        self.encoded: dict[tuple[int, bytes], list[Integers]] = {}
        self.up: deque[list[bytes]] = deque()
        self.down: deque[list[bytes]] = deque()
        self.start_device()
        self.start_edge()

    # --- what can happen

    def start_device(self) -> None:
        """Start the program on the device anew: frame ids start at 0 again."""
        self.device = DeviceSession(
            manifest=MANIFEST, profile=self.profile, points=allowed_points(self.profile, MANIFEST)
        )
        self.scene_seed += 1
        self.scene = drifting(SHAPE, 400, levels=16, seed=self.scene_seed)
        self.records: list[FrameRecord] = []
        self.computing: Compute | None = None
        self.next_id = 0
        self.connected = False

    def start_edge(self) -> None:
        self.edge = EdgeSession({MANIFEST.digest: MANIFEST}, self.limits)
        self.running: RunBatch | None = None
        self.cut()

    def cut(self) -> None:
        """Cut the connection: what is on its way is lost."""
        self.up.clear()
        self.down.clear()
        if self.connected:
            self.connected = False
            self.obey(self.device.disconnected(now_s=self.now_s))

    def connect(self) -> None:
        if not self.connected:
            self.connected = True
            self.obey(self.device.connected(now_s=self.now_s))

    def capture(self) -> None:
        if self.next_id < len(self.scene):
            self.next_id += 1
            now_s = self.now_s
            self.obey(self.device.frame_captured(self.next_id - 1, captured_s=now_s, now_s=now_s))

    def compute(self) -> None:
        if self.computing is None:
            return
        job, self.computing = self.computing, None
        integers = self.scene[job.frame_id]
        payload = encode_split(job.point, integers, job.reference)
        self.encoded.setdefault((job.frame_id, payload), []).append(integers)
        outcome = Computed(payload, None, 0.001, 0.001, integers)
        self.obey(self.device.computed(job.frame_id, outcome, now_s=self.now_s))

    def deliver_up(self) -> None:
        if self.up:
            parts = self.up.popleft()
            self.obey_edge(self.edge.received(PEER, parts, now_s=self.now_s))

    def deliver_down(self) -> None:
        if self.down:
            parts = self.down.popleft()
            message = decode(parts)
            if isinstance(message, Reject):
                self.rejects.append(message)
            self.obey(self.device.received(parts, now_s=self.now_s))

    def infer(self) -> None:
        if self.running is None:
            return
        batch, self.running = self.running, None
        outcomes = [self.decode(item) for item in batch.items]
        effects = self.edge.batch_finished(batch.batch_id, outcomes, now_s=self.now_s)
        self.obey_edge(effects)

    def wait(self) -> None:
        self.now_s += 0.3
        self.obey(self.device.handle_timer(now_s=self.now_s))
        self.obey_edge(self.edge.handle_timer(now_s=self.now_s))

    # --- what comes of it

    def decode(self, item: BatchItem) -> ItemOutcome:
        decoded = decode_split(item.point, item.payload, item.reference, shape=SHAPE)
        # More than one only if two lives of the device sent the same bytes under the same id.
        expected = self.encoded[item.frame_id, item.payload]
        assert any(np.array_equal(decoded, integers) for integers in expected)
        self.decoded += 1
        self.predicted += reference_distance(item.payload) > 0
        tensors = (NamedTensor("probabilities", SCORES),)
        return ItemOutcome(tensors, None, 0.0, 0.001, decoded=decoded)

    def obey(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(_, messages):
                    if self.connected:
                        self.up.extend(messages)
                case Compute():
                    assert self.computing is None
                    self.computing = effect
                case Deliver(record, _):
                    self.records.append(record)

    def obey_edge(self, effects: list[EdgeEffect]) -> None:
        for effect in effects:
            if isinstance(effect, SendTo):
                self.down.append(effect.parts)
            elif isinstance(effect, RunBatch):
                self.running = effect

    # --- the usual course

    def settle(self, *, waits: int = 0) -> None:
        """Let everything through until nothing moves, and again after each of so many waits."""
        self.let_through()
        for _ in range(waits):
            self.wait()
            self.let_through()  # a batch that ran on would teach the edge that it takes so long

    def let_through(self) -> None:
        for _ in range(200):
            if not (self.up or self.down or self.running or self.computing):
                break
            for step in (self.compute, self.deliver_up, self.infer, self.deliver_down):
                step()

    def play(self, num: int) -> None:
        for _ in range(num):
            self.now_s += 0.03
            self.capture()
            self.settle()


@settings(max_examples=60, deadline=None)
@example([0] * 29 + [1, 2] + [0] * 14 + [1, 198, 198, 0, 62], EdgeLimits())
@example([0] * 40 + [1, 67, 0, 33, 54, 1, 190, 195, 162, 44], EdgeLimits())
@given(
    st.lists(st.integers(0, 199), min_size=50, max_size=250),
    st.sampled_from(
        [EdgeLimits(), EdgeLimits(max_references=1), EdgeLimits(max_reference_bytes=300)]
    ),
)
def test_whatever_happens_what_is_decoded_is_what_was_encoded(
    choices: list[int], limits: EdgeLimits
) -> None:
    world = World(limits, ALL)
    world.connect()
    world.settle()
    for choice in choices:
        world.now_s += 0.005
        match choice:
            case 190 | 191:
                world.start_edge()
            case 192:
                world.cut()
                world.start_device()
            case 193 | 194:
                world.cut()
            case 195 | 196 | 197:
                world.connect()
            case 198 | 199:
                world.wait()
            case _:
                usual = (world.capture, world.compute, world.deliver_up, world.infer)
                (*usual, world.deliver_down)[choice % 5]()
    world.connect()
    world.settle(waits=40)
    world.play(4)
    allowed = {RejectReason.UNKNOWN_PEER, RejectReason.BUSY, RejectReason.LOST_REFERENCE}
    assert {reject.reason for reject in world.rejects} <= allowed
    if limits == EdgeLimits():
        assert RejectReason.LOST_REFERENCE not in {reject.reason for reject in world.rejects}
    assert world.records[-1].source is Source.EDGE


def test_frames_after_the_first_are_predicted_and_all_are_answered() -> None:
    world = World()
    world.connect()
    world.settle()
    world.play(30)
    assert [record.source for record in world.records] == [Source.EDGE] * 30
    assert (world.decoded, world.predicted) == (30, 29)


def test_an_edge_that_restarts_gets_whole_frames_first() -> None:
    world = World()
    world.connect()
    world.settle()
    world.play(5)
    world.start_edge()
    world.connect()
    world.settle()
    world.play(5)
    assert (world.decoded, world.predicted) == (10, 8)
    assert world.rejects == []


def test_an_edge_that_dropped_the_reference_says_so_and_the_next_frame_goes_whole() -> None:
    world = World(EdgeLimits(max_reference_bytes=1))
    world.connect()
    world.settle()
    world.play(6)
    # The connection is not paused for it: every other frame is whole and answered.
    assert [reject.reason for reject in world.rejects] == [RejectReason.LOST_REFERENCE] * 3
    assert [record.source for record in world.records] == [Source.EDGE, Source.NONE] * 3
    assert "refers to frame 0" in world.rejects[0].detail


def test_a_lagging_answer_leads_to_an_older_reference_not_to_a_wrong_one() -> None:
    world = World()
    world.connect()
    world.settle()
    world.play(2)
    for _ in range(4):
        world.capture()
        world.compute()
    while world.up:  # several frames wait at the edge at once, all against frame 1
        world.deliver_up()
    world.settle()
    assert world.predicted == 5
    assert world.rejects == []


def test_the_memory_of_an_edge_is_bounded_and_freed_with_the_device() -> None:
    limits = EdgeLimits(max_references=3)
    edge = EdgeSession({MANIFEST.digest: MANIFEST}, limits)
    hello = encode(Hello(SPOKEN_VERSIONS, MANIFEST.digest, 1 << 20))
    frames = drifting(SHAPE, 20, levels=16, seed=9)
    point = MANIFEST.point("b1r1-l16-p")
    index = MANIFEST.index_of(point.id)
    for peer in (b"a", b"b"):
        edge.received(peer, hello, now_s=0.0)
        for frame_id, integers in enumerate(frames):
            payload = encode_split(point, integers, None)
            message = Frame(frame_id, index, 100_000, payload)
            effects = edge.received(peer, encode(message), now_s=0.0)
            (batch,) = [effect for effect in effects if isinstance(effect, RunBatch)]
            outcome = ItemOutcome(
                (NamedTensor("probabilities", SCORES),), None, 0.0, 0.0, decoded=integers
            )
            edge.batch_finished(batch.batch_id, [outcome], now_s=0.0)
    assert edge.stats(now_s=0.0).reference_bytes == 2 * 3 * 144
    edge.received(b"a", hello, now_s=1.0)  # a new life: its frame ids may start anew
    assert edge.stats(now_s=1.0).reference_bytes == 3 * 144
    edge.handle_timer(now_s=1000.0)
    assert edge.stats(now_s=1000.0).reference_bytes == 0


def credit(records: list[FrameRecord]) -> float:
    return sum(record.quality for record in records if record.deadline_met) / len(records)


def test_on_a_link_too_slow_for_whole_frames_the_better_predicted_point_is_found() -> None:
    link, pace = Link(named_trace("steady:1"), 0.02), Pace(fps=30, duration_s=10)
    plain = simulate(
        ladder_manifest(), Scenario(profile=Profile("any"), link=link, pace=pace, sla_s=0.1)
    )
    records = simulate(MANIFEST, Scenario(profile=Profile("any"), link=link, pace=pace, sla_s=0.1))
    # 10 kB whole would take 80 ms of every 33; 2.5 kB predicted take 20.
    assert {r.point for r in records[-100:]} == {"b1r1-l18-p", "b1r1-l19-p"}
    assert credit(records[-100:]) > credit(plain[-100:]) + 0.03


def test_a_link_that_is_cut_costs_whole_frames_and_no_rejection() -> None:
    link = Link(named_trace("steady:4"), 0.02, cuts=((3.0, 4.0), (6.0, 6.5)))
    pace = Pace(fps=30, duration_s=10)
    records = simulate(MANIFEST, Scenario(profile=Profile("any"), link=link, pace=pace, sla_s=0.1))
    assert not any("lost_reference" in record.reason for record in records)
    late = records[-40:]
    assert all(record.source is Source.EDGE for record in late)
    assert {record.point for record in late} == {"b1r1-l20-p"}
