"""Which waiting frames the edge's worker runs next, and when: batches per graph, earliest first.

One worker runs one batch at a time. The rules, all from measured times of batches:

- *Order.* Frames are ordered by deadline plus the worker time of their peer, see `turns`.
- *Room.* A frame that could not be finished in time behind those ahead of it is not let in, so
  its device learns at once and the queue holds no more than can be done.
- *Batch.* The first frame picks the graph; frames of the same graph follow in order as long as
  the batch still ends before the earliest deadline in it. If some would be lost that way and
  passing over the hurried ones makes a batch of more frames per second, that one runs: under
  load, one frame about to expire must not make every batch a small one (`batch_choice`).
- *Waiting.* An idle edge runs what there is at once. Only a worker that is mostly busy waits
  for one more frame, only if batching has been seen to save more than the expected gap to the
  next frame, and only while the earliest frame can afford it. A frame that waited for more layers
  in vain cannot: it came as late as was safe.
- *Too late.* A frame that could not be finished even alone is given up before it is decoded; by
  an edge that is hardly busy a little later if it is in layers. But an estimate is halved for each
  DOUBT_AFTER_S in which its graph did not run, or one batch during which the machine stood still
  would shut the graph out for long.

What is asked at every message (`next_timer_s`, `take_too_late`, `has_room`) looks at every waiting
frame only where something has changed; `start` does once a batch.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import exp, inf
from operator import is_

from headgate.runtime.edge.batch_choice import choose_batch
from headgate.runtime.edge.batch_times import NEW_SAMPLE_WEIGHT, BatchTimes, GraphKey
from headgate.runtime.edge.queued import Queued
from headgate.runtime.edge.turns import Line, Turns

BUSY_TAU_S = 1.0  # how fast the busy share forgets
BUSY_ENOUGH_TO_WAIT = 0.5  # busy share above which waiting for one more frame may pay
DOUBT_AFTER_S = 0.25  # without a batch of a graph; while it runs, measuring corrects its times
MOST_HALVINGS = 20.0  # at once, of an estimate that is doubted
# A budget in layers is what the frame may wait, less the device's guard and the path's noise. An
# edge that is hardly busy begins with it for so long after that (without: 0.003 of credit less).
SPARE_S = 0.010


class Batcher:
    """The frames waiting for the one worker, and what is known about its speed."""

    def __init__(self, *, max_batch: int) -> None:
        assert max_batch >= 1
        self.times = BatchTimes()
        self._max_batch = max_batch
        self._waiting: list[Queued] = []
        self._num_by_key: Counter[GraphKey] = Counter()
        self._turns = Turns(self.times.frame_s)
        self._running: tuple[list[Queued], float] | None = None  # and when it began
        self._finished_s: dict[GraphKey, float] = {}  # its last batch
        self._doubted_s: dict[GraphKey, float] = {}  # when its times were doubted last
        self._busy_share = 0.0
        self._busy_at_s = -inf
        self._gap_s: dict[GraphKey, float] = {}
        self._last_arrival_s: dict[GraphKey, float] = {}
        self._wait_s = inf  # what `start` decided: no sooner than this, unless something comes
        self._first_give_up: tuple[int, float] | None = None  # by which version of the times
        self._line: tuple[list[Queued], int, Line] | None = None  # of which frames and times

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

    def backlog_s(self) -> float:
        """Return how long the worker would take for all that waits, in the largest batches."""
        total_s = 0.0
        for key, num in self._num_by_key.items():
            if num:
                size = min(num, self._max_batch)
                total_s += self.times.predict_s(key, size=size) * num / size
        return total_s

    def clear_s(self, *, now_s: float) -> float:
        """Return when the worker is expected to be done with all that runs and waits."""
        return max(now_s, self._free_s()) + self.backlog_s()

    def has_room(self, frame: Queued, *, now_s: float, coming: Sequence[Queued] = ()) -> bool:
        """Return whether the frame can be finished in time behind those that go before it.

        `coming` will wait later and have been let in: they count as if they waited.
        """
        idle = self._running is None and not self._waiting and not coming
        if frame.deadline_s == inf or idle:
            return True
        own_s = self.times.frame_s(frame.key)
        if now_s + own_s > frame.deadline_s:
            return True  # too late by itself, not for want of room
        free_s = max(now_s, self._free_s())
        backlog_s = sum(num * self.times.frame_s(key) for key, num in self._num_by_key.items())
        backlog_s += sum(self.times.frame_s(each.key) for each in coming)
        if free_s + backlog_s + own_s <= frame.deadline_s:
            return True
        ahead_s = self._line_with(coming, now_s=now_s).ahead_s(frame)
        return free_s + ahead_s + own_s <= frame.deadline_s

    def _line_with(self, coming: Sequence[Queued], *, now_s: float) -> Line:
        """Return the queue of all that wait or will, the same as before if nothing changed."""
        version, frames = self.times.version, [*self._waiting, *coming]
        if self._line is not None:
            made_of, made_at, line = self._line
            same = made_at == version and len(made_of) == len(frames)
            if same and all(map(is_, made_of, frames)):
                return line
        line = self._turns.line(frames, now_s=now_s)
        self._line = frames, version, line
        return line

    def add(self, frame: Queued, *, joined_s: float | None = None) -> None:
        """Let one frame wait; `joined_s` is now, where that is not when it arrived."""
        if joined_s is None:
            joined_s = frame.arrived_s
        self._waiting.append(frame)
        self._num_by_key[frame.key] += 1
        if self._first_give_up is not None:
            version, first_s = self._first_give_up
            self._first_give_up = version, min(first_s, self._give_up_s(frame))
        last_s = self._last_arrival_s.get(frame.key)
        if last_s is not None:
            gap_s = max(0.0, joined_s - last_s)
            old_s = self._gap_s.get(frame.key, gap_s)
            self._gap_s[frame.key] = old_s + NEW_SAMPLE_WEIGHT * (gap_s - old_s)
        self._last_arrival_s[frame.key] = joined_s

    def drop(self, frame: Queued) -> list[Queued]:
        """Remove and return one frame, if it waits."""
        return self._remove([each for each in self._waiting if each is frame])

    def forget(self, peer: bytes) -> list[Queued]:
        """Remove and return the waiting frames of one peer."""
        return self._remove([frame for frame in self._waiting if frame.peer == peer])

    def take_all(self) -> list[Queued]:
        """Remove and return every waiting frame."""
        return self._remove(list(self._waiting))

    def take_too_late(self, *, now_s: float) -> list[Queued]:
        """Remove and return the frames that cannot be finished in time any more."""
        if now_s < self._first_give_up_s():
            return []
        if self._has_time(now_s=now_s):
            return []
        late = [frame for frame in self._waiting if now_s >= self._give_up_s(frame)]
        if self._doubt({frame.key for frame in late if now_s < frame.deadline_s}, now_s=now_s):
            late = [frame for frame in late if now_s >= self._give_up_s(frame)]
        self._remove(late)
        return late

    def _doubt(self, keys: Iterable[GraphKey], *, now_s: float) -> bool:
        """Believe less of times that frames are given up by; return whether any had changed."""
        changed = False
        for key in keys:
            since_s = now_s - max(self._finished_s[key], self._doubted_s.get(key, -inf))
            if since_s >= DOUBT_AFTER_S:
                self._doubted_s[key] = now_s
                self.times.doubt(key, share=0.5 ** min(MOST_HALVINGS, since_s / DOUBT_AFTER_S))
                changed = True
        return changed

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
        key = batch[0].key
        self._turn(now_s=now_s)
        self._running = None
        self._finished_s[key] = now_s
        elapsed_s = max(0.0, now_s - began_s)
        self.times.measured(key, size=len(batch), elapsed_s=elapsed_s)
        peers = [frame.peer for frame in batch]
        self._turns.served(peers, share_s=elapsed_s / len(batch), now_s=now_s)

    def next_timer_s(self) -> float | None:
        """Return when `take_too_late` or `start` may have something new, or None."""
        first_s = min(self._first_give_up_s(), self._wait_s)
        return None if first_s == inf else first_s

    def _choose(self, *, now_s: float) -> list[Queued]:
        """Return the batch that would run now: at least one frame."""
        if len(self._waiting) == 1:
            return list(self._waiting)
        ordered = self._turns.ordered(self._waiting, now_s=now_s)
        key = ordered[0].key
        fitting = [frame for frame in ordered if frame.key == key]
        return choose_batch(fitting, times=self.times, max_batch=self._max_batch, now_s=now_s)

    def _wait_until_s(self, batch: list[Queued], *, now_s: float) -> float:
        """Return until when to wait for one more frame; in the past: run now."""
        key = batch[0].key
        gap_s = self._gap_s.get(key, inf)
        full = len(batch) == self._max_batch or len(batch) < len(self._waiting)
        idle = self.busy_share(now_s=now_s) < BUSY_ENOUGH_TO_WAIT
        ripe = any(each.layers is not None and not each.layers.complete for each in batch)
        if full or idle or ripe or gap_s >= self.times.saving_s(key, size=len(batch)):
            return -inf
        earliest_s = min(frame.deadline_s for frame in batch)
        affordable_s = earliest_s - self.times.predict_s(key, size=len(batch) + 1)
        return min(affordable_s, self._last_arrival_s[key] + 2 * gap_s)

    def _free_s(self) -> float:
        """Return when the running batch is expected to end; in the past if there is none."""
        if self._running is None:
            return -inf
        batch, began_s = self._running
        return began_s + self.times.predict_s(batch[0].key, size=len(batch))

    def _first_give_up_s(self) -> float:
        """Return when the first waiting frame is too late."""
        version = self.times.version
        if self._first_give_up is None or self._first_give_up[0] != version:
            first_s = min((self._give_up_s(frame) for frame in self._waiting), default=inf)
            self._first_give_up = version, first_s
        return self._first_give_up[1]

    def _give_up_s(self, frame: Queued) -> float:
        """Return from when on the frame is too late: at its deadline where nothing is measured."""
        return frame.deadline_s - self.times.predict_s(frame.key, size=1)

    def _has_time(self, *, now_s: float) -> bool:
        """Return whether the one frame that waits may be late: nobody else needs the worker.

        It runs at once (see `_wait_until_s`), so this is asked of it only once.
        """
        if (
            self.running
            or len(self._waiting) > 1
            or self.busy_share(now_s=now_s) >= BUSY_ENOUGH_TO_WAIT
        ):
            return False
        (frame,) = self._waiting
        return frame.layers is not None and now_s < self._give_up_s(frame) + SPARE_S

    def _turn(self, *, now_s: float) -> None:
        """Bring the busy share up to now, before the worker starts or stops."""
        self._busy_share = self.busy_share(now_s=now_s)
        self._busy_at_s = now_s

    def _remove(self, frames: Iterable[Queued]) -> list[Queued]:
        removed = list(frames)
        gone = set(map(id, removed))
        self._waiting = [frame for frame in self._waiting if id(frame) not in gone]
        for frame in removed:
            self._num_by_key[frame.key] -= 1
        self._first_give_up = None
        self._line = None  # it holds what waited, payloads and all
        return removed
