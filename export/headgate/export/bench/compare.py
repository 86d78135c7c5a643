"""Put runs, measured and simulated, on one scale: accuracy credited to frames that were in time.

A frame counts with the validation accuracy of whatever answered it, if the answer met the SLA, and
with 0 otherwise. This needs no truth, so simulated and measured runs can stand side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headgate.runtime.records import FrameRecord, record_from_line
from headgate.runtime.session.summary import Summary, Tally


@dataclass(frozen=True, slots=True)
class RunScore:
    """One run by name. Shares are of all frames captured."""

    name: str
    measured: bool  # False: simulated
    summary: Summary

    @property
    def credited(self) -> float:
        return self.summary.expected_credited

    @property
    def in_time(self) -> float:
        return self.summary.within_sla / max(1, self.summary.frames)

    @property
    def mean_bytes(self) -> float:
        return self.summary.num_bytes / max(1, self.summary.frames)

    def to_json(self) -> dict[str, Any]:
        """Return the object that `summary.json` of the demo holds for this run."""
        how = "measured" if self.measured else "simulated"
        return {"name": self.name, "how": how, **self.summary.to_json()}


def score_run(records: Iterable[FrameRecord], *, name: str, measured: bool) -> RunScore:
    """Sum up all frames of a run."""
    tally = Tally()
    for record in records:
        tally.add(record)
    return RunScore(name, measured, tally.summary())


def best(scores: Sequence[RunScore]) -> RunScore | None:
    """Return the run with the highest credited accuracy; of equals the one with fewer bytes."""
    return max(scores, key=lambda score: (score.credited, -score.mean_bytes), default=None)


def read_frames(path: Path) -> list[FrameRecord]:
    """Read a device's frames file."""
    with path.open(encoding="utf-8") as lines:
        return [
            record_from_line(line, where=f"{path}:{number}")
            for number, line in enumerate(lines, start=1)
        ]
