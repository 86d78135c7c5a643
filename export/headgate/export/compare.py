"""Score runs, measured and simulated, on one scale: accuracy credited to frames that were in time.

A frame counts with the validation accuracy of whatever answered it, if the answer met the SLA, and
with 0 otherwise. This scale needs no truth, so that simulated and measured runs stand side by
side; where the truth is known, the share of frames that were right and in time is given as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from headgate.profiles.manifest import Manifest, PointKind
from headgate.runtime.records import FrameRecord, Source


@dataclass(frozen=True, slots=True)
class RunScore:
    """What one run amounts to. Shares are of all frames captured."""

    name: str
    measured: bool  # False: simulated
    num_frames: int
    answered: float
    in_time: float
    credited: float
    correct_in_time: float | None  # None where the truth is not known
    median_latency_s: float | None
    mean_bytes: float
    point_shares: dict[str, float]

    def to_json(self) -> dict[str, object]:
        """Return the object that `summary.json` holds for this run."""
        return {
            "name": self.name,
            "how": "measured" if self.measured else "simulated",
            "frames": self.num_frames,
            "answered": round(self.answered, 4),
            "in_time": round(self.in_time, 4),
            "accuracy_credited": round(self.credited, 4),
            "correct_in_time": None
            if self.correct_in_time is None
            else round(self.correct_in_time, 4),
            "median_latency_ms": None
            if self.median_latency_s is None
            else round(1000 * self.median_latency_s, 2),
            "mean_bytes": round(self.mean_bytes, 1),
            "points": {key: round(share, 4) for key, share in self.point_shares.items()},
        }


def score_run(
    records: Sequence[FrameRecord], *, name: str, measured: bool, manifest: Manifest
) -> RunScore:
    """Score all frames of a run that was captured with one family."""
    count = max(1, len(records))
    met = [record for record in records if record.deadline_met]
    known = [record for record in records if record.correct is not None]
    latencies_s = sorted(r.stages.total_s for r in records if r.stages.total_s is not None)
    points = Counter(record.point for record in records if record.point is not None)
    return RunScore(
        name=name,
        measured=measured,
        num_frames=len(records),
        answered=sum(record.source is not Source.NONE for record in records) / count,
        in_time=len(met) / count,
        credited=sum(expected_accuracy(record, manifest) for record in met) / count,
        correct_in_time=sum(bool(r.correct) for r in met) / count if known else None,
        median_latency_s=latencies_s[len(latencies_s) // 2] if latencies_s else None,
        mean_bytes=sum(record.num_bytes for record in records) / count,
        point_shares={point: n / count for point, n in points.most_common()},
    )


def expected_accuracy(record: FrameRecord, manifest: Manifest) -> float:
    """Return the validation accuracy of what answered this frame, 0 if nothing did."""
    if record.source is Source.NONE or record.point is None:
        return 0.0
    point = manifest.point(record.point)
    if record.source is Source.LOCAL and point.kind is PointKind.SPLIT and point.member:
        # Sent, but the edge was late: the early exit on the head's features answered.
        return manifest.member(point.member).exit_metrics[manifest.primary_metric]
    return point.metrics[manifest.primary_metric]


def best(scores: Sequence[RunScore]) -> RunScore | None:
    """Return the run with the highest credited accuracy; of equals the one with fewer bytes."""
    return max(scores, key=lambda score: (score.credited, -score.mean_bytes), default=None)
