"""Reads CIFAR-10 as its authors publish it, in the binary and in the python layout.

Binary (cifar-10-batches-bin): a record is one label byte and 3,072 picture bytes, colour planes
first; data_batch_1.bin to data_batch_5.bin and test_batch.bin, 10,000 records each.
Python (cifar-10-batches-py): the same in pickled dictionaries, without the suffix.
Smaller sets in the same layout are read too, so long as the five training files are alike: a
file cut at the end of a record is then still noticed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from headgate.profiles.errors import DataError
from headgate.profiles.labelled import (
    ArrayDataset,
    Labels,
    Picture,
    Split,
    check_labels,
    digest_arrays,
)
from headgate.profiles.plain_files import read_plain
from headgate.profiles.plain_pickle import load_plain_pickle

NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
SIDE_PX = 32
PICTURE_BYTES = 3 * SIDE_PX * SIDE_PX
RECORD_BYTES = 1 + PICTURE_BYTES
MAX_FILE_BYTES = 1 << 30  # the official ones have 31 MB

_FILES: dict[Split, tuple[str, ...]] = {
    "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
    "val": ("test_batch",),
}
_REMEDY = "get the official cifar-10-binary or cifar-10-python archive and unpack it there"


def open_cifar10(path: Path, split: Split) -> ArrayDataset:
    """Open the training files, or the test files as `val`, of the data set in `path`.

    `path` is the folder with the files or the one above it.
    """
    folder, suffix = _find_layout(path)
    parts: list[tuple[Picture, Labels]] = []
    for stem in _FILES[split]:
        file = folder / (stem + suffix)
        content = _read(file)
        parts.append(_parse_binary(content, file) if suffix else _parse_python(content, file))
    _check_alike(parts, folder=folder, files=[stem + suffix for stem in _FILES[split]])
    # Planes stay as they lie in the files, seen through a transposed view: a device that plays
    # the test files holds them once.
    planes_NCHW = parts[0][0] if len(parts) == 1 else np.concatenate([part for part, _ in parts])
    labels_N = np.concatenate([labels for _, labels in parts])
    return ArrayDataset(
        pictures_NHWC=planes_NCHW.transpose(0, 2, 3, 1),
        labels_N=labels_N,
        names=NAMES,
        # Over the planes in file order: both layouts of one set have the same digest.
        digest=digest_arrays(planes_NCHW, labels_N, names=NAMES),
    )


def _find_layout(path: Path) -> tuple[Path, str]:
    """Return the folder with the files and the suffix that they carry (none: python layout)."""
    for folder in (path, path / "cifar-10-batches-bin", path / "cifar-10-batches-py"):
        for suffix in (".bin", ""):
            stems = _FILES["train"] + _FILES["val"]
            if any((folder / (stem + suffix)).is_file() for stem in stems):
                return folder, suffix
    found = "nothing" if not path.exists() else "neither layout" if path.is_dir() else "a file"
    raise DataError(
        f"cifar10 {path}: found {found}, expected a folder with data_batch_1.bin or data_batch_1 "
        f"and the other files; {_REMEDY}"
    )


def _read(file: Path) -> bytes:
    try:
        return read_plain(file, max_bytes=MAX_FILE_BYTES)
    except OSError as error:
        raise DataError(
            f"cifar10 {file}: {error.strerror or error}, expected a readable file; {_REMEDY}"
        ) from None


def _parse_binary(content: bytes, file: Path) -> tuple[Picture, Labels]:
    if not content or len(content) % RECORD_BYTES:
        raise DataError(
            f"cifar10 {file}: {len(content)} bytes, expected whole records of {RECORD_BYTES} "
            f"(officially 30730000 bytes); {_REMEDY}"
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, RECORD_BYTES)
    labels_N = check_labels(records[:, 0], num_classes=len(NAMES), where=f"cifar10 {file}")
    return records[:, 1:].reshape(-1, 3, SIDE_PX, SIDE_PX), labels_N


def _parse_python(content: bytes, file: Path) -> tuple[Picture, Labels]:
    where = f"cifar10 {file}"
    batch = load_plain_pickle(content, where=where)
    missing = {"data", "labels"} - batch.keys()
    if missing:
        found = str(sorted(batch))[:120]
        raise DataError(f"{where}: keys {found}, expected {sorted(missing)} as well; {_REMEDY}")
    pixels, listed = batch["data"], batch["labels"]
    if not (
        isinstance(pixels, np.ndarray)
        and pixels.dtype == np.uint8
        and pixels.ndim == 2
        and pixels.shape[0] > 0
        and pixels.shape[1] == PICTURE_BYTES
    ):
        raise DataError(
            f"{where}: data is {_describe(pixels)}, expected uint8 (N, {PICTURE_BYTES}); {_REMEDY}"
        )
    labels = _integers(listed)
    if labels is None or len(labels) != len(pixels):
        raise DataError(
            f"{where}: labels are {_describe(listed)}, expected {len(pixels)} whole numbers; "
            f"{_REMEDY}"
        )
    checked = check_labels(labels, num_classes=len(NAMES), where=where)
    return pixels.reshape(-1, 3, SIDE_PX, SIDE_PX), checked


def _integers(listed: object) -> npt.NDArray[np.integer] | None:
    if isinstance(listed, np.ndarray):
        return listed if listed.ndim == 1 and listed.dtype.kind in "iu" else None
    # bool is an int to Python; the bound keeps the conversion from overflowing.
    if isinstance(listed, list) and all(
        type(label) is int and abs(label) < 2**31 for label in listed
    ):
        return np.array(listed, dtype=np.int64)
    return None


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, list | tuple | str | bytes):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__


def _check_alike(parts: list[tuple[Picture, Labels]], *, folder: Path, files: list[str]) -> None:
    counts = [len(labels) for _, labels in parts]
    for name, count in zip(files, counts, strict=True):
        if count != max(counts):
            raise DataError(
                f"cifar10 {folder / name}: {count} pictures, expected {max(counts)} as in the "
                f"other training files; {_REMEDY}"
            )
