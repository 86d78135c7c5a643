"""What is written about each frame: one record, one JSON line, and the summary of a run.

The line's schema is documented in docs/frames.md. A record is made once, when the frame's fate is
known, and every captured frame ends in exactly one.
"""

import json
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from headgate.profiles.errors import DataError

RECORD_SCHEMA = 1


class Source(StrEnum):
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

    wait_s: float | None = None
    head_s: float | None = None
    encode_s: float | None = None
    uplink_s: float | None = None
    queue_s: float | None = None
    decode_s: float | None = None
    tail_s: float | None = None
    total_s: float | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the controller believed when it chose: rate, delay, and the chance to be on time."""

    rate_bps: float | None = None
    delay_s: float | None = None
    on_time: float | None = None


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """One frame's fate. `correct` is None where the truth is not known or nobody answered.

    `num_bytes` is what left the device for this frame (payload, without headers), whoever
    answered in the end; `point` is what was chosen, not what answered.
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
    profile: str
    estimate: Estimate

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of docs/frames.md; times are milliseconds there."""
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
            "ms": {name: _ms(getattr(stages, f"{name}_s")) for name in STAGE_NAMES},
            "sla_ms": _ms(self.sla_s),
            "deadline_met": self.deadline_met,
            "label": self.label,
            "label_name": self.label_name,
            "score": None if self.score is None else round(self.score, 4),
            "correct": self.correct,
            "profile": self.profile,
            "estimate": {
                "mbps": None if estimate.rate_bps is None else round(estimate.rate_bps / 1e6, 4),
                "delay_ms": _ms(estimate.delay_s),
                "on_time": None if estimate.on_time is None else round(estimate.on_time, 3),
            },
        }

    def to_line(self) -> str:
        """Return the record as one line of JSON, without the newline."""
        return json.dumps(self.to_json(), separators=(",", ":"), allow_nan=False)


STAGE_NAMES = ("wait", "head", "encode", "uplink", "queue", "decode", "tail", "total")


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 3)
