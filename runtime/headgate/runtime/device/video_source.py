"""Pictures that come one after the other: of a video file, a camera or a network stream.

PyAV decodes them (the extra `video`). What arrives damaged is left out, and what breaks off is
told of: files and links do both, and the pictures before and after are as good as ever.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from headgate.profiles.errors import DataError, UsageError
from headgate.runtime.complaints import Complaints
from headgate.runtime.device.aside import SilentError, iterate_aside, run_aside
from headgate.runtime.device.picture_source import Picture, SourceFrame

log = logging.getLogger(__name__)

STREAM_TIMEOUT_S = 10.0
MANY_DAMAGED = 100  # packets of a video in a row
SHORT_S, SHORT_SHARE = 1.0, 0.05  # a video may end so much before the end of its sound


class VideoSource:
    """A video file, a camera or a network stream, through PyAV."""

    labels: tuple[str, ...] | None = None

    def __init__(
        self,
        name: str,
        *,
        address: str,
        form: str | None,
        is_live: bool,
        where: str,
        timeout_s: float = STREAM_TIMEOUT_S,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """`where` begins what is said of it: the argument or option, and its value.

        A stream or camera that is silent for `timeout_s` has ended. Raises StoppedError where
        `is_stopped` comes true while it is opened.
        """
        self.name = name
        self._where = where
        self.is_live = is_live
        self._address = address
        self._form = form
        # FFmpeg gives a stream up by itself. It never asks whether to while a driver has it wait.
        self._timeout_s = timeout_s if is_live else None
        self._is_driven = is_live and form is not None
        self._said_short = False
        self.fps: float | None = None
        if not is_live:
            self.fps = self._rate()  # what cannot be decoded is refused at the start
            return
        limit_s = self._timeout_s if self._is_driven else None
        try:
            run_aside(self._rate, timeout_s=limit_s, is_stopped=is_stopped)
        except SilentError:
            raise self._unopened(self._silence) from None

    def frames(self) -> Iterator[SourceFrame]:
        if not self._is_driven:
            yield from self._frames()
            return
        num_frames = 0
        try:
            for frame in iterate_aside(self._frames, timeout_s=self._timeout_s):
                yield frame
                num_frames += 1
        except SilentError:
            raise self._undecoded(num_frames, self._silence) from None

    def _rate(self) -> float | None:
        """Open it once, and return the rate that it says it has."""
        container = self._open()
        try:
            rate = _video_stream(container, self._where).average_rate
            return float(rate) if rate else None
        finally:
            container.close()

    def _frames(self) -> Iterator[SourceFrame]:
        av = _import_av(self._where)
        num_frames = 0
        last_s: float | None = None
        container = self._open()
        try:
            stream = _video_stream(container, self._where)
            stream.thread_type = "AUTO"
            for frame in self._decoded(container.demux(stream), damage=av.error.InvalidDataError):
                yield SourceFrame(_upright(frame))
                num_frames += 1
                last_s = frame.time
            self._say_if_short(_duration_s(container, stream), last_s=last_s)
        except (av.FFmpegError, ValueError) as reason:
            raise self._undecoded(num_frames, self._why(reason)) from None
        finally:
            container.close()
        if num_frames == 0:
            raise DataError(f"{self._where}: holds no video frame; check the file")

    def _decoded(self, packets: Iterable[Any], *, damage: type[Exception]) -> Iterator[Any]:
        """Yield what can be decoded; raises `damage` where too much in a row cannot.

        A camera's cable or a lossy network damages a picture now and then, and the next is whole.
        """
        complaints = Complaints()
        num_damaged = 0
        for packet in packets:
            try:
                frames = packet.decode()
            except damage as reason:
                num_damaged += 1
                if num_damaged >= MANY_DAMAGED:
                    raise
                text = f"{self._where}: a picture is damaged and left out ({_reason(reason)})"
                line = complaints.say(text, now_s=time.monotonic())
                if line is not None:
                    log.warning("%s", line)
                continue
            num_damaged = 0
            yield from frames

    def _say_if_short(self, duration_s: float | None, *, last_s: float | None) -> None:
        """Warn, once, of a file that breaks off: some forms then end as if all were well."""
        if self.is_live or self._said_short or duration_s is None or last_s is None:
            return
        if last_s < duration_s - max(SHORT_S, SHORT_SHARE * duration_s):
            self._said_short = True
            log.warning(
                "%s: ends after %.1f s, but is said to last %.1f s; check that the file is whole",
                self._where,
                last_s,
                duration_s,
            )

    def _open(self) -> Any:
        av = _import_av(self._where)
        begun_s = time.monotonic()
        try:
            limit_s = None if self._is_driven else self._timeout_s
            return av.open(self._address, format=self._form, timeout=limit_s)
        except (av.FFmpegError, OSError, ValueError) as reason:
            why = self._why(reason, waited_s=time.monotonic() - begun_s)
            raise self._unopened(why) from None

    def _unopened(self, why: str) -> DataError:
        return DataError(
            f"{self._where}: cannot be opened as video ({why}); expected a video "
            "file, v4l2:///dev/videoN or rtsp://..."
        )

    def _undecoded(self, num_frames: int, why: str) -> DataError:
        return DataError(
            f"{self._where}: cannot be decoded after frame {num_frames} ({why}); check the file or "
            "the camera"
        )

    @property
    def _silence(self) -> str:
        return f"nothing came for {self._timeout_s:g} s"

    def _why(self, reason: BaseException, *, waited_s: float = 0.0) -> str:
        """Return what went wrong; of a stream that fell silent FFmpeg says other things.

        PyAV interrupts a call that takes too long, and what opens a stream takes that for damage.
        """
        av = _import_av(self._where)
        limit_s = self._timeout_s
        if limit_s is not None and (isinstance(reason, av.error.ExitError) or waited_s >= limit_s):
            return self._silence
        return _reason(reason)


def _video_stream(container: Any, where: str) -> Any:
    if not container.streams.video:
        raise DataError(f"{where}: holds no video stream; check the file")
    return container.streams.video[0]


def _duration_s(container: Any, stream: Any) -> float | None:
    """Return when the video should end, by what the file says of itself; None if it says nothing.

    That is a time of its frames, which need not begin at 0.
    """
    if stream.duration is not None:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    if container.duration is not None:  # in microseconds
        return float((container.start_time or 0) + container.duration) / 1e6
    return None


def _upright(frame: Any) -> Picture:
    """Return the pixels turned as the file says: a telephone held upright films lying down."""
    picture_HWC: Picture = frame.to_ndarray(format="rgb24")
    quarters = round(frame.rotation / 90) % 4  # counted against the clock
    return np.ascontiguousarray(np.rot90(picture_HWC, quarters)) if quarters else picture_HWC


def _import_av(where: str) -> Any:
    try:
        import av
    except ImportError:
        raise UsageError(
            f"{where}: videos and cameras need PyAV, which the extra `video` brings; "
            "pip install '.[video]' in a copy of this repository"
        ) from None
    return av


def _reason(reason: BaseException) -> str:
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
