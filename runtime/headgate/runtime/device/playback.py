"""Plays a source on a thread of its own: at a rate, as it comes, or as fast as frames are taken."""

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from headgate.runtime.device.picture_source import PictureSource, SourceFrame

log = logging.getLogger(__name__)

MAX_OPEN = 4  # enough to keep head, link and tail busy at once


@dataclass(frozen=True, slots=True)
class Playback:
    """How to play. `fps` None means the source's own rate, or on demand if it has none."""

    fps: float | None = None
    frames: int | None = None  # stop after so many
    loop: bool = False
    max_open: int = MAX_OPEN  # on demand: wait while so many have no answer


@dataclass(frozen=True, slots=True)
class Captured:
    """A picture and when it was captured, in seconds of `time.monotonic`."""

    frame: SourceFrame
    captured_s: float


class Player:
    """Yields pictures of a source to a main loop that polls.

    Paced (`on_demand` false): pictures appear in real time, `on_frame` wakes the loop, and `take`
    returns them; the loop takes all, so that the session can drop all but the newest. On demand:
    the next pictures are read ahead, `take` captures one at the moment it is called, so that
    every picture is seen exactly once.
    """

    def __init__(
        self, source: PictureSource, playback: Playback, *, on_frame: Callable[[], None]
    ) -> None:
        rate = playback.fps if playback.fps is not None else source.fps
        self.on_demand = rate is None and not source.is_live
        self.failure: BaseException | None = None
        self._source, self._playback = source, playback
        # A live source is read as fast as it delivers, even below --fps, or old pictures pile up.
        self._period_s = 1 / rate if rate else 0.0
        self._on_frame = on_frame
        self._ready: queue.Queue[Captured | SourceFrame | None] = queue.Queue(
            maxsize=2 if self.on_demand else 0
        )
        self._stop = threading.Event()
        self._ended = False
        self._awaited = True  # the loop found nothing, so it has to be woken
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)

    @property
    def ended(self) -> bool:
        """Whether the last picture has been taken, or the source failed (see `failure`)."""
        return self._ended

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Capture no more; pictures not taken yet are forgotten."""
        self._stop.set()
        self._ended = True
        self._drop_ready()  # the thread may wait for room in the queue
        if self._thread.ident is not None:  # started
            self._thread.join(timeout=2.0)

    def take(self, *, now_s: float) -> Captured | None:
        """Return the next picture if one is there."""
        if self._ended:
            return None
        if self._ready.empty():
            # Said before looking again: a picture that comes in between is seen, or wakes the loop.
            self._awaited = True
        try:
            item = self._ready.get_nowait()
        except queue.Empty:
            return None
        if item is None:
            self._ended = True
            return None
        return item if isinstance(item, Captured) else Captured(item, now_s)

    def _run(self) -> None:
        try:
            if self.on_demand:
                for frame in itertools.islice(self._passes(), self._playback.frames):
                    self._put(frame)
            else:
                for captured in itertools.islice(self._pace(), self._playback.frames):
                    self._put(captured)
        except BaseException as failure:  # re-raised by the main thread: a bug must be seen
            self.failure = failure
        self._put(None)

    def _passes(self) -> Iterator[SourceFrame]:
        """Yield the source once, or again and again; a loop over nothing ends."""
        while True:
            num_frames = 0
            for frame in self._source.frames():
                if self._stop.is_set():
                    return
                num_frames += 1
                yield frame
            if not self._playback.loop or self._source.is_live or num_frames == 0:
                return

    def _pace(self) -> Iterator[Captured]:
        """Yield each picture when it is due; of a live source, only as many as are wanted."""
        next_s = time.monotonic()
        for frame in self._passes():
            now_s = time.monotonic()
            if self._source.is_live:
                if now_s < next_s:
                    continue  # faster than wanted: drop at the camera
                next_s = max(next_s + self._period_s, now_s)
            else:
                if now_s < next_s and self._stop.wait(next_s - now_s):
                    return
                # A source too slow for its rate is late, it does not catch up in a burst.
                next_s = max(next_s, now_s - self._period_s) + self._period_s
            if self._stop.is_set():
                return
            yield Captured(frame, time.monotonic())

    def _put(self, item: Captured | SourceFrame | None) -> None:
        while not self._stop.is_set():
            try:
                self._ready.put(item, timeout=0.2)
            except queue.Full:
                continue
            if self._awaited:
                self._awaited = False
                self._on_frame()
            return

    def _drop_ready(self) -> None:
        try:
            while True:
                self._ready.get_nowait()
        except queue.Empty:
            return
