"""The thread that runs the device's part of a frame: heads, picture encoders, local networks."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from headgate.profiles.errors import HeadgateError
from headgate.profiles.manifest import OperatingPoint
from headgate.runtime.events import Computed, ComputeFailed
from headgate.runtime.quickness import Quickness

Picture = npt.NDArray[np.uint8]
Outcome = Computed | ComputeFailed


class HeadBackend(Protocol):
    """What the device needs from whatever computes: `engine.DeviceEngine`."""

    def compute(self, point: OperatingPoint, picture_HWC: Picture) -> Computed:
        """Do what `point` asks of the device for one picture."""


class ComputeThread:
    """Computes one frame at a time, at once where that is quick; else results wait in `done`."""

    def __init__(self, backend: HeadBackend, *, on_done: Callable[[], None]) -> None:
        self._backend = backend
        self._on_done = on_done
        self._quickness = Quickness()
        self._work: queue.SimpleQueue[tuple[int, OperatingPoint, Picture] | None]
        self._work = queue.SimpleQueue()
        self.done: deque[tuple[int, Outcome | BaseException]] = deque()
        self._thread = threading.Thread(target=self._run, name="heads", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, frame_id: int, point: OperatingPoint, picture: Picture) -> Outcome | None:
        """Return the outcome if it is there at once; None if it will come in `done`."""
        if self._quickness.is_quick(point.id):
            return self._compute(point, picture)
        self._work.put((frame_id, point, picture))
        return None

    def stop(self) -> None:
        self._work.put(None)
        if self._thread.ident is not None:  # started
            self._thread.join(timeout=10.0)

    def _compute(self, point: OperatingPoint, picture: Picture) -> Outcome:
        started_s = time.perf_counter()
        try:
            outcome = self._backend.compute(point, picture)
        except HeadgateError as reason:
            return ComputeFailed(str(reason))
        self._quickness.took(point.id, time.perf_counter() - started_s)
        return outcome

    def _run(self) -> None:
        while (job := self._work.get()) is not None:
            frame_id, point, picture = job
            try:
                self.done.append((frame_id, self._compute(point, picture)))
            except BaseException as failure:  # re-raised by the main thread: a bug must be seen
                self.done.append((frame_id, failure))
            self._on_done()
