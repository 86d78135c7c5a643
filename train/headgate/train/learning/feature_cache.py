"""Outputs of a frozen head for all training pictures, on disk: it runs once for many epochs.

A member whose head is frozen begins each step at the split. The features of every picture are
computed for a few augmented variants, and each epoch takes another one of each picture; with them
lie the answers of the plain network, which teaches the members.

The file is mapped into memory: the system keeps as much of it there as there is room for. Blocks of
it are computed in a fixed order from the seed alone, so that a resumed run finds or makes the same
ones. With several processes each fills its share of the one file.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import Tensor

from headgate.profiles.errors import UsageError
from headgate.profiles.parse import unparse
from headgate.profiles.storage import read_json, sha256_file, write_atomic
from headgate.train.learning.material import Deal, Lesson
from headgate.train.pictures.batches import Augmentation, as_floats, augment, num_batches
from headgate.train.pictures.data import TrainingData

# Shapes: V variants, N pictures, B batch, P maps of H x W at the split, K classes

MAX_VARIANTS = 8
EPOCHS_PER_VARIANT = 2  # a variant that is used less often is not worth its head
BLOCK = 256  # pictures at a time
FEATURES, ANSWERS, KEY = "features.f16", "answers.f16", "key.json"
VALIDATION = "validation.f32"  # exact: measured accuracies are those of the pictures
LARGEST = 65504.0  # of a float16

Mapped = np.memmap[Any, np.dtype[Any]]
# Takes pictures, returns features and the logits that the plain network makes of them.
Look = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class CacheKey:
    """All that the contents follow from; a file with another key is made anew."""

    weights: str  # sha256 of the plain network's file
    data: str  # digest of the data set
    seed: int
    augmentation: Augmentation | None
    precision: str
    num_variants: int
    num_pictures: int
    num_validation: int
    shape: tuple[int, int, int]  # P, H, W
    num_classes: int

    @property
    def num_bytes(self) -> int:
        trained = 2 * self.num_variants * self.num_pictures * (prod(self.shape) + self.num_classes)
        return trained + 4 * self.num_validation * prod(self.shape)


def choose_num_variants(
    *,
    num_pictures: int,
    num_validation: int,
    num_values: int,
    num_classes: int,
    epochs: int,
    augmented: bool,
    limit_bytes: int,
) -> int:
    """Return how many variants of each picture to keep; 0 says that a cache does not pay.

    `num_values` are those of one picture's features, `epochs` all that will use the cache.
    """
    useful = min(MAX_VARIANTS, epochs // EPOCHS_PER_VARIANT)
    left_bytes = max(0, limit_bytes - 4 * num_validation * num_values)
    room = left_bytes // max(1, 2 * num_pictures * (num_values + num_classes))
    return min(useful if augmented else min(1, useful), room)


class FeatureCache:
    """Deals out lessons that begin at the split."""

    def __init__(self, folder: Path, key: CacheKey, *, data: TrainingData) -> None:
        """Open the cache in `folder`, which `fill` made."""
        self._key = key
        self._labels_N = data.train_labels_N
        self._val_labels_N = data.val_labels_N
        self._features_VNHWP, self._answers_VNK, self._val_NHWP = _map(folder, key, mode="r")

    def deal(self, deal: Deal) -> Iterator[Lesson]:
        """Yield lessons in the order in which pictures would come.

        The first variant of each picture is drawn, and later epochs take the next ones.
        """
        num_pictures, device = len(self._labels_N), self._labels_N.device
        draw = np.random.default_rng([deal.seed, deal.epoch, 0])
        order = draw.permutation(num_pictures)
        first_N = np.random.default_rng([deal.seed, 2]).integers(
            self._key.num_variants, size=num_pictures
        )
        variant_N = (first_N + deal.epoch) % self._key.num_variants
        share = num_pictures // deal.world_size
        mine = order[deal.rank : share * deal.world_size : deal.world_size]
        count = num_batches(num_pictures, batch_size=deal.batch_size, world_size=deal.world_size)
        for number in range(deal.first_step, count):
            chosen = mine[number * deal.batch_size : (number + 1) * deal.batch_size]
            places = (variant_N[chosen], chosen)
            features_BHWP = torch.from_numpy(self._features_VNHWP[places])
            answers_BK = torch.from_numpy(self._answers_VNK[places])
            yield Lesson(
                # Channels last in memory, as pictures are.
                x_BCHW=features_BHWP.to(device).float().permute(0, 3, 1, 2),
                labels_B=self._labels_N[torch.from_numpy(chosen).to(device)],
                at_split=True,
                taught_BK=answers_BK.to(device).float(),
            )

    def validation(
        self, *, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> Iterator[Lesson]:
        """Yield the validation pictures' features, shared out as `batches.val_batches` does."""
        mine_NHWP = self._val_NHWP[rank::world_size]
        labels_N = self._val_labels_N[rank::world_size]
        for begin in range(0, len(labels_N), batch_size):
            part = slice(begin, begin + batch_size)
            features_BHWP = torch.from_numpy(mine_NHWP[part].copy()).to(labels_N.device)
            yield Lesson(features_BHWP.permute(0, 3, 1, 2), labels_N[part], at_split=True)


