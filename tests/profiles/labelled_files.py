"""Writes small labelled data sets to disk, in every layout that Headgate reads."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

TRAIN_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))


def cifar_records(stem: str, *, count: int) -> tuple[npt.NDArray[np.uint8], list[int]]:
    """Return planes [N, 3072] and labels that differ from file to file."""
    random = np.random.default_rng(sum(stem.encode()))
    planes = random.integers(0, 256, (count, 3072), dtype=np.uint8)
    return planes, [int(label) for label in random.integers(0, 10, count)]


def write_cifar10_binary(folder: Path, *, count: int = 4) -> None:
    folder.mkdir(parents=True)
    for stem in (*TRAIN_FILES, "test_batch"):
        planes, labels = cifar_records(stem, count=count)
        records = np.concatenate([np.array(labels, dtype=np.uint8)[:, None], planes], axis=1)
        (folder / f"{stem}.bin").write_bytes(records.tobytes())


def write_cifar10_python(folder: Path, *, count: int = 4, protocol: int = 2) -> None:
    folder.mkdir(parents=True)
    for stem in (*TRAIN_FILES, "test_batch"):
        planes, labels = cifar_records(stem, count=count)
        batch = {b"data": planes, b"labels": labels, b"batch_label": b"one of them"}
        (folder / stem).write_bytes(pickle.dumps(batch, protocol=protocol))


def write_picture(file: Path, *, shade: int, size_px: tuple[int, int] = (6, 8)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size_px, 3), shade, dtype=np.uint8)).save(file)
