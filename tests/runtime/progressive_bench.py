"""A device's session of progressive frames, and an edge that the test plays."""

from collections.abc import Sequence

import numpy as np

from headgate.profiles.manifest import Manifest, PointKind
from headgate.profiles.profile import Profile, allowed_points
from headgate.runtime.choice.guard import LEAST_S
from headgate.runtime.records import FrameRecord
from headgate.runtime.session.device_session import DeviceSession
from headgate.runtime.session.events import (
    Answer,
    Complain,
    Compute,
    Computed,
    Deliver,
    Effect,
    Send,
)
from headgate.runtime.session.frame_fate import SessionSettings
from headgate.runtime.wire.messages import (
    Ack,
    Frame,
    Load,
    Message,
    NamedTensor,
    Probe,
    ProbeReply,
    Result,
    Welcome,
)
from headgate.runtime.wire.wire import decode, encode
from runtime.ladders import progressive_manifest

MANIFEST = progressive_manifest()
SIZES = [2000, 3000, 5000, 10_000, 30_000]  # of the layers: what each rung has over the last
RTT_S, TAIL_US = 0.02, 1500
SPLIT = Profile(name="split-only", kinds=(PointKind.SPLIT,))
EXIT_ANSWER = Answer({"probabilities": np.array([0.3, 0.7], np.float32)}, 1, 0.7)


class Bench:
    """A session with its clock, and an edge behind 10 ms of delay each way that the test plays."""

    def __init__(
        self,
        profile: Profile = SPLIT,
        *,
        version: int = 3,
        sla_s: float | None = 0.1,
        manifest: Manifest = MANIFEST,
        mbps: float = 20.0,
        guard_s: float = LEAST_S,
        exit_answer: Answer | None = EXIT_ANSWER,
    ) -> None:
        self.session = DeviceSession(
            manifest=manifest,
            profile=profile,
            points=allowed_points(profile, manifest),
            sla_s=sla_s,
            settings=SessionSettings(guard_s=guard_s),
        )
        self.exit_answer = exit_answer
        self.now_s = 100.0
        self.version = version
        self.frames: list[Frame] = []
        self.probes: list[Probe] = []
        self.computes: list[Compute] = []
        self.records: list[FrameRecord] = []
        self.complaints: list[str] = []
        self.next_id = 0
        self.take(self.session.connected(now_s=self.now_s))
        self.now_s += RTT_S
        self.receive(Welcome(version, manifest.digest, 1 << 20, 8))
        self.teach(mbps)

    def take(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(_, messages):
                    for message in map(decode, messages):
                        if isinstance(message, Frame):
                            self.frames.append(message)
                        elif isinstance(message, Probe):
                            self.probes.append(message)
                case Compute():
                    self.computes.append(effect)
                case Deliver(record, _):
                    self.records.append(record)
                case Complain(reason):
                    self.complaints.append(reason)

    def receive(self, message: Message) -> None:
        parts = encode(message, version=self.version)
        self.take(self.session.received(parts, now_s=self.now_s))

    def teach(self, mbps: float) -> None:
        """Answer the first probes: the second takes as long as a link of that rate."""
        small, large = self.probes
        self.now_s += RTT_S
        self.receive(ProbeReply(small.probe_id, self.edge_us(), 0))
        self.now_s += 8 * 1064 / (mbps * 1e6)
        self.receive(ProbeReply(large.probe_id, self.edge_us(), 0))

    def edge_us(self) -> int:
        """When what is answered now came to the edge, by its clock."""
        return round((self.now_s - RTT_S / 2 + 5000) * 1e6)

    def capture(self) -> int:
        frame_id, self.next_id = self.next_id, self.next_id + 1
        self.take(self.session.frame_captured(frame_id, captured_s=self.now_s, now_s=self.now_s))
        return frame_id

    def send(self) -> int:
        """Capture a frame and compute its layers at once."""
        frame_id = self.capture()
        self.compute()
        return frame_id

    def compute(self) -> None:
        job = self.computes.pop()
        assert job.point.prefix is not None
        layers = tuple(bytes(size) for size in SIZES[: job.point.prefix])
        outcome = Computed(b"".join(layers), self.exit_answer, 0.001, 0.0, layers=layers)
        self.take(self.session.computed(job.frame_id, outcome, now_s=self.now_s))

    def ack(self, frame_id: int, layers: int) -> None:
        self.receive(Ack(frame_id, layers, self.edge_us()))

    def answer(self, frame_id: int, prefix: int) -> None:
        scores = NamedTensor("probabilities", np.array([0.9, 0.1], np.float32))
        index = MANIFEST.index_of(f"s-p{prefix}")
        self.receive(
            Result(
                frame_id=frame_id,
                point_index=index,
                arrived_us=self.edge_us(),
                residence_us=500 + TAIL_US,
                queue_us=0,
                decode_us=500,
                tail_us=TAIL_US,
                load=Load(0, 0),
                tensors=(scores,),
            )
        )

    def timer(self) -> None:
        due_s = self.session.next_timer_s()
        assert due_s is not None
        self.now_s = max(self.now_s, due_s)
        self.take(self.session.handle_timer(now_s=self.now_s))


def layers_sent(bench: Bench, frame_id: int) -> int:
    """How many whole layers have left."""
    mine = [f for f in bench.frames if f.frame_id == frame_id and f.fragment + 1 == f.fragments]
    return sum(1 + len(f.more_layers) for f in mine)
