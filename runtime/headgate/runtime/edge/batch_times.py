"""How long the edge's worker takes for a batch, per graph and size: measured, and guessed between.

Sizes are learnt apart, because the curve is not a line everywhere (a GPU's has steps). What one
size shows of the machine's speed of the moment counts a little for the others too, or a size that
was measured in a bad moment would be avoided for ever and never measured again. They follow its
mean, as a power of it, and not each of its samples: what samples scatter by would add up, and after
some thousand batches of one size the others would seem to take for ever, or no time.

One batch may take a thousand times as long as the others because the machine stood still. So a
sample raises a mean by no more than a few times itself, and what is not measured any more, because
nobody would wait for it, is doubted (`doubt`) until it is. The first run of a size may take long
too (a GPU's libraries choose how to compute each new shape): if that were believed, the size and
all larger ones would be avoided for ever. So it counts as no longer than smaller ones foretell.
"""

from collections.abc import Mapping
from typing import NamedTuple

NEW_SAMPLE_WEIGHT = 0.2  # of a batch, in the mean of its size
OTHER_SIZES_SHARE = 0.25  # of what it moves that mean by, in the means of the other sizes
MOST_RISE = 4.0  # of a sample above the mean, as a share of that
DEVIATIONS = 2.0  # predict so many mean deviations above the mean where being late costs a frame
MAX_SLACK = 0.5  # relative: on a machine so uneven, caution would cost more than lateness


class GraphKey(NamedTuple):
    """One graph of one family: what frames must share to share a batch.

    A tuple, because it is looked up some 30 times a frame: a dataclass hashes in Python, which was
    a quarter of what the batcher cost (measured).
    """

    digest: str
    graph: str  # see `edge_rules.graph_key`


class BatchTimes:
    """How long a batch of each size takes, per graph: running means, and guesses in between."""

    def __init__(self) -> None:
        self._measured_s: dict[GraphKey, dict[int, float]] = {}
        self._scatter: dict[GraphKey, float] = {}  # mean of |measured - mean| / mean
        self._trust: dict[GraphKey, float] = {}  # a factor of what was measured, if not 1
        self._guessed_s: dict[tuple[GraphKey, int], float] = {}  # of `predict_s`, until it changes
        self._best_s: dict[GraphKey, float] = {}  # of `frame_s`, likewise
        self._version = 0

    @property
    def version(self) -> int:
        """A number that rises whenever a prediction may have changed."""
        return self._version

    def measured(self, key: GraphKey, *, size: int, elapsed_s: float) -> None:
        """Take the time of one batch, from its start to its end."""
        self._changed()
        known_s = self._measured_s.setdefault(key, {})
        old_s = known_s.get(size)
        doubted = self._trust.pop(key, None) is not None
        if old_s is None or old_s <= 0 or doubted:
            if old_s:  # once more the machine may have stood still
                elapsed_s = min(elapsed_s, (1 + MOST_RISE) * old_s)
            elif old_s is None and known_s:  # nor is a first run like those that follow
                elapsed_s = min(elapsed_s, _foretold_s(known_s, size))
            known_s[size] = elapsed_s
            if doubted:  # all of it
                for other in known_s:
                    known_s[other] = min(known_s[other], elapsed_s * max(1.0, other / size))
            return
        change = min(MOST_RISE, elapsed_s / old_s - 1)
        scatter = self._scatter.get(key, 0.0)
        self._scatter[key] = scatter + NEW_SAMPLE_WEIGHT * (min(1.0, abs(change)) - scatter)
        moved = 1 + NEW_SAMPLE_WEIGHT * change
        for other in known_s:
            known_s[other] *= moved if other == size else moved**OTHER_SIZES_SHARE

    def doubt(self, key: GraphKey, *, share: float) -> None:
        """Count with that share of what was believed, until the graph is measured again."""
        self._changed()
        self._trust[key] = share * self._trust.get(key, 1.0)

    def has_measured(self, key: GraphKey) -> bool:
        return key in self._measured_s

    def predict_s(self, key: GraphKey, *, size: int) -> float:
        """Return the expected time of a batch; 0 where nothing is known of its graph.

        Sizes never seen are guessed on the safe side.
        """
        guess_s = self._guessed_s.get((key, size))
        if guess_s is None:
            guess_s = self._guessed_s[key, size] = self._guess_s(key, size)
        return guess_s

    def likely_s(self, key: GraphKey, *, size: int) -> float:
        """Return a time that a batch of that size seldom exceeds."""
        slack = min(MAX_SLACK, DEVIATIONS * self._scatter.get(key, 0.0))
        return (1 + slack) * self.predict_s(key, size=size)

    def frame_s(self, key: GraphKey) -> float:
        """Return what one frame costs in the best batch seen; 0 where nothing is known."""
        best_s = self._best_s.get(key)
        if best_s is None:
            known_s = self._measured_s.get(key)
            best_s = 0.0
            if known_s:
                best_s = min(time_s / size for size, time_s in known_s.items())
                best_s *= self._trust.get(key, 1.0)
            self._best_s[key] = best_s
        return best_s

    def saving_s(self, key: GraphKey, *, size: int) -> float:
        """Return what adding one frame to a batch of `size` saves over running it alone."""
        alone_s = self.predict_s(key, size=1)
        return alone_s - (self.predict_s(key, size=size + 1) - self.predict_s(key, size=size))

    def _changed(self) -> None:
        self._version += 1
        self._guessed_s.clear()
        self._best_s.clear()

    def _guess_s(self, key: GraphKey, size: int) -> float:
        known_s = self._measured_s.get(key)
        if not known_s:
            return 0.0
        return self._trust.get(key, 1.0) * _foretold_s(known_s, size)


def _foretold_s(known_s: Mapping[int, float], size: int) -> float:
    """Return what a batch of that size takes at most, by the sizes that are known."""
    smaller = max((known for known in known_s if known <= size), default=None)
    if smaller is not None:
        return known_s[smaller] * size / smaller
    return known_s[min(known_s)]
