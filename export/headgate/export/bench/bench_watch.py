"""Watch another process from outside: processor time and resident memory over time (Linux).

Growth of memory is the slope of a line through the samples, per frame: one leaked Python object a
frame, the smallest of which has 16 bytes, is far steeper than what allocators do on their own.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SMALLEST_OBJECT_BYTES = 16
EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a process; `at_s` is the system's monotonic clock."""

    at_s: float
    cpu_s: float  # since its start, user and system
    resident_bytes: int


class Watch:
    """What was seen of one process so far."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.samples: list[Sample] = []

    def look(self) -> None:
        """Take a sample, unless the process is gone or the system does not say."""
        sample = read_sample(self._pid)
        if sample is not None:
            self.samples.append(sample)

    def between(self, began_s: float, ended_s: float) -> list[Sample]:
        """Return the samples of a stretch of time."""
        return [sample for sample in self.samples if began_s <= sample.at_s <= ended_s]

    def cpu_s(self, began_s: float, ended_s: float) -> float:
        """Return the processor time spent in a stretch of time; 0 where it is not known."""
        return self._cpu_at_s(ended_s) - self._cpu_at_s(began_s) if self.samples else 0.0

    def _cpu_at_s(self, at_s: float) -> float:
        """Return the processor time up to then, in a straight line between samples."""
        index = bisect_left(self.samples, at_s, key=lambda sample: sample.at_s)
        if index == 0 or index == len(self.samples):
            return self.samples[min(index, len(self.samples) - 1)].cpu_s
        before, after = self.samples[index - 1], self.samples[index]
        share = (at_s - before.at_s) / (after.at_s - before.at_s)
        return before.cpu_s + share * (after.cpu_s - before.cpu_s)


@contextlib.contextmanager
def watching(pid: int) -> Iterator[Watch]:
    """Watch a process from a thread beside this block."""
    watch, ended = Watch(pid), threading.Event()

    def _look() -> None:
        while not ended.wait(EVERY_S):
            watch.look()

    thread = threading.Thread(target=_look, name="watch", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        thread.join()


def read_sample(pid: int) -> Sample | None:
    """Return how a process is now, or None where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        resident = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return None
    after_name = fields.rpartition(")")[2].split()  # the name may hold anything
    ticks = int(after_name[11]) + int(after_name[12])
    pages = int(resident)
    return Sample(
        time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")
    )


def growth_bytes_per_s(samples: Sequence[Sample]) -> float:
    """Return the slope of resident memory by least squares; 0 for fewer than two samples."""
    if len(samples) < 2:
        return 0.0
    mean_s = sum(sample.at_s for sample in samples) / len(samples)
    mean_bytes = sum(sample.resident_bytes for sample in samples) / len(samples)
    spread = sum((sample.at_s - mean_s) ** 2 for sample in samples)
    rises = ((s.at_s - mean_s) * (s.resident_bytes - mean_bytes) for s in samples)
    return sum(rises) / spread
