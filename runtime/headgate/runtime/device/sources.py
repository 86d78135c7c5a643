"""Where pictures come from: folders, labelled data sets, videos, cameras, streams, or nowhere.

    dir:PATH                    every picture of a folder, in the order of their names; of a loop,
                                each pass plays what lies there as it begins
    cifar10:PATH folder:PATH npz:PATH   the validation split of a labelled data set
    fake://WIDTHxHEIGHT[?seed=N]        endless noise, for trying things out
    v4l2:///dev/video0          a camera
    rtsp://HOST/...             a stream
    PATH                        a video file

A source only yields pictures; `playback` decides when.
"""

import re
from collections.abc import Callable
from pathlib import Path

from headgate.profiles.class_names import match_classes
from headgate.profiles.datasets import is_dataset_spec, open_dataset
from headgate.profiles.errors import DataError, UsageError
from headgate.runtime.device.picture_sets import (
    DatasetSource,
    FakeSource,
    FolderSource,
    pictures_in,
)
from headgate.runtime.device.picture_source import PictureSource
from headgate.runtime.device.video_source import VideoSource

FAKE = re.compile(
    r"fake:(//)?((?P<width>[0-9]{1,9})x(?P<height>[0-9]{1,9}))?(\?seed=(?P<seed>[0-9]{1,18}))?"
)
MAX_FAKE_PX = 1 << 24


def open_source(
    spec: str,
    *,
    labels: tuple[str, ...] | None = None,
    place: str = "INPUT",
    is_stopped: Callable[[], bool] = lambda: False,
) -> PictureSource:
    """Return the source that `spec` names, or raise UsageError or DataError.

    `labels` are the classes of whoever answers: truths are counted as they are, and a data set of
    other classes is refused. None keeps the data set's own. `place` is the argument or option that
    it was given for, to begin what is said of it. A camera or stream may take long to open: then
    StoppedError is raised once `is_stopped` comes true.
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
        pictures_in(Path(path), where=where)  # without any it is refused at the start
        return FolderSource(Path(path), spec, where)
    if scheme == "fake" and colon:
        return _open_fake(spec, where=where)
    if scheme == "v4l2" and colon:
        device = path.removeprefix("//")
        if not Path(device).exists():
            raise DataError(f"{where}: no such camera {device!r}; list them with ls /dev/video*")
        return VideoSource(
            spec, address=device, form="v4l2", is_live=True, where=where, is_stopped=is_stopped
        )
    if scheme in ("rtsp", "rtsps") and colon:
        return VideoSource(
            spec, address=spec, form=None, is_live=True, where=where, is_stopped=is_stopped
        )
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


def _open_fake(spec: str, *, where: str) -> FakeSource:
    parts = FAKE.fullmatch(spec)
    if parts is None:
        raise UsageError(f"{where}: is not fake://WIDTHxHEIGHT[?seed=N]")
    width_px, height_px = int(parts["width"] or 224), int(parts["height"] or 224)
    if not 0 < width_px * height_px <= MAX_FAKE_PX:
        raise UsageError(f"{where}: expected 1 to {MAX_FAKE_PX} pixels")
    return FakeSource(width_px, height_px, spec, seed=int(parts["seed"] or 0))