def open_cache(
    fabric: Fabric, folder: Path, key: CacheKey, *, data: TrainingData, look: Look
) -> FeatureCache:
    """Return the cache of `folder`, filled if it is not there yet; every process calls this."""
    is_there = _is_there(folder, key)
    fabric.barrier()  # all have looked before the first writes
    if not is_there:
        if fabric.is_global_zero:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _reserve(folder, key)
        fabric.barrier()
        _fill(fabric, folder, key, data=data, look=look)
        fabric.barrier()
        if fabric.is_global_zero:
            write_atomic(folder / KEY, json.dumps(_stated(key, _digests(folder, key))))
        fabric.barrier()
    return FeatureCache(folder, key, data=data)


def _is_there(folder: Path, key: CacheKey) -> bool:
    """Say whether the folder holds what `key` asks for, byte for byte as it was made.

    A file that is too short would be mapped with zeros, and one that a disk has damaged trained on.
    """
    try:
        stored = read_json(folder / KEY, error=UsageError)
        if not isinstance(stored, dict) or stored.get("key") != _stated(key, {})["key"]:
            return False
        return bool(stored == _stated(key, _digests(folder, key)))
    except (UsageError, OSError):  # one that cannot be read is made anew
        return False


def _stated(key: CacheKey, digests: dict[str, str]) -> dict[str, Any]:
    return {"key": json.loads(json.dumps(unparse(key))), "files": digests}


def _digests(folder: Path, key: CacheKey) -> dict[str, str]:
    return {name: sha256_file(folder / name) for name, _, _ in _files(key)}


def _reserve(folder: Path, key: CacheKey) -> None:
    """Make the files at full size: a write to a mapped file on a full disk kills the process.

    What there is no room for is not begun: others would find the disk full until it fails.
    """
    try:
        if shutil.disk_usage(folder).free < key.num_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        for mapped, name in zip(
            _map(folder, key, mode="w+"), (FEATURES, ANSWERS, VALIDATION), strict=True
        ):
            if hasattr(os, "posix_fallocate"):  # Linux; elsewhere the check before has to do
                with (folder / name).open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, mapped.nbytes)
    except OSError as reason:
        shutil.rmtree(folder, ignore_errors=True)
        raise UsageError(
            f"--cache-gb: {folder} cannot take {key.num_bytes / 1e9:.1f} GB "
            f"({reason.strerror or reason}); give a smaller number, or 0 for no cache"
        ) from None


@torch.no_grad()
def _fill(fabric: Fabric, folder: Path, key: CacheKey, *, data: TrainingData, look: Look) -> None:
    features_VNHWP, answers_VNK, val_NHWP = _map(folder, key, mode="r+")
    for variant in range(key.num_variants):
        starts = range(0, key.num_pictures, BLOCK)
        for begin in starts[fabric.global_rank :: fabric.world_size]:
            pictures_BCHW = data.train_pictures_NCHW[begin : begin + BLOCK]
            if key.augmentation is not None and variant:  # the first one is the picture as it is
                draws = np.random.default_rng([key.seed, variant, begin])
                pictures_BCHW = augment(pictures_BCHW, key.augmentation, draws=draws)
            with fabric.autocast():
                features_BPHW, answers_BK = look(as_floats(pictures_BCHW))
            place = slice(begin, begin + len(pictures_BCHW))
            features_VNHWP[variant, place] = _halves(features_BPHW.permute(0, 2, 3, 1))
            answers_VNK[variant, place] = _halves(answers_BK)
    starts = range(0, key.num_validation, BLOCK)
    for begin in starts[fabric.global_rank :: fabric.world_size]:
        pictures_BCHW = data.val_pictures_NCHW[begin : begin + BLOCK]
        features_BPHW, _ = look(as_floats(pictures_BCHW))
        place = slice(begin, begin + len(pictures_BCHW))
        val_NHWP[place] = features_BPHW.float().permute(0, 2, 3, 1).cpu().numpy()
    for mapped in (features_VNHWP, answers_VNK, val_NHWP):
        mapped.flush()


def _halves(values: Tensor) -> npt.NDArray[np.float16]:
    found: npt.NDArray[np.float16] = values.float().clamp(-LARGEST, LARGEST).half().cpu().numpy()
    return found


def _map(folder: Path, key: CacheKey, *, mode: str) -> tuple[Mapped, Mapped, Mapped]:
    features, answers, validation = (
        np.memmap(folder / name, dtype, mode=mode, shape=shape)  # type: ignore[call-overload]
        for name, dtype, shape in _files(key)
    )
    return features, answers, validation


def _files(key: CacheKey) -> tuple[tuple[str, npt.DTypeLike, tuple[int, ...]], ...]:
    """Return name, type and shape of each file."""
    maps, height, width = key.shape
    first = (key.num_variants, key.num_pictures)
    return (
        (FEATURES, np.float16, (*first, height, width, maps)),
        (ANSWERS, np.float16, (*first, key.num_classes)),
        (VALIDATION, np.float32, (key.num_validation, height, width, maps)),
    )
