"""Which work is so short that handing it to another thread would cost more than it saves.

A hand-over there and back costs two wake-ups, 0.05 ms on an idle machine and several times that on
a busy one (measured: a third of the time of a small head). Work that takes less than `QUICK_S` is
done where it is; the socket's own thread goes on sending and receiving meanwhile, so all that waits
is a decision, and no longer than this.
"""

QUICK_S = 0.001
GAIN = 0.2
MIN_RUNS = 3  # the first runs of a graph are slow: judge after so many


class Quickness:
    """Remembers how long each kind of work took."""

    def __init__(self) -> None:
        self._mean_s: dict[str, float] = {}
        self._num_runs: dict[str, int] = {}

    def took(self, kind: str, duration_s: float) -> None:
        """Learn from one run, wherever it was done."""
        mean_s = self._mean_s.get(kind, duration_s)
        self._mean_s[kind] = mean_s + GAIN * (duration_s - mean_s)
        self._num_runs[kind] = self._num_runs.get(kind, 0) + 1

    def is_quick(self, kind: str) -> bool:
        """Return whether work of this kind should be done at once, without another thread."""
        return self._num_runs.get(kind, 0) >= MIN_RUNS and self._mean_s[kind] < QUICK_S
