"""All frames that are at the edge and not yet in a batch: those that queue and those that ripen.

A frame that is whole, or complete, queues for the worker (`batcher`); one that hopes for more
layers ripens (`ripening`) and queues when its time has come. Payloads are counted here as long as
a frame waits.

A room that is full turns frames away, so it is not to be full of frames that only hope while the
worker idles: then those go at once that have had no layer for the longest time.
"""

from collections import Counter
from dataclasses import dataclass

from headgate.runtime.edge.batch_times import BatchTimes
from headgate.runtime.edge.batcher import Batcher
from headgate.runtime.edge.edge_margin import Margin
from headgate.runtime.edge.queued import Queued
from headgate.runtime.edge.ripening import Ripening


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames that run together; how long that was to take at most, None where not known."""

    frames: list[Queued]
    began_s: float
    planned_s: float | None


class WaitingRoom:
    """Frames of all peers on their way to the one worker."""

    def __init__(self, *, max_batch: int, max_waiting: int) -> None:
        """`max_waiting` frames fill it; the caller lets no more in."""
        self._max_batch, self._max_waiting = max_batch, max_waiting
        self._batcher = Batcher(max_batch=max_batch)
        self.margin = Margin()
        self._ripening = Ripening(self._batcher, self.margin)
        self._running: Batch | None = None
        self._num_bytes = 0
        self._num_of: Counter[str] = Counter()  # frames by whose key their peer has

    def __len__(self) -> int:
        """Return how many frames wait, for the worker or for layers."""
        return self.num_queued + len(self._ripening)

    def num_of(self, owner: str | None) -> int:
        """Return how many frames wait of peers with one key; 0 where there are no keys."""
        return 0 if owner is None else self._num_of[owner]

    @property
    def num_queued(self) -> int:
        """Frames that wait for the worker."""
        return len(self._batcher)

    @property
    def num_bytes(self) -> int:
        """Bytes of payload of all frames that wait."""
        return self._num_bytes

    @property
    def times(self) -> BatchTimes:
        """What is known of the worker's speed."""
        return self._batcher.times

    @property
    def running(self) -> bool:
        """Whether the worker runs a batch."""
        return self._running is not None

    def busy_share(self, *, now_s: float) -> float:
        """Return the share of the last second or so in which the worker ran, 0 to 1."""
        return self._batcher.busy_share(now_s=now_s)

    def has_room(self, frame: Queued, *, now_s: float) -> bool:
        """Return whether a frame could be done in time behind those that go before it."""
        coming = self._ripening.begun_before(frame.deadline_s)
        return self._batcher.has_room(frame, now_s=now_s, coming=coming)

    def add(self, frame: Queued) -> None:
        """Let a new frame wait: for layers if more may come, else for the worker."""
        self._num_bytes += frame.num_bytes
        if frame.owner is not None:
            self._num_of[frame.owner] += 1
        if frame.layers is None or frame.layers.complete:
            self._batcher.add(frame)
        else:
            self._ripening.put(frame)

    def grew(self, before: Queued, now: Queued, *, num_bytes: int, now_s: float) -> bool:
        """Tell that layers came for a waiting frame; return whether `now` takes its place.

        It does while the frame ripens: its deadline may have changed. One that queues keeps its
        place.
        """
        self._num_bytes += num_bytes
        if before not in self._ripening:
            return False
        assert now.layers is not None
        self._ripening.put(now)
        if now.layers.complete:
            self.completed(now, now_s=now_s)
        return True

    def completed(self, frame: Queued, *, now_s: float) -> None:
        """Tell that no more layers of a frame will come: it need not ripen."""
        if frame in self._ripening:
            assert frame.layers is not None
            frame.layers.queued_s = now_s
            self._ripening.remove(frame)
            self._batcher.add(frame, joined_s=now_s)

    def drop(self, frame: Queued) -> None:
        """Let a frame go, if it waits."""
        if frame in self._ripening:
            self._ripening.remove(frame)
            self._gone([frame])
        else:
            self._gone(self._batcher.drop(frame))

    def forget(self, peer: bytes) -> None:
        """Let all frames of one peer go."""
        for frame in self._ripening.frames:
            if frame.peer == peer:
                self._ripening.remove(frame)
                self._gone([frame])
        self._gone(self._batcher.forget(peer))

    def take_all(self) -> list[Queued]:
        """Remove and return every frame."""
        ripening = self._ripening.frames
        for frame in ripening:
            self._ripening.remove(frame)
        return self._gone([*self._batcher.take_all(), *ripening])

    def take_too_late(self, *, now_s: float) -> list[Queued]:
        """Let ripe frames queue; remove and return those that cannot be done in time any more."""
        while (frame := self._ripening.first_ripe(now_s=now_s)) is not None:
            self.completed(frame, now_s=now_s)
        if len(self) >= self._max_waiting and not self.running and not self.num_queued:
            for frame in self._ripening.without_news()[: self._max_batch]:
                self.completed(frame, now_s=now_s)
        return self._gone(self._batcher.take_too_late(now_s=now_s))

    def start(self, *, now_s: float) -> Batch | None:
        """Remove and return the batch to run now, or None; its frames take no more layers.

        Call `take_too_late` before, and `finished` when it is done.
        """
        frames = self._batcher.start(now_s=now_s)
        if frames is None:
            return None
        key, times = frames[0].key, self.times
        planned_s = times.likely_s(key, size=len(frames)) if times.has_measured(key) else None
        self._running = Batch(self._gone(frames), now_s, planned_s)
        return self._running

    def finished(self, *, now_s: float) -> Batch:
        """Tell that the running batch is done, and return it."""
        assert self._running is not None
        batch, self._running = self._running, None
        if batch.planned_s is not None:
            elapsed_s = now_s - batch.began_s
            self.margin.batch_ended(planned_s=batch.planned_s, elapsed_s=elapsed_s)
        self._batcher.finished(now_s=now_s)
        return batch

    def next_timer_s(self) -> float | None:
        """Return when `take_too_late` or `start` may have something new, or None."""
        due_s = (self._batcher.next_timer_s(), self._ripening.next_timer_s())
        return min((each for each in due_s if each is not None), default=None)

    def _gone(self, frames: list[Queued]) -> list[Queued]:
        for frame in frames:
            self._num_bytes -= frame.num_bytes
            if frame.owner is not None:
                self._num_of[frame.owner] -= 1
                if not self._num_of[frame.owner]:
                    del self._num_of[frame.owner]
            if frame.layers is not None:
                frame.layers.closed = True
        return frames
