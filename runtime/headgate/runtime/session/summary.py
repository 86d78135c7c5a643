"""The summary of a run: counted while frames are delivered, in memory that does not grow."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from headgate.runtime.records import FrameRecord, Source

SUMMARY_SCHEMA = 2  # 1 had no `by_answer`
EXIT = "early exit"  # in `by_answer`: it is no operating point
# Latencies are kept as counts in bins 1 % wide: exact enough for a quantile, whatever the length.
_BIN_WIDTH = math.log(1.01)
_SMALLEST_S = 1e-6


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run came to. Shares are of all captured frames unless the name says otherwise.

    `accuracy_in_time` is over frames answered within the SLA whose truth is known, `credited`
    over all frames whose truth is known (late and unanswered ones count as wrong);
    `expected_credited` is the same with the accuracy the family was measured to have in place of
    the truth, so it is known always.
    """

    frames: int
    answered: int
    within_sla: int
    accuracy_in_time: float | None
    credited: float | None
    expected_credited: float
    num_bytes: int
    by_source: dict[str, int]
    by_point: dict[str, int]  # of frames for which a point was chosen
    by_answer: dict[str, int]  # of answered frames: the point that the answer is from, or EXIT
    by_reason: dict[str, int]
    switches: int  # frames chosen another point than the one delivered before
    latency_p50_s: float | None  # of answered frames, to within 1 %
    latency_p95_s: float | None
    latency_p99_s: float | None
    first_captured_s: float | None
    last_captured_s: float | None

    def to_json(self) -> dict[str, Any]:
        """Return one JSON object; durations are milliseconds there, as in docs/frames.md."""

        def _ms(seconds: float | None) -> float | None:
            return None if seconds is None else round(1000 * seconds, 3)

        return {
            "schema": SUMMARY_SCHEMA,
            "frames": self.frames,
            "answered": self.answered,
            "within_sla": self.within_sla,
            "accuracy_in_time": self.accuracy_in_time,
            "credited": self.credited,
            "expected_credited": self.expected_credited,
            "bytes": self.num_bytes,
            "by_source": self.by_source,
            "by_point": self.by_point,
            "by_answer": self.by_answer,
            "by_reason": self.by_reason,
            "switches": self.switches,
            "latency_ms": {
                "p50": _ms(self.latency_p50_s),
                "p95": _ms(self.latency_p95_s),
                "p99": _ms(self.latency_p99_s),
            },
            "first_captured_s": self.first_captured_s,
            "last_captured_s": self.last_captured_s,
        }


def sent_text(summary: Summary) -> str:
    """Say how much was sent, in all and for a captured frame."""
    mean_bytes = summary.num_bytes / max(1, summary.frames)
    return f"{summary.num_bytes / 1000:.1f} kB, {mean_bytes:.0f} B a frame"


class Tally:
    """Adds records up; `summary` may be asked at any time."""

    def __init__(self) -> None:
        self._frames = self._answered = self._within_sla = self._num_bytes = self._switches = 0
        self._truths = self._correct_in_time = self._truths_in_time = 0
        self._expected = 0.0
        self._by_source: Counter[str] = Counter({source.value: 0 for source in Source})
        self._by_point: Counter[str] = Counter()
        self._by_answer: Counter[str] = Counter()
        self._by_reason: Counter[str] = Counter()
        self._latency_bins: Counter[int] = Counter()
        self._last_point: str | None = None
        self._first_captured_s: float | None = None
        self._last_captured_s: float | None = None

    def add(self, record: FrameRecord) -> None:
        """Count one frame. Records come in order of delivery."""
        self._frames += 1
        self._by_source[record.source.value] += 1
        self._by_reason[record.reason] += 1
        self._num_bytes += record.num_bytes
        if record.point is not None:
            self._by_point[record.point] += 1
            self._switches += self._last_point not in (None, record.point)
            self._last_point = record.point
        in_time = record.source is not Source.NONE and record.deadline_met
        if record.source is not Source.NONE:
            self._answered += 1
            self._by_answer[_answer(record)] += 1
            if record.stages.total_s is not None:
                self._latency_bins[_bin(record.stages.total_s)] += 1
        if in_time:
            self._within_sla += 1
            self._expected += record.quality
        if record.correct is not None:
            self._truths += 1
            self._truths_in_time += in_time
            self._correct_in_time += in_time and record.correct
        if self._first_captured_s is None or record.captured_s < self._first_captured_s:
            self._first_captured_s = record.captured_s
        if self._last_captured_s is None or record.captured_s > self._last_captured_s:
            self._last_captured_s = record.captured_s

    def summary(self) -> Summary:
        """Return what was added so far."""
        return Summary(
            frames=self._frames,
            answered=self._answered,
            within_sla=self._within_sla,
            accuracy_in_time=_share(self._correct_in_time, self._truths_in_time),
            credited=_share(self._correct_in_time, self._truths),
            expected_credited=self._expected / max(1, self._frames),
            num_bytes=self._num_bytes,
            by_source=dict(self._by_source),
            by_point=dict(self._by_point.most_common()),
            by_answer=dict(self._by_answer.most_common()),
            by_reason=dict(self._by_reason.most_common()),
            switches=self._switches,
            latency_p50_s=self._latency_s(0.50),
            latency_p95_s=self._latency_s(0.95),
            latency_p99_s=self._latency_s(0.99),
            first_captured_s=self._first_captured_s,
            last_captured_s=self._last_captured_s,
        )

    def _latency_s(self, quantile: float) -> float | None:
        rank = quantile * self._answered
        for index in sorted(self._latency_bins):
            rank -= self._latency_bins[index]
            if rank <= 0:
                return _SMALLEST_S * math.exp((index + 0.5) * _BIN_WIDTH)
        return None


def _answer(record: FrameRecord) -> str:
    """Say what a frame's answer is from. Records of schema 1 do not say it of the edge's."""
    if record.answered_point is not None:
        return record.answered_point
    return EXIT if record.source is Source.LOCAL or record.point is None else record.point


def _bin(latency_s: float) -> int:
    return math.floor(math.log(max(latency_s, _SMALLEST_S) / _SMALLEST_S) / _BIN_WIDTH)


def _share(part: int, whole: int) -> float | None:
    return None if whole == 0 else part / whole
