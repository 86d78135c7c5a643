"""A device session in virtual time that a test plays the edge and the engine to."""

from dataclasses import replace

import numpy as np

from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.profiles.profile import Profile, allowed_points
from headgate.runtime.choice.controller import Controller
from headgate.runtime.choice.policy import PolicyMaker
from headgate.runtime.records import FrameRecord
from headgate.runtime.session.device_session import DeviceSession
from headgate.runtime.session.events import Answer, Compute, Computed, Deliver, Effect, Send
from headgate.runtime.wire.messages import (
    Load,
    Message,
    NamedTensor,
    Probe,
    ProbeReply,
    Result,
    Welcome,
)
from headgate.runtime.wire.wire import decode, encode
from runtime.ladders import ladder_manifest

MANIFEST = ladder_manifest()
PROFILE = Profile(name="test")
SPLIT = Profile(name="split-only", kinds=(PointKind.SPLIT,))
OFFLOAD = Profile(name="offload-only", kinds=(PointKind.OFFLOAD,))
HELPED = Profile(name="helped", kinds=(PointKind.OFFLOAD, PointKind.LOCAL))
WELCOME = Welcome(3, MANIFEST.digest, max_payload_bytes=1 << 20, max_in_flight=8)
EXIT_ANSWER = Answer({"probabilities": np.array([0.3, 0.7], np.float32)}, 1, 0.7)


class Bench:
    """A session with its clock and what it asked for."""

    def __init__(
        self,
        profile: Profile = PROFILE,
        *,
        sla_s: float | None = 0.1,
        policy: PolicyMaker = Controller,
        manifest: Manifest = MANIFEST,
    ) -> None:
        points = allowed_points(profile, manifest)
        self._welcome = replace(WELCOME, family_digest=manifest.digest)
        self.session = DeviceSession(
            manifest=manifest, profile=profile, points=points, sla_s=sla_s, make_policy=policy
        )
        self.now_s = 100.0
        self.sent: list[Message] = []
        self.computes: list[Compute] = []
        self.records: list[FrameRecord] = []
        self.next_id = 0

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(_, messages):
                    self.sent += [decode(parts) for parts in messages]
                case Compute():
                    self.computes.append(effect)
                case Deliver(record, _):
                    self.records.append(record)

    def receive(self, message: Message) -> None:
        self.take(self.session.received(encode(message), now_s=self.now_s))

    def welcomed(self) -> "Bench":
        """Connect, and answer the greeting and the probes 20 ms later."""
        self.take(self.session.connected(now_s=self.now_s))
        self.now_s += 0.02
        self.receive(self._welcome)
        self.answer_probes()
        return self

    def answer_probes(self) -> None:
        self.now_s += 0.02
        probes = [message for message in self.sent if isinstance(message, Probe)]
        self.sent = [message for message in self.sent if not isinstance(message, Probe)]
        for probe in probes:
            self.receive(ProbeReply(probe.probe_id, round(self.now_s * 1e6), 0))

    def capture(self, *, truth: int | None = None) -> int:
        frame_id = self.next_id
        self.next_id += 1
        self.take(
            self.session.frame_captured(
                frame_id, captured_s=self.now_s, now_s=self.now_s, truth=truth
            )
        )
        return frame_id

    def capture_unreadable(self) -> int:
        """Capture a frame of which there is no picture."""
        frame_id = self.next_id
        self.next_id += 1
        now_s = self.now_s
        self.take(self.session.frame_unreadable(frame_id, captured_s=now_s, now_s=now_s))
        return frame_id

    def compute(self) -> OperatingPoint:
        """Finish the running compute at once."""
        effect = self.computes.pop()
        local = effect.point.kind is PointKind.LOCAL
        offload = effect.point.kind is PointKind.OFFLOAD
        outcome = Computed(None if local else b"x" * 500, None if offload else EXIT_ANSWER, 0, 0)
        self.take(self.session.computed(effect.frame_id, outcome, now_s=self.now_s))
        return effect.point

    def compute_next(self) -> OperatingPoint:
        """Capture a frame, finish its compute, and let the edge answer it if it was sent."""
        frame_id = self.capture()
        point = self.compute()
        if point.kind is not PointKind.LOCAL:
            self.now_s += 0.02
            self.receive(result(frame_id, now_s=self.now_s))
        return point

    def timer(self) -> None:
        due_s = self.session.next_timer_s()
        assert due_s is not None
        self.now_s = max(self.now_s, due_s)
        self.take(self.session.handle_timer(now_s=self.now_s))


def result(frame_id: int, *, label: int = 0, now_s: float = 100.0) -> Result:
    scores = np.array([0.9, 0.1] if label == 0 else [0.1, 0.9], np.float32)
    return Result(
        frame_id=frame_id,
        point_index=0,
        arrived_us=round(now_s * 1e6),
        residence_us=3000,
        queue_us=1000,
        decode_us=500,
        tail_us=1400,
        load=Load(0, 0),
        tensors=(NamedTensor("probabilities", scores),),
    )
