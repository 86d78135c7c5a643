"""One frame on its way through the device, and the record it ends in."""

import math
from dataclasses import dataclass, field
from math import prod

import numpy as np

from headgate.profiles.errors import WireError
from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.profiles.progressive import prefixes_of
from headgate.runtime.events import Answer, Deliver
from headgate.runtime.guard import LEAST_S
from headgate.runtime.layer_worth import LayerPlan
from headgate.runtime.messages import MAX_BUDGET_US, NO_BUDGET_US, Result
from headgate.runtime.own_answers import exit_quality
from headgate.runtime.records import Estimate, FrameRecord, Source, Stages
from headgate.runtime.skipping import Chances, SkipRule

NOT_SENT = "not sent"  # the reason in the frame's record


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Times of the session that are not the profile's."""

    guard_s: float = LEAST_S  # the exit's answer is delivered at least so long before the deadline
    give_up_s: float = 2.0  # a frame without insurance is given up so long after its deadline
    give_up_without_sla_s: float = 10.0  # after capture
    rescue: bool = True  # answer locally what the edge lets down
    skip: SkipRule | None = None  # split frames that need not be sent; None: all are


DEFAULT_SETTINGS = SessionSettings()


@dataclass(slots=True)
class FrameOnItsWay:
    """What is known of a frame that has no record yet. SLA and point are set when it starts."""

    frame_id: int
    captured_s: float
    truth: int | None
    profile: str = ""
    sla_s: float | None = None
    point: OperatingPoint | None = None
    estimate: Estimate = field(default_factory=Estimate)
    started_s: float | None = None
    head_s: float | None = None
    encode_s: float | None = None
    sent_bytes: list[int] = field(default_factory=list)  # payload of each message that left
    num_layers_sent: int = 0  # whole ones
    insurance: Answer | None = None  # the device's answer, while the edge's is awaited
    last_call_s: float | None = None  # when to look whether the device has to step in
    rescue_reason: str | None = None  # why it does
    rescue: OperatingPoint | None = None  # and at which point; `point` stays what was chosen
    rescued: bool = False  # `insurance` is the answer of `rescue`
    chances: Chances | None = None  # of being right, where sure frames are skipped
    layers: LayerPlan | None = None  # how to send it layer by layer
    answered: OperatingPoint | None = None  # the point of the edge's answer: a prefix of `point`
    ended: bool = False  # it has its record

    @property
    def num_bytes(self) -> int:
        """Payload that left the device."""
        return sum(self.sent_bytes)

    @property
    def deadline_s(self) -> float | None:
        return None if self.sla_s is None else self.captured_s + self.sla_s

    def left_whole_s(self, now_s: float) -> float | None:
        """Return the time left of a frame that goes whole; None of others, and without an SLA.

        What becomes of one in layers hangs on which of them have come, too.
        """
        if self.deadline_s is None or self.layers is not None:
            return None
        return self.deadline_s - now_s

    @property
    def late_reason(self) -> str:
        """Say why the edge has not answered when its time is over: perhaps it never was asked."""
        return "edge too late" if self.num_bytes else NOT_SENT

    def is_called_by(self, by_s: float) -> bool:
        """Whether the look at this frame is due by then."""
        return self.last_call_s is not None and self.last_call_s <= by_s


def budget_us(frame: FrameOnItsWay, *, delay_s: float, now_s: float) -> int:
    """Return what the edge may use of a frame sent now: what is left less the path's delay.

    The edge counts from the frame's arrival, and the time of transfer is not known before. So a
    frame that was long on its way is computed in vain rather than rejected in error.
    """
    if frame.deadline_s is None:
        return NO_BUDGET_US
    left_s = frame.deadline_s - now_s - delay_s
    return min(MAX_BUDGET_US, max(0, round(left_s * 1e6)))


def deliver(
    frame: FrameOnItsWay,
    answer: Answer | None,
    *,
    source: Source,
    reason: str,
    manifest: Manifest,
    now_s: float,
    result: Result | None = None,
    uplink_s: float | None = None,
) -> Deliver:
    """End a frame: return the effect that hands out its record."""
    assert not frame.ended
    frame.ended = True
    deadline_s = frame.deadline_s
    label = None if answer is None else answer.label
    known = label is not None and 0 <= label < len(manifest.labels)
    record = FrameRecord(
        frame_id=frame.frame_id,
        captured_s=frame.captured_s,
        source=source,
        reason=reason,
        point=None if frame.point is None else frame.point.id,
        answered_point=_answered_id(frame, source),
        kind=None if frame.point is None else frame.point.kind.value,
        num_bytes=frame.num_bytes,
        stages=_stages(frame, result=result, uplink_s=uplink_s, now_s=now_s),
        sla_s=frame.sla_s,
        deadline_met=source is not Source.NONE and (deadline_s is None or now_s <= deadline_s),
        label=label,
        label_name=manifest.labels[label] if known and label is not None else None,
        score=None if answer is None else answer.score,
        correct=None if frame.truth is None else label == frame.truth,
        quality=_quality(frame, source, manifest),
        profile=frame.profile,
        estimate=frame.estimate,
    )
    return Deliver(record, answer)


