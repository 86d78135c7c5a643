"""Where pictures come from: folders, labelled data sets, videos, cameras, streams, or nowhere.

    dir:PATH                    every picture of a folder, in the order of their names; of a loop,
                                each pass plays what lies there as it begins
    cifar10:PATH folder:PATH npz:PATH   the validation split of a labelled data set
    fake://WIDTHxHEIGHT[?seed=N]        endless noise, for trying things out
    v4l2:///dev/video0          a camera
    rtsp://HOST/...             a stream
    PATH                        a video file

A source only yields pictures; `playback` decides when. Videos and cameras need PyAV (the extra
`video`).
"""

import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from headgate.profiles.class_names import match_classes
from headgate.profiles.datasets import is_dataset_spec, open_dataset
from headgate.profiles.errors import DataError, UsageError
from headgate.profiles.labelled import Dataset
from headgate.profiles.pictures import PICTURE_SUFFIXES, load_picture
from headgate.runtime.complaints import Complaints

log = logging.getLogger(__name__)

Picture = npt.NDArray[np.uint8]
Place = TypeVar("Place")  # of a picture: a path, or a number in a data set

NO_PICTURE: Picture = np.zeros((0, 0, 3), np.uint8)
FAKE = re.compile(
    r"fake:(//)?((?P<width>[0-9]{1,9})x(?P<height>[0-9]{1,9}))?(\?seed=(?P<seed>[0-9]{1,18}))?"
)
MAX_FAKE_PX = 1 << 24
STREAM_TIMEOUT_S = 10.0
MANY_DAMAGED = 100  # packets of a video in a row
SHORT_S, SHORT_SHARE = 1.0, 0.05  # a video may end so much before the end of its sound


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """One picture, RGB uint8 HWC, and its class where the source knows it.

    With a `fault`, which says why it cannot be read, there is no picture.
    """

    picture: Picture  # HWC
    truth: int | None = None
    fault: str | None = None


