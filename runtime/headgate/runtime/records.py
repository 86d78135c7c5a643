"""What is written about each frame: one record, one JSON line.

The line's schema is documented in docs/frames.md. A record is made once, when the frame's fate is
known, and every captured frame ends in exactly one.
"""

import json
import math
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

from headgate.profiles.errors import DataError
from headgate.profiles.parse import parse

RECORD_SCHEMA = 2


class Source(Enum):
    """Who answered: the edge, the device itself, or nobody."""

    EDGE = "edge"
    LOCAL = "local"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Stages:
    """Where one frame's time went, in seconds; None where the frame did not pass that stage.

    `uplink_s` is the measured round trip less the edge's own durations, so it holds the downlink
    of the (small) answer too: the device cannot see the two apart without a common clock.
    """

    wait_s: float | None = None  # capture to start of compute
    head_s: float | None = None
    encode_s: float | None = None
    uplink_s: float | None = None
    queue_s: float | None = None
    decode_s: float | None = None
    tail_s: float | None = None
    total_s: float | None = None  # capture to record; not the sum: the shell takes time too


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the controller believed when it chose: rate, delay, and the chance to be on time."""

    rate_bps: float | None = None
    delay_s: float | None = None
    on_time: float | None = None


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """One frame's fate.

    `num_bytes` is what left the device for this frame (payload, without headers), whoever
    answered in the end; `point` is what was chosen, not what answered. `correct` is None where the
    truth is not known, False where it is and nobody answered. `quality` is the primary metric the
    family was measured to have for this kind of answer (0 without one). `answered_point` is the
    point whose answer it is, of a progressive frame the prefix that was used; None where the early
    exit answered, or nobody.
    """

    frame_id: int
    captured_s: float
    source: Source
    reason: str
    point: str | None
    kind: str | None
    num_bytes: int
    stages: Stages
    sla_s: float | None
    deadline_met: bool
    label: int | None
    label_name: str | None
    score: float | None
    correct: bool | None
    quality: float
    profile: str
    estimate: Estimate
    answered_point: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of docs/frames.md; durations are milliseconds there."""
        stages, estimate = self.stages, self.estimate
        return {
            "schema": RECORD_SCHEMA,
            "frame": self.frame_id,
            "captured_s": round(self.captured_s, 6),
            "source": self.source.value,
            "reason": self.reason,
            "point": self.point,
            "kind": self.kind,
            "bytes": self.num_bytes,
            "ms": {name: _ms(getattr(stages, f"{name}_s")) for name in _STAGES},
            "sla_ms": _ms(self.sla_s),
            "deadline_met": self.deadline_met,
            "label": self.label,
            "label_name": self.label_name,
            "score": _rounded(self.score, 4),
            "correct": self.correct,
            "quality": round(self.quality, 6),
            "answered_point": self.answered_point,
            "profile": self.profile,
            "estimate": {
                "mbps": _rounded(estimate.rate_bps and estimate.rate_bps / 1e6, 4),
                "delay_ms": _ms(estimate.delay_s),
                "on_time": _rounded(estimate.on_time, 3),
            },
        }

    def to_line(self) -> str:
        """Return the record as one line of JSON, without the newline."""
        return json.dumps(self.to_json(), separators=(",", ":"), allow_nan=False)


def record_from_json(value: Any, *, where: str) -> FrameRecord:
    """Return the record a JSON object describes, or raise DataError saying what is wrong."""
    schema = value.get("schema") if isinstance(value, dict) else None
    if not isinstance(schema, int) or not 1 <= schema <= RECORD_SCHEMA:
        raise DataError(
            f"{where}.schema: is {schema!r}, this version reads up to {RECORD_SCHEMA}; "
            "update Headgate, or give the frames file of a device"
        )
    line = parse(_Line, value, where=where, error=DataError)
    mbps = line.estimate.mbps
    return FrameRecord(
        frame_id=line.frame,
        captured_s=line.captured_s,
        source=line.source,
        reason=line.reason,
        point=line.point,
        kind=line.kind,
        num_bytes=line.bytes,
        stages=Stages(*(_s(getattr(line.ms, name)) for name in _STAGES)),
        sla_s=_s(line.sla_ms),
        deadline_met=line.deadline_met,
        label=line.label,
        label_name=line.label_name,
        score=line.score,
        correct=line.correct,
        quality=line.quality,
        answered_point=line.answered_point,
        profile=line.profile,
        estimate=Estimate(
            rate_bps=None if mbps is None else mbps * 1e6,
            delay_s=_s(line.estimate.delay_ms),
            on_time=line.estimate.on_time,
        ),
    )


def record_from_line(text: str, *, where: str) -> FrameRecord:
    """Return the record of one JSON line; `where` names file and line in errors."""
    try:
        value = json.loads(text)
    except ValueError as reason:
        raise DataError(f"{where}: not JSON ({reason}); remove the broken line") from None
    return record_from_json(value, where=where)


@dataclass(frozen=True, slots=True)
class _StagesLine:
    wait: float | None
    head: float | None
    encode: float | None
    uplink: float | None
    queue: float | None
    decode: float | None
    tail: float | None
    total: float | None


@dataclass(frozen=True, slots=True)
class _EstimateLine:
    mbps: float | None
    delay_ms: float | None
    on_time: float | None


@dataclass(frozen=True, slots=True)
class _Line:
    """The JSON object under its own names; `parse` checks it."""

    schema: int
    frame: int
    captured_s: float
    source: Source
    reason: str
    point: str | None
    kind: str | None
    bytes: int
    ms: _StagesLine
    sla_ms: float | None
    deadline_met: bool
    label: int | None
    label_name: str | None
    score: float | None
    correct: bool | None
    quality: float
    profile: str
    estimate: _EstimateLine
    answered_point: str | None = None  # not in schema 1


_STAGES = tuple(f.name for f in fields(_StagesLine))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 3)


def _s(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, digits)
