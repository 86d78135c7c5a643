"""Read anyone's labelled pictures for a family: classes by name, sizes brought to its input.

The pictures need not be those that the family was trained on, but they must show its classes. What
does not fit is refused with the names; what fits only after a change is said in the notes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headgate.export.samples import spread
from headgate.profiles.class_names import match_classes
from headgate.profiles.confidence import picture_fingerprint
from headgate.profiles.errors import DataError, UsageError
from headgate.profiles.labelled import Dataset
from headgate.profiles.manifest import Manifest
from headgate.profiles.pictures import preprocess
from headgate.train.pictures.data import open_split

MAX_BYTES = 8 << 30  # of all pictures at the input's size, in memory
FEW_PICTURES = 500  # below, two accuracies must be 4 points apart to differ


@dataclass(frozen=True, slots=True)
class LabelledPictures:
    """Pictures at the network's input size, uint8 NHWC, and their labels as the family counts."""

    pictures: NDArray[np.uint8]
    labels: NDArray[np.int64]
    digest: str  # of the whole data set
    notes: tuple[str, ...]
    num_left_out: int = 0  # of those that were to be left out

    def __len__(self) -> int:
        return len(self.labels)


def load_pictures(
    manifest: Manifest, spec: str, *, limit: int | None, leave_out: Collection[str] = ()
) -> LabelledPictures:
    """Read the validation half of the data set `spec`, at most `limit` pictures spread over it.

    Those whose fingerprints are in `leave_out` do not count, nor towards the limit.

    Raises DataError where its classes are not the family's, or where it does not fit in memory.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--limit: found {limit}, expected 1 or more")
    dataset = open_split(spec, "val")
    class_of = match_classes(dataset.labels, manifest.labels, where=f"data set {spec}")
    kept = _fresh(dataset, manifest, leave_out) if leave_out else np.arange(len(dataset))
    picks = kept[spread(len(kept), limit)]
    size_px = (manifest.input.height_px, manifest.input.width_px)
    needed = 3 * size_px[0] * size_px[1] * len(picks)
    if needed > MAX_BYTES:
        raise DataError(
            f"data set {spec}: {len(picks)} pictures of {size_px[1]} x {size_px[0]} px need "
            f"{needed >> 20} MiB, at most {MAX_BYTES >> 20}; give --limit"
        )
    pictures = np.empty((len(picks), *size_px, 3), np.uint8)
    num_resized = num_enlarged = 0
    for row, index in enumerate(picks):
        picture = dataset.picture(int(index))
        num_resized += picture.shape[:2] != size_px
        num_enlarged += picture.shape[0] < size_px[0] or picture.shape[1] < size_px[1]
        pictures[row] = preprocess(picture, manifest.input)
    labels = np.array([class_of[dataset.label(int(index))] for index in picks], np.int64)
    notes = [_what(spec, dataset.labels, num=len(picks), of=len(dataset), size_px=size_px)]
    if not set(dataset.labels) <= set(manifest.labels):
        notes.append("its classes have no names and are taken to be counted as the family's")
    if num_resized:
        done = {"crop": "scaled, and their edges cut off where the shape differs"}.get(
            manifest.input.resize, "stretched"
        )
        notes.append(f"{num_resized} pictures were of another size: {done}, as devices do")
    if num_enlarged:
        notes.append(
            f"{num_enlarged} pictures are smaller than the input and were enlarged: JPEG and WebP "
            "find them easier than pictures of that size"
        )
    if len(picks) < FEW_PICTURES:
        notes.append(f"only {len(picks)} pictures: look at the standard errors first")
    num_left_out = len(dataset) - len(kept)
    return LabelledPictures(pictures, labels, dataset.digest, tuple(notes), num_left_out)


def _fresh(dataset: Dataset, manifest: Manifest, leave_out: Collection[str]) -> NDArray[np.int64]:
    """Return which pictures are none of those that are to be left out; reads them all."""
    fingerprints = (
        picture_fingerprint(preprocess(dataset.picture(index), manifest.input))
        for index in range(len(dataset))
    )
    fresh = [index for index, each in enumerate(fingerprints) if each not in leave_out]
    return np.array(fresh, np.int64)


def _what(spec: str, names: Sequence[str], *, num: int, of: int, size_px: tuple[int, int]) -> str:
    share = f"{num} of {of}" if num < of else f"all {num}"
    return (
        f"{spec.partition(':')[0]}: {share} validation pictures of {len(names)} classes, "
        f"at {size_px[1]} x {size_px[0]} px"
    )
