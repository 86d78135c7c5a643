"""Opens a labelled data set from its specification, one string such as `cifar10:PATH`.

cifar10:PATH   the official CIFAR-10 files, binary or python layout, found by themselves
folder:PATH    train/ and val/ with one folder per class, or one such tree split 80 to 20
npz:PATH       arrays train_pictures, train_labels, val_pictures, val_labels (uint8 NHWC)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headgate.profiles.cifar10 import open_cifar10
from headgate.profiles.errors import UsageError
from headgate.profiles.labelled import Dataset, Split
from headgate.profiles.picture_arrays import open_arrays
from headgate.profiles.picture_folder import open_folder

_OPENERS: dict[str, Callable[[Path, Split], Dataset]] = {
    "cifar10": open_cifar10,
    "folder": open_folder,
    "npz": open_arrays,
}


def is_dataset_spec(spec: str) -> bool:
    """Say whether `spec` names a labelled data set (and not a video, a folder of frames, ...)."""
    kind, colon, _ = spec.partition(":")
    return bool(colon) and kind in _OPENERS


def open_dataset(spec: str, split: Split, *, also: tuple[str, ...] = ()) -> Dataset:
    """Open one split of the data set that `spec` names.

    `also` are the kinds that the caller opens by itself: the message names them.

    Raises UsageError when the specification is not one, and DataError when the files behind
    it are missing or broken. A picture of a folder is read when it is asked for, so a broken
    one is only found then.
    """
    kind, _, place = spec.partition(":")
    if kind not in _OPENERS:
        raise UsageError(
            f"data set {spec!r}: {kind!r} is not one of {', '.join((*also, *_OPENERS))}; "
            "write it like cifar10:PATH"
        )
    if split not in ("train", "val"):
        raise UsageError(f"data set {spec!r}: split {split!r} is not one of train, val")
    if not place:
        raise UsageError(f"data set {spec!r}: no path after {kind}:, expected {kind}:PATH")
    return _OPENERS[kind](Path(place).expanduser(), split)
