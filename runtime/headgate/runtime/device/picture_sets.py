"""Pictures that are there from the start: of a folder, of a labelled data set, or made up.

They can wait: nothing is lost if one is taken late, and a file that is damaged spoils no other.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np

from headgate.profiles.errors import DataError
from headgate.profiles.labelled import Dataset
from headgate.profiles.pictures import PICTURE_SUFFIXES, load_picture
from headgate.runtime.device.picture_source import Picture, SourceFrame

Place = TypeVar("Place")  # of a picture: a path, or a number in a data set

NO_PICTURE: Picture = np.zeros((0, 0, 3), np.uint8)


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
        paths = pictures_in(self.folder, where=self.where)
        return _each(((path, None) for path in paths), read=load_picture, name=self.name)


def pictures_in(folder: Path, *, where: str) -> list[Path]:
    """Return the pictures of a folder by name, or raise DataError where there are none."""
    if not folder.is_dir():
        raise DataError(f"{where}: no such folder; check the path")
    inside = [path for path in sorted(folder.iterdir()) if path.name[0] != "."]
    # A link that leads nowhere is named when its turn comes; a pipe would block for ever. What
    # is hidden was put there by a system, not by a camera (`._a.png` holds no picture).
    paths = [
        path
        for path in inside
        if path.suffix.lower() in PICTURE_SUFFIXES and (path.is_file() or path.is_symlink())
    ]
    if not paths:
        folders = any(path.is_dir() for path in inside)
        remedy = (
            f"with a folder for each class, write folder:{folder}" if folders else "check the path"
        )
        raise DataError(
            f"{where}: holds no pictures, expected files ending in "
            f"{', '.join(sorted(PICTURE_SUFFIXES))}; {remedy}"
        )
    return paths


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