class PictureSource(Protocol):
    """Something that yields pictures; iterating again starts again, where that is possible."""

    @property
    def name(self) -> str:
        """Return what was opened, for messages and the summary."""

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Return the names that `truth` indexes, or None where the truth is not known."""

    @property
    def fps(self) -> float | None:
        """Return the rate the source was recorded at, or None if it has none."""

    @property
    def is_live(self) -> bool:
        """Return whether the source sets the pace itself and cannot be played again."""

    def frames(self) -> Iterator[SourceFrame]:
        """Yield every picture once; raises DataError where none of them can be read."""


@dataclass(frozen=True, slots=True)
class FolderSource:
    """The pictures directly inside a folder, by name: those that lie there when it is begun."""

    folder: Path
    name: str
    where: str  # what begins what is said of it
    labels: tuple[str, ...] | None = None
    fps: float | None = None
    is_live: bool = False

    def frames(self) -> Iterator[SourceFrame]:
        paths = _pictures_in(self.folder, where=self.where)
        return _each(((path, None) for path in paths), read=load_picture, name=self.name)


@dataclass(frozen=True, slots=True)
class DatasetSource:
    """A labelled data set: in its own order, or one picture of each class in turn where that is
    class after class, as in folders. A look at the first few would else see one class alone.
    """

    dataset: Dataset
    name: str
    labels: tuple[str, ...]
    class_of: tuple[int, ...]  # for each class of the data set its place in `labels`
    fps: float | None = None
    is_live: bool = False

    def frames(self) -> Iterator[SourceFrame]:
        labels = [self.dataset.label(index) for index in range(len(self.dataset))]
        turns = ((index, self.class_of[labels[index]]) for index in in_turns(labels))
        return _each(turns, read=self.dataset.picture, name=self.name)


def _each(
    places: Iterable[tuple[Place, int | None]], *, read: Callable[[Place], Picture], name: str
) -> Iterator[SourceFrame]:
    """Yield a frame for every place and its truth. A file that is damaged spoils its own only."""
    fault: str | None = None
    num_frames = num_faults = 0
    for place, truth in places:
        num_frames += 1
        try:
            picture, fault = read(place), None
        except DataError as reason:
            picture, fault = NO_PICTURE, str(reason)
            num_faults += 1
        yield SourceFrame(picture, truth, fault)
    if num_faults and num_faults == num_frames:
        raise DataError(f"{name}: not one of {num_frames} pictures can be read; the last: {fault}")


def in_turns(labels: Sequence[int]) -> list[int]:
    """Return the places of all labels: as they are, or of each class in turn where sorted."""
    places = list(range(len(labels)))
    if any(before > after for before, after in pairwise(labels)):
        return places
    nth: Counter[int] = Counter()
    turns = []
    for label in labels:
        turns.append(nth[label])
        nth[label] += 1
    return sorted(places, key=lambda place: turns[place])


@dataclass(frozen=True, slots=True)
class FakeSource:
    """Endless noise of one size, a few different pictures over and over."""

    width_px: int
    height_px: int
    name: str
    seed: int = 0
    labels: tuple[str, ...] | None = None
    fps: float | None = None
    is_live: bool = False

    def frames(self) -> Iterator[SourceFrame]:
        rng = np.random.default_rng(self.seed)
        shape = (self.height_px, self.width_px, 3)
        pictures = [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(4)]
        while True:
            for picture in pictures:
                yield SourceFrame(picture)


class VideoSource:
    """A video file, a camera or a network stream, through PyAV."""

    labels: tuple[str, ...] | None = None

    def __init__(
        self, name: str, *, address: str, form: str | None, is_live: bool, where: str
    ) -> None:
        """`where` begins what is said of it: the argument or option, and its value."""
        self.name = name
        self._where = where
        self.is_live = is_live
        self._address = address
        self._form = form
        self._said_short = False
        self.fps: float | None = None
        container = self._open()  # what cannot be decoded is refused at the start
        try:
            rate = _video_stream(container, self._where).average_rate
            self.fps = float(rate) if rate and not is_live else None
        finally:
            container.close()

    def frames(self) -> Iterator[SourceFrame]:
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
            raise DataError(
                f"{self._where}: cannot be decoded after frame {num_frames} ({_reason(reason)}); "
                "check the file or the camera"
            ) from None
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
        try:
            return av.open(
                self._address,
                format=self._form,
                timeout=STREAM_TIMEOUT_S if self._form is None and self.is_live else None,
            )
        except (av.FFmpegError, OSError, ValueError) as reason:
            raise DataError(
                f"{self._where}: cannot be opened as video ({_reason(reason)}); expected a video "
                "file, v4l2:///dev/videoN or rtsp://..."
            ) from None


def open_source(
    spec: str, *, labels: tuple[str, ...] | None = None, place: str = "INPUT"
) -> PictureSource:
    """Return the source that `spec` names, or raise UsageError or DataError.

    `labels` are the classes of whoever answers: truths are counted as they are, and a data set of
    other classes is refused. None keeps the data set's own. `place` is the argument or option that
    it was given for, to begin what is said of it.
    """
    where = f"{place} {spec}"
    scheme, colon, path = spec.partition(":")
    if is_dataset_spec(spec):
        dataset = open_dataset(spec, "val")
        if len(dataset) == 0:
            raise DataError(f"{where}: holds no pictures; check the data set")
        known = dataset.labels if labels is None else labels
        class_of = match_classes(dataset.labels, known, where=where)
        return DatasetSource(dataset, spec, known, tuple(class_of))
    if colon and scheme == "dir":
        _pictures_in(Path(path), where=where)  # without any it is refused at the start
        return FolderSource(Path(path), spec, where)
    if scheme == "fake" and colon:
        return _open_fake(spec, where=where)
    if scheme == "v4l2" and colon:
        device = path.removeprefix("//")
        if not Path(device).exists():
            raise DataError(f"{where}: no such camera {device!r}; list them with ls /dev/video*")
        return VideoSource(spec, address=device, form="v4l2", is_live=True, where=where)
    if scheme in ("rtsp", "rtsps") and colon:
        return VideoSource(spec, address=spec, form=None, is_live=True, where=where)
    if scheme == "embedded":
        raise UsageError(
            f"{where}: is drawn by the training code, which no device has; `headgate demo` "
            "leaves pictures of it, play them as npz:out/demo/pictures.npz"
        )
    if spec and Path(spec).is_dir():
        raise UsageError(f"{where}: is a folder; write dir:{spec} or folder:{spec}")
    if not Path(spec).is_file():
        raise DataError(
            f"{where}: no such video file, and not one of dir:PATH, cifar10:PATH, "
            "folder:PATH, npz:PATH, fake://WxH, v4l2://DEVICE, rtsp://..."
        )
    return VideoSource(spec, address=spec, form=None, is_live=False, where=where)


def _pictures_in(folder: Path, *, where: str) -> list[Path]:
    """Return the pictures of a folder by name, or raise DataError where there are none."""
    if not folder.is_dir():
        raise DataError(f"{where}: no such folder; check the path")
    paths = [
        path
        for path in sorted(folder.iterdir())
        # A link that leads nowhere is named when its turn comes; a pipe would block for ever. What
        # is hidden was put there by a system, not by a camera (`._a.png` holds no picture).
        if path.name[0] != "."
        and path.suffix.lower() in PICTURE_SUFFIXES
        and (path.is_file() or path.is_symlink())
    ]
    if not paths:
        raise DataError(
            f"{where}: holds no pictures, expected files ending in "
            f"{', '.join(sorted(PICTURE_SUFFIXES))}; check the path"
        )
    return paths


def _open_fake(spec: str, *, where: str) -> FakeSource:
    parts = FAKE.fullmatch(spec)
    if parts is None:
        raise UsageError(f"{where}: is not fake://WIDTHxHEIGHT[?seed=N]")
    width_px, height_px = int(parts["width"] or 224), int(parts["height"] or 224)
    if not 0 < width_px * height_px <= MAX_FAKE_PX:
        raise UsageError(f"{where}: expected 1 to {MAX_FAKE_PX} pixels")
    return FakeSource(width_px, height_px, spec, seed=int(parts["seed"] or 0))


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
