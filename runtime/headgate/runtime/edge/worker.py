"""The thread that runs the edge's part of frames: batches of tails, one after the other."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from headgate.runtime.edge.backend import TailBackend
from headgate.runtime.edge.edge_events import ItemOutcome, RunBatch
from headgate.runtime.quickness import Quickness
from headgate.runtime.wire.messages import RejectReason


@dataclass(frozen=True, slots=True)
class Finished:
    """What the worker hands back: outcomes, or the bug that ended it."""

    batch_id: int
    outcomes: Sequence[ItemOutcome]
    failure: BaseException | None = None


class Worker:
    """Runs batches one after the other on a thread of its own."""

    def __init__(
        self, backends: Mapping[str, TailBackend], *, on_finished: Callable[[], None]
    ) -> None:
        self._backends = backends
        self._on_finished = on_finished
        self._quickness = Quickness()
        self._work: queue.SimpleQueue[RunBatch | None] = queue.SimpleQueue()
        self.finished: deque[Finished] = deque()
        self._thread = threading.Thread(target=self._run, name="tails", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, batch: RunBatch) -> None:
        """Let the worker's thread run the batch; it will be in `finished`."""
        self._work.put(batch)

    def is_quick(self, batch: RunBatch) -> bool:
        """Return whether running the batch here is cheaper than handing it over."""
        return len(batch.items) == 1 and self._quickness.is_quick(batch.digest + batch.graph_key)

    def was_alone(self, alone: bool) -> None:
        """Tell whether nothing came while a single frame ran."""
        self._quickness.was_alone(alone)

    def run(self, batch: RunBatch) -> Sequence[ItemOutcome]:
        """Run the batch on the caller's thread; only while the worker's has none."""
        started_s = time.perf_counter()
        try:
            outcomes = self._backends[batch.digest].infer(batch.graph_key, batch.items)
        except MemoryError:  # the next batch may find some
            lost = ItemOutcome(None, "the edge is out of memory", 0.0, 0.0, RejectReason.FAILED)
            outcomes = [lost] * len(batch.items)
        if len(batch.items) == 1:
            self._quickness.took(batch.digest + batch.graph_key, time.perf_counter() - started_s)
        return outcomes

    def stop(self) -> None:
        self._work.put(None)
        self._thread.join(timeout=10.0)

    def _run(self) -> None:
        while (batch := self._work.get()) is not None:
            try:
                self.finished.append(Finished(batch.batch_id, self.run(batch)))
            except BaseException as failure:  # re-raised by the main thread: a bug must be seen
                self.finished.append(Finished(batch.batch_id, (), failure))
            self._on_finished()