def deliver_result(
    frame: FrameOnItsWay,
    result: Result,
    *,
    manifest: Manifest,
    now_s: float,
    uplink_s: float | None,
) -> Deliver:
    """End a frame with the edge's answer; raises WireError, and leaves it open, if that is none."""
    answer = read_answer(result, manifest)
    frame.answered = _answered_point(frame, result, manifest)
    return deliver(
        frame,
        answer,
        source=Source.EDGE,
        reason="edge",
        manifest=manifest,
        now_s=now_s,
        result=result,
        uplink_s=uplink_s,
    )


def _answered_point(
    frame: FrameOnItsWay, result: Result, manifest: Manifest
) -> OperatingPoint | None:
    """Return the point that the answer was made at: of a progressive frame one of its prefixes."""
    planned = frame.point
    if planned is None or planned.prefix is None:
        return planned
    point = manifest.point_at(result.point_index)
    if point is not None and point in prefixes_of(planned, manifest.points):
        assert point.prefix is not None
        if point.prefix > frame.num_layers_sent:
            raise WireError(
                f"RESULT {result.frame_id}: made from {point.prefix} layers, of which "
                f"{frame.num_layers_sent} were sent; check the edge"
            )
        return point
    raise WireError(
        f"RESULT {result.frame_id}: point {result.point_index} is no prefix of {planned.id}, as "
        "which the frame was sent; check the edge"
    )


def read_answer(result: Result, manifest: Manifest) -> Answer:
    """Return the answer in an edge's result; raises WireError if it lacks the family's output."""
    outputs = {tensor.name: tensor.array for tensor in result.tensors}
    spec = manifest.outputs[0]
    scores = outputs.get(spec.name)
    if scores is None or scores.size == 0 or scores.size != prod(spec.shape):
        raise WireError(
            f"RESULT {result.frame_id}: tensors {sorted(outputs)}, expected {spec.name!r} "
            f"of shape {list(spec.shape)}; give device and edge the same family"
        )
    # A sum is finite only if every number is; it takes half as long as looking at each.
    if not math.isfinite(float(scores.sum())) and not np.isfinite(scores).all():
        raise WireError(f"RESULT {result.frame_id}: {spec.name!r} is not finite; check the edge")
    label = int(scores.argmax())
    return Answer(outputs, label, float(scores.item(label)))


def _answered_id(frame: FrameOnItsWay, source: Source) -> str | None:
    """Return the id of the point whose answer the record holds; None for an exit's, or none."""
    if source is Source.EDGE:
        return None if frame.answered is None else frame.answered.id
    if source is Source.LOCAL and frame.rescued and frame.rescue is not None:
        return frame.rescue.id
    own = source is Source.LOCAL and frame.point is not None
    if own and frame.point is not None and frame.point.kind is PointKind.LOCAL:
        return frame.point.id
    return None


def _stages(
    frame: FrameOnItsWay, *, result: Result | None, uplink_s: float | None, now_s: float
) -> Stages:
    started_s = frame.started_s
    return Stages(
        wait_s=None if started_s is None else started_s - frame.captured_s,
        head_s=frame.head_s,
        encode_s=frame.encode_s,
        uplink_s=uplink_s,
        queue_s=None if result is None else result.queue_us / 1e6,
        decode_s=None if result is None else result.decode_us / 1e6,
        tail_s=None if result is None else result.tail_us / 1e6,
        total_s=now_s - frame.captured_s,
    )


def _quality(frame: FrameOnItsWay, source: Source, manifest: Manifest) -> float:
    """Return the measured quality of what answered: of the exit where that did."""
    if source is Source.LOCAL and frame.rescued and frame.rescue is not None:
        return manifest.quality(frame.rescue)
    point = frame.point if frame.answered is None else frame.answered
    if source is Source.NONE or point is None:
        return 0.0
    if frame.chances is not None:
        # What is skipped is easy and what is sent is hard: means over all frames fit neither.
        return frame.chances.edge if source is Source.EDGE else frame.chances.exit
    if source is Source.LOCAL and point.kind is PointKind.SPLIT:
        return exit_quality(manifest, point)
    return manifest.quality(point)
