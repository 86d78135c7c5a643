"""Reads a labelled data set from one .npz file of plain arrays (never pickled objects).

train_pictures, val_pictures   uint8 [N, H, W, 3], RGB
train_labels, val_labels       whole numbers [N]
label_names                    optional text [K]; without it classes are called 0, 1, 2, ...
"""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headgate.profiles.class_names import check_names
from headgate.profiles.errors import DataError
from headgate.profiles.labelled import ArrayDataset, Labels, Split, check_labels, digest_arrays

_ARRAYS = ("train_pictures", "train_labels", "val_pictures", "val_labels")
_REMEDY = f"write it with numpy.savez and the arrays {', '.join(_ARRAYS)}"
# RuntimeError: an encrypted member, or one that is compressed in a way that zipfile does not know.
_UNREADABLE: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    EOFError,
    MemoryError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
with contextlib.suppress(ImportError):  # some builds of Python have none; zipfile then refuses it
    from lzma import LZMAError

    _UNREADABLE += (LZMAError,)


def open_arrays(path: Path, split: Split) -> ArrayDataset:
    """Open one split of an .npz file; the pictures of the other split are not read."""
    try:
        if path.exists() and not path.is_file():  # looking for an archive's end may have none
            raise OSError("is a folder" if path.is_dir() else "is a pipe or a device")
        # NumPy would take what is no archive for a pickle, and advise to trust it.
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile("no such file" if not path.exists() else "not an archive")
        file = np.load(path, allow_pickle=False)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from None
    with file:
        missing = [name for name in _ARRAYS if name not in file]
        if missing:
            raise DataError(
                f"npz {path}: no array {missing[0]}, expected {', '.join(_ARRAYS)}; {_REMEDY}"
            )
        names, labels = _read_labels(file, path)
        pictures = _array(file, f"{split}_pictures", path)
    where = f"npz {path}: {split}_pictures"
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] != 3:
        raise DataError(
            f"{where} is {pictures.dtype} {pictures.shape}, expected uint8 (N, H, W, 3); {_REMEDY}"
        )
    if len(pictures) != len(labels[split]) or 0 in pictures.shape:
        raise DataError(
            f"{where} has shape {pictures.shape} and there are {len(labels[split])} labels, "
            f"expected as many pictures and at least one; {_REMEDY}"
        )
    return ArrayDataset(
        pictures_NHWC=pictures,
        labels_N=labels[split],
        names=names,
        digest=digest_arrays(pictures, labels[split], names=names),
    )


def _read_labels(
    file: Mapping[str, Any], path: Path
) -> tuple[tuple[str, ...], dict[Split, Labels]]:
    """Return class names and the labels of both splits: the classes come from both."""
    raw: dict[Split, npt.NDArray[Any]] = {
        "train": _array(file, "train_labels", path),
        "val": _array(file, "val_labels", path),
    }
    for split, labels in raw.items():
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise DataError(
                f"npz {path}: {split}_labels is {labels.dtype} {labels.shape}, expected whole "
                f"numbers (N,); {_REMEDY}"
            )
    if "label_names" in file:
        found = _array(file, "label_names", path)
        if found.ndim != 1 or found.dtype.kind != "U" or not found.size:
            raise DataError(
                f"npz {path}: label_names is {found.dtype} {found.shape}, expected text (K,); "
                f"{_REMEDY}"
            )
        names = tuple(str(name) for name in found)
        check_names(names, where=f"npz {path}: label_names")
    else:
        largest = max(int(labels.max(initial=0)) for labels in raw.values())
        total = sum(len(labels) for labels in raw.values())
        if largest > total:
            raise DataError(
                f"npz {path}: largest label {largest} among {total} pictures, expected classes "
                f"counted from 0; {_REMEDY}"
            )
        names = tuple(str(label) for label in range(largest + 1))
    return names, {
        split: check_labels(labels, num_classes=len(names), where=f"npz {path}: {split}_labels")
        for split, labels in raw.items()
    }


def _array(file: Mapping[str, Any], name: str, path: Path) -> npt.NDArray[Any]:
    try:
        return np.asarray(file[name])
    except _UNREADABLE as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: BaseException) -> DataError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    if isinstance(error, FileNotFoundError):
        reason = "no such file"
    return DataError(f"npz {path}: {reason[:120]}, expected a whole .npz file; {_REMEDY}")
