"""Which work is so short that handing it to another thread would cost more than it saves.

A hand-over there and back costs two wake-ups, 0.05 ms on an idle machine and several times that on
a busy one (measured: a third of the time of a small head). Work that takes less than `QUICK_S` is
done where it is; the socket's own thread goes on sending and receiving meanwhile, so all that waits
is a decision, and no longer than this.

Somewhat longer work may be done at once too while nothing ever comes in the meantime, as at an edge
with one device that sends one frame after the other. What does come then is noticed late, which
blurs the device's view of its link: so the first message that did ends it for many runs.
"""

QUICK_S = 0.001  # mean time up to which work is done where it is
ALONE_S = 0.005  # the same while nothing ever comes meanwhile
ALONE_RUNS = 16  # without anything that came meanwhile
GAIN = 0.2  # of a run, in the mean of its kind
MIN_RUNS = 3  # the first runs of a graph are slow: judge after so many


class Quickness:
    """Remembers how long each kind of work took, and whether anything came meanwhile."""

    def __init__(self) -> None:
        self._mean_s: dict[str, float] = {}
        self._num_runs: dict[str, int] = {}
        self._num_undisturbed = 0

    def took(self, kind: str, duration_s: float) -> None:
        """Learn from one run, wherever it was done."""
        mean_s = self._mean_s.get(kind, duration_s)
        self._mean_s[kind] = mean_s + GAIN * (duration_s - mean_s)
        self._num_runs[kind] = self._num_runs.get(kind, 0) + 1

    def was_alone(self, alone: bool) -> None:
        """Tell whether a run was undisturbed. Who never tells is never taken to be alone."""
        self._num_undisturbed = self._num_undisturbed + 1 if alone else 0

    def is_quick(self, kind: str) -> bool:
        """Return whether work of this kind should be done at once, without another thread."""
        if self._num_runs.get(kind, 0) < MIN_RUNS:
            return False
        return self._mean_s[kind] < (ALONE_S if self._num_undisturbed >= ALONE_RUNS else QUICK_S)
