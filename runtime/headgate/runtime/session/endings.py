"""How a frame ends: once, in a record, and with all told who keep something of it.

The record says what answered, when, and what that answer is worth by what was measured at export.
"""

import math
from math import prod

import numpy as np

from headgate.profiles.errors import WireError
from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.profiles.progressive import prefixes_of
from headgate.runtime.choice.own_answers import exit_quality
from headgate.runtime.choice.policy import Policy
from headgate.runtime.records import FrameRecord, Source, Stages
from headgate.runtime.session.events import Answer, Deliver
from headgate.runtime.session.frame_fate import UNREADABLE, FrameOnItsWay
from headgate.runtime.session.outbox import Outbox
from headgate.runtime.session.rescue import Rescues
from headgate.runtime.wire.messages import Result

EdgeAnswer = tuple[Answer, OperatingPoint | None]  # and the point that it was made at


class Endings:
    """Ends the frames of one session, each once."""

    def __init__(
        self, manifest: Manifest, *, policy: Policy, outbox: Outbox, rescues: Rescues
    ) -> None:
        self._manifest = manifest
        self._policy, self._outbox, self._rescues = policy, outbox, rescues

    def here(
        self,
        frame: FrameOnItsWay,
        answer: Answer | None,
        reason: str,
        *,
        asks_edge: bool = True,
        now_s: float,
    ) -> Deliver:
        """End a frame with the device's own answer, or with none; `reason` goes into its record.

        `asks_edge`: if its point sends, then the edge let it down; else nobody was to ask the edge.
        """
        source = Source.NONE if answer is None else Source.LOCAL
        return self._end(frame, answer, source, reason, asks_edge=asks_edge, now_s=now_s)

    def read(self, frame: FrameOnItsWay, result: Result) -> EdgeAnswer:
        """Return the edge's answer to a frame; raises WireError if it is none to that."""
        answer = read_answer(result, self._manifest)
        return answer, _answered_point(frame, result, self._manifest)

    def by_edge(
        self,
        frame: FrameOnItsWay,
        edge_answer: EdgeAnswer,
        result: Result,
        *,
        uplink_s: float | None,
        now_s: float,
    ) -> Deliver:
        """End a frame with the edge's answer, as `read` has it from the result.

        `uplink_s` is the time on the network, if it is known.
        """
        answer, frame.answered = edge_answer
        return self._end(
            frame, answer, Source.EDGE, "edge", result=result, uplink_s=uplink_s, now_s=now_s
        )

    def _end(
        self,
        frame: FrameOnItsWay,
        answer: Answer | None,
        source: Source,
        reason: str,
        *,
        asks_edge: bool = True,
        result: Result | None = None,
        uplink_s: float | None = None,
        now_s: float,
    ) -> Deliver:
        assert not frame.ended
        frame.ended = True
        record = _record(
            frame,
            answer,
            source,
            reason,
            stages=_stages(frame, result=result, uplink_s=uplink_s, now_s=now_s),
            in_time=frame.deadline_s is None or now_s <= frame.deadline_s,
            manifest=self._manifest,
        )
        self._outbox.drop(frame.frame_id)
        # What is kept back, or could not be computed, says nothing of the link.
        sends = frame.point is not None and frame.point.kind is not PointKind.LOCAL
        asked = sends and asks_edge
        if asked:
            self._rescues.ended(frame, record)
        if reason != UNREADABLE:  # else no choice could have answered it
            on_time = record.estimate.on_time
            by_edge = source is Source.EDGE and record.deadline_met if asked else None
            self._policy.finished(
                frame.point,
                missed=not record.deadline_met,
                on_time=on_time,
                trusted=frame.trusted,
                by_edge=by_edge,
            )
        return Deliver(record, answer)


def _record(
    frame: FrameOnItsWay,
    answer: Answer | None,
    source: Source,
    reason: str,
    *,
    stages: Stages,
    in_time: bool,
    manifest: Manifest,
) -> FrameRecord:
    label = None if answer is None else answer.label
    known = label is not None and 0 <= label < len(manifest.labels)
    return FrameRecord(
        frame_id=frame.frame_id,
        captured_s=frame.captured_s,
        source=source,
        reason=reason,
        point=None if frame.point is None else frame.point.id,
        answered_point=_answered_id(frame, source),
        kind=None if frame.point is None else frame.point.kind.value,
        num_bytes=frame.num_bytes,
        stages=stages,
        sla_s=frame.sla_s,
        deadline_met=in_time and source is not Source.NONE,
        label=label,
        label_name=manifest.labels[label] if known and label is not None else None,
        score=None if answer is None else answer.score,
        correct=None if frame.truth is None else label == frame.truth,
        quality=_quality(frame, source, manifest),
        profile=frame.profile,
        estimate=frame.estimate,
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
    # A sum is finite only if every number is; it takes half as long as looking at each. That of
    # very large ones is not, which NumPy would print a warning of.
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(scores.sum())
    if not math.isfinite(total) and not np.isfinite(scores).all():
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
