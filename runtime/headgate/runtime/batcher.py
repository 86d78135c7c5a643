"""Which waiting frames the edge's worker runs next, and when: batches per graph, earliest first.

One worker runs one batch at a time. The rules, all from measured times of batches:

- *Order.* Frames are ordered by deadline plus the worker time their peer had lately (decaying
  over SERVED_TAU_S). Equal peers are served by deadline; one that floods, or claims deadlines
  shorter than everybody's, pushes itself back by what it took.
- *Batch.* The first frame picks the graph; frames of the same graph follow in order as long as
  the batch still ends before the earliest deadline in it.
- *Waiting.* An idle edge runs what there is at once. Only a worker that is mostly busy waits
  for one more frame, only if batching has been seen to save more than the expected gap to the
  next frame, and only while the earliest frame can afford it.
- *Too late.* A frame that could not be finished even alone is given up before it is decoded.
  Each time, the estimate shrinks a little, so one slow batch cannot shut a graph out for ever.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, inf

from headgate.runtime.messages import NO_BURST, Burst
from headgate.runtime.prediction import Integers

SERVED_TAU_S = 1.0
BUSY_TAU_S = 1.0
PATIENCE_S = 1.0  # a frame with a longer budget, or none, is ordered as if it had this
BUSY_ENOUGH_TO_WAIT = 0.5
NEW_SAMPLE_WEIGHT = 0.2
SHED_SHRINKS_ESTIMATE = 0.95


@dataclass(frozen=True, slots=True)
class GraphKey:
    """One graph of one family: what frames must share to share a batch."""

    digest: str
    graph: str  # see `edge_rules.graph_key`


@dataclass(frozen=True, slots=True)
class Queued:
    """One whole frame waiting for the worker. `deadline_s` is infinite where there is none."""

    key: GraphKey
    peer: bytes
    frame_id: int
    point_index: int
    payload: bytes
    arrived_s: float
    deadline_s: float
    burst: Burst = NO_BURST
    reference: Integers | None = None  # what a predicted payload is coded against


class BatchTimes:
    """How long a batch of each size takes, per graph: running means, and guesses in between."""

    def __init__(self) -> None:
        self._measured_s: dict[GraphKey, dict[int, float]] = {}
        self._prior_s: dict[GraphKey, float] = {}

    def set_prior(self, key: GraphKey, *, frame_s: float) -> None:
        """Tell what one frame costs until it has been measured."""
        self._prior_s[key] = frame_s

    def measured(self, key: GraphKey, *, size: int, elapsed_s: float) -> None:
        """Take the time of one batch, from its start to its end."""
        known_s = self._measured_s.setdefault(key, {})
        old_s = known_s.get(size, elapsed_s)
        known_s[size] = old_s + NEW_SAMPLE_WEIGHT * (elapsed_s - old_s)

    def shrink(self, key: GraphKey) -> None:
        """Doubt what was measured, as nothing is being run that could correct it."""
        known_s = self._measured_s.get(key, {})
        for size in known_s:
            known_s[size] *= SHED_SHRINKS_ESTIMATE

    def has_measured(self, key: GraphKey) -> bool:
        return key in self._measured_s

    def predict_s(self, key: GraphKey, *, size: int) -> float:
        """Return the expected time of a batch; sizes never seen are guessed on the safe side."""
        known_s = self._measured_s.get(key)
        if not known_s:
            return size * self._prior_s.get(key, 0.0)
        smaller = max((known for known in known_s if known <= size), default=None)
        if smaller is not None:
            return known_s[smaller] * size / smaller
        return known_s[min(known_s)]

    def saving_s(self, key: GraphKey, *, size: int) -> float:
        """Return what adding one frame to a batch of `size` saves over running it alone."""
        alone_s = self.predict_s(key, size=1)
        return alone_s - (self.predict_s(key, size=size + 1) - self.predict_s(key, size=size))


class _Fading:
    """A sum that fades with time constant `tau_s`."""

    __slots__ = ("_at_s", "_tau_s", "_value")

    def __init__(self, tau_s: float) -> None:
        self._tau_s = tau_s
        self._value = 0.0
        self._at_s = -inf

    def value(self, *, now_s: float) -> float:
        return self._value * exp(-max(0.0, now_s - self._at_s) / self._tau_s)

    def add(self, amount: float, *, now_s: float) -> None:
        self._value = self.value(now_s=now_s) + amount
        self._at_s = now_s


class Batcher:
    """The frames waiting for the one worker, and what is known about its speed."""

    def __init__(self, *, max_batch: int) -> None:
        assert max_batch >= 1
        self.times = BatchTimes()
        self._max_batch = max_batch
        self._waiting: list[Queued] = []
        self._served: dict[bytes, _Fading] = {}
        self._running: tuple[list[Queued], float] | None = None  # and when it began
        self._busy_share = 0.0
        self._busy_at_s = -inf
        self._gap_s: dict[GraphKey, float] = {}
        self._last_arrival_s: dict[GraphKey, float] = {}
        self._wait_s = inf  # what `start` decided: no sooner than this, unless something comes

    def __len__(self) -> int:
        """Return how many frames are waiting, without the running ones."""
        return len(self._waiting)

    @property
    def running(self) -> bool:
        return self._running is not None

    def busy_share(self, *, now_s: float) -> float:
        """Return the share of the last second or so in which the worker ran, 0 to 1."""
        target = 1.0 if self.running else 0.0
        fade = exp(-max(0.0, now_s - self._busy_at_s) / BUSY_TAU_S)
        return target + (self._busy_share - target) * fade

    def add(self, frame: Queued) -> None:
        """Let one frame wait."""
        self._waiting.append(frame)
        last_s = self._last_arrival_s.get(frame.key)
        if last_s is not None:
            gap_s = max(0.0, frame.arrived_s - last_s)
            old_s = self._gap_s.get(frame.key, gap_s)
            self._gap_s[frame.key] = old_s + NEW_SAMPLE_WEIGHT * (gap_s - old_s)
        self._last_arrival_s[frame.key] = frame.arrived_s

    def forget(self, peer: bytes) -> list[Queued]:
        """Remove and return the waiting frames of one peer."""
        return self._remove([frame for frame in self._waiting if frame.peer == peer])

    def take_all(self) -> list[Queued]:
        """Remove and return every waiting frame."""
        return self._remove(list(self._waiting))

    def take_too_late(self, *, now_s: float) -> list[Queued]:
        """Remove and return the frames that cannot be finished in time any more."""
        late = [frame for frame in self._waiting if now_s >= self._give_up_s(frame)]
        if not late:
            return []
        self._remove(late)
        for key in {frame.key for frame in late if now_s < frame.deadline_s}:
            self.times.shrink(key)
        return late

    def start(self, *, now_s: float) -> list[Queued] | None:
        """Remove and return the batch to run now, in order, or None to wait.

        Call `take_too_late` before, and `finished` when it is done.
        """
        self._wait_s = inf
        if self._running is not None or not self._waiting:
            return None
        batch = self._choose(now_s=now_s)
        wait_s = self._wait_until_s(batch, now_s=now_s)
        if wait_s > now_s:
            self._wait_s = wait_s
            return None
        self._remove(batch)
        self._turn(now_s=now_s)
        self._running = (batch, now_s)
        return batch

    def finished(self, *, now_s: float) -> None:
        """Tell that the running batch is done: learn from its time."""
        assert self._running is not None
        batch, began_s = self._running
        self._turn(now_s=now_s)
        self._running = None
        elapsed_s = max(0.0, now_s - began_s)
        self.times.measured(batch[0].key, size=len(batch), elapsed_s=elapsed_s)
        for frame in batch:
            served = self._served.setdefault(frame.peer, _Fading(SERVED_TAU_S))
            served.add(elapsed_s / len(batch), now_s=now_s)
        for peer in [p for p, s in self._served.items() if s.value(now_s=now_s) < 1e-6]:
            del self._served[peer]

    def next_timer_s(self) -> float | None:
        """Return when `take_too_late` or `start` may have something new, or None."""
        give_up_s = min((self._give_up_s(frame) for frame in self._waiting), default=inf)
        first_s = min(give_up_s, self._wait_s)
        return None if first_s == inf else first_s

    def _choose(self, *, now_s: float) -> list[Queued]:
        """Return the batch that would run now: at least one frame."""
        if len(self._waiting) == 1:
            return list(self._waiting)
        penalty_s = {peer: served.value(now_s=now_s) for peer, served in self._served.items()}
        ordered = sorted(
            self._waiting, key=lambda frame: _due_s(frame) + penalty_s.get(frame.peer, 0.0)
        )
        first = ordered[0]
        batch, earliest_s = [first], first.deadline_s
        for frame in ordered[1:]:
            if frame.key != first.key:
                continue
            earliest_s = min(earliest_s, frame.deadline_s)
            ends_s = now_s + self.times.predict_s(first.key, size=len(batch) + 1)
            if len(batch) == self._max_batch or ends_s > earliest_s:
                break
            batch.append(frame)
        return batch

    def _wait_until_s(self, batch: list[Queued], *, now_s: float) -> float:
        """Return until when to wait for one more frame; in the past: run now."""
        key = batch[0].key
        gap_s = self._gap_s.get(key, inf)
        full = len(batch) == self._max_batch or len(batch) < len(self._waiting)
        idle = self.busy_share(now_s=now_s) < BUSY_ENOUGH_TO_WAIT
        if full or idle or gap_s >= self.times.saving_s(key, size=len(batch)):
            return -inf
        earliest_s = min(frame.deadline_s for frame in batch)
        affordable_s = earliest_s - self.times.predict_s(key, size=len(batch) + 1)
        return min(affordable_s, self._last_arrival_s[key] + 2 * gap_s)

    def _give_up_s(self, frame: Queued) -> float:
        """Return from when on the frame is too late. Priors are too foreign to give up by."""
        needed_s = 0.0
        if self.times.has_measured(frame.key):
            needed_s = self.times.predict_s(frame.key, size=1)
        return frame.deadline_s - needed_s

    def _turn(self, *, now_s: float) -> None:
        """Bring the busy share up to now, before the worker starts or stops."""
        self._busy_share = self.busy_share(now_s=now_s)
        self._busy_at_s = now_s

    def _remove(self, frames: Iterable[Queued]) -> list[Queued]:
        removed = list(frames)
        gone = set(map(id, removed))
        self._waiting = [frame for frame in self._waiting if id(frame) not in gone]
        return removed


def _due_s(frame: Queued) -> float:
    """Return the time to order by: patient frames must not wait for ever behind hurried ones."""
    return min(frame.deadline_s, frame.arrived_s + PATIENCE_S)
