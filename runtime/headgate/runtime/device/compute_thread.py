"""The thread that runs the device's part of a frame: heads, picture encoders, local networks."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from headgate.profiles.errors import HeadgateError
from headgate.profiles.manifest import OperatingPoint
from headgate.runtime.codec.prediction import Reference
from headgate.runtime.device.picture_source import Picture
from headgate.runtime.quickness import Quickness
from headgate.runtime.session.events import Compute, Computed, ComputeFailed

Outcome = Computed | ComputeFailed


class HeadBackend(Protocol):
    """What the device needs from whatever computes: `device_engine.DeviceEngine`."""

    def compute(
        self, point: OperatingPoint, picture_HWC: Picture, reference: Reference | None = None
    ) -> Computed:
        """Do what `point` asks of the device for one picture, predicted from `reference`."""


class ComputeThread:
    """Computes one frame at a time, at once where that is quick; else results wait in `done`."""

    def __init__(self, backend: HeadBackend, *, on_done: Callable[[], None]) -> None:
        self._backend = backend
        self._on_done = on_done
        self._quickness = Quickness()
        self._work: queue.SimpleQueue[tuple[Compute, Picture] | None] = queue.SimpleQueue()
        self.done: deque[tuple[int, Outcome | BaseException]] = deque()
        self._thread = threading.Thread(target=self._run, name="heads", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, job: Compute, picture: Picture) -> Outcome | None:
        """Return the outcome if it is there at once; None if it will come in `done`."""
        if self._quickness.is_quick(job.point.id):
            return self._compute(job, picture)
        self._work.put((job, picture))
        return None

    def stop(self) -> None:
        self._work.put(None)
        if self._thread.ident is not None:  # started
            self._thread.join(timeout=10.0)

    def _compute(self, job: Compute, picture: Picture) -> Outcome:
        started_s = time.perf_counter()
        try:
            outcome = self._backend.compute(job.point, picture, job.reference)
        except HeadgateError as reason:
            return ComputeFailed(str(reason))
        except MemoryError:  # the next frame may find some
            return ComputeFailed("out of memory")
        self._quickness.took(job.point.id, time.perf_counter() - started_s)
        return outcome

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            job, picture = work
            try:
                self.done.append((job.frame_id, self._compute(job, picture)))
            except BaseException as failure:  # re-raised by the main thread: a bug must be seen
                self.done.append((job.frame_id, failure))
            self._on_done()
