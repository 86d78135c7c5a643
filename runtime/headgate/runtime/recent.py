"""A high quantile of the last samples of something: how bad it gets, lately.

Of a few samples it is the largest, so that one bad case is believed at once; of many, what all but
a few stay below, so that a single one is not held against it for ever.
"""

from bisect import bisect_left, insort
from collections import deque
from math import ceil

NUM_SAMPLES = 100


class RecentHigh:
    """Keeps the last NUM_SAMPLES samples; older ones are forgotten."""

    def __init__(self, quantile: float) -> None:
        self._quantile = quantile
        self._samples: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, sample: float) -> None:
        """Take one sample."""
        if len(self._samples) == NUM_SAMPLES:
            del self._sorted[bisect_left(self._sorted, self._samples.popleft())]
        self._samples.append(sample)
        insort(self._sorted, sample)

    def high(self) -> float:
        """Return the quantile; 0 before the first sample."""
        if not self._sorted:
            return 0.0
        return self._sorted[ceil(self._quantile * len(self._sorted)) - 1]
