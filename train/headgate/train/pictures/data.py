"""Turns any data set into tensors ready for training.

Pictures stay uint8 until a batch is used: a quarter of the memory, and of the traffic to a GPU.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from headgate.profiles.datasets import open_dataset
from headgate.profiles.errors import DataError, UsageError
from headgate.profiles.labelled import ArrayDataset, Dataset, Split
from headgate.profiles.manifest import InputSpec
from headgate.profiles.picture_folder import FolderDataset
from headgate.profiles.pictures import preprocess
from headgate.train.pictures.batches import Augmentation, as_floats
from headgate.train.pictures.embedded import PREFIX, make_embedded, parse_embedded

# Shapes: N pictures of a split, B of a batch, C = 3 colours, H height, W width

MAX_BYTES = 8 << 30  # of both splits in memory
_MEAN_PICTURES = 4000  # enough for mean and deviation to three digits
_SIZED_PICTURES = 64  # enough to meet another size where there are several
_MEAN_BLOCK = 64  # pictures that are floats at one time

Colours = tuple[float, float, float]  # red, green, blue


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Both splits in memory, brought to the network's input size."""

    spec: str
    labels: tuple[str, ...]
    input: InputSpec
    train_pictures_NCHW: Tensor  # uint8
    train_labels_N: Tensor  # int64
    val_pictures_NCHW: Tensor
    val_labels_N: Tensor
    mean: Colours  # per colour over training pictures, values 0 to 1
    std: Colours
    digest: str  # of data sets, limit, seed and input together

    @property
    def num_classes(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> TrainingData:
        """Return the same with its tensors on `device`; batches are then made there."""
        return replace(
            self,
            train_pictures_NCHW=self.train_pictures_NCHW.to(device),
            train_labels_N=self.train_labels_N.to(device),
            val_pictures_NCHW=self.val_pictures_NCHW.to(device),
            val_labels_N=self.val_labels_N.to(device),
        )

    def of_classes(self, classes: Collection[int]) -> TrainingData:
        """Return the same with only those validation pictures that are of these classes."""
        own = torch.tensor(sorted(classes), device=self.val_labels_N.device)
        mine_N = torch.isin(self.val_labels_N, own)
        return replace(
            self,
            val_pictures_NCHW=self.val_pictures_NCHW[mine_N],
            val_labels_N=self.val_labels_N[mine_N],
        )


def open_split(spec: str, split: Split) -> Dataset:
    """Open one split of any data set that training knows: `embedded` or a file-backed one."""
    if is_embedded(spec):
        return make_embedded(parse_embedded(spec), split)
    return open_dataset(spec, split, also=(PREFIX,))


def is_embedded(spec: str) -> bool:
    return spec.partition(":")[0] == PREFIX


def native_input(spec: str) -> InputSpec:
    """Return an input of the size of the data set's (first) training picture."""
    if is_embedded(spec):
        px = parse_embedded(spec).px
        return InputSpec(px, px)
    height_px, width_px = open_split(spec, "train").size_px
    return InputSpec(height_px, width_px)


def some_sizes_px(spec: str) -> list[tuple[int, int]]:
    """Return heights and widths of training pictures; one where all are of one size."""
    if is_embedded(spec):
        return [(parse_embedded(spec).px,) * 2]
    dataset = open_split(spec, "train")
    if isinstance(dataset, FolderDataset):
        return dataset.some_sizes_px(_SIZED_PICTURES)
    return [dataset.size_px]


def default_augmentation(spec: str, *, input_px: int) -> Augmentation:
    """Return what suits the data set: digits must not be mirrored, photographs may be.

    A shift of an eighth is the usual 4 pixels at CIFAR-10's 32.
    """
    if is_embedded(spec):
        return Augmentation(shift_px=input_px // 16)
    return Augmentation(shift_px=input_px // 8, mirror=not spec.startswith("npz:"))


def load_training_data(
    spec: str,
    input_spec: InputSpec | None = None,
    *,
    limit: int | None = None,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> TrainingData:
    """Read both splits into memory, each picture preprocessed once.

    `limit` keeps at most that many pictures of each split, the same ones for the same `seed`.
    Without `input_spec` pictures keep the data set's size.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--limit: {limit} pictures, expected at least 1; give a larger number")
    input_spec = input_spec or native_input(spec)
    train, val = _open_limited(spec, "train", limit), _open_limited(spec, "val", limit)
    if train.labels != val.labels:
        raise DataError(
            f"data set {spec}: {len(train.labels)} classes for training and {len(val.labels)} for "
            "validation, expected the same; make both from one data set"
        )
    picks = [_pick(len(train), limit, seed), _pick(len(val), limit, seed)]
    needed_bytes = 3 * input_spec.height_px * input_spec.width_px * sum(map(len, picks))
    if needed_bytes > max_bytes:
        raise DataError(
            f"data set {spec}: {needed_bytes / 1e9:.1f} GB at {input_spec.width_px} x "
            f"{input_spec.height_px} px, expected at most {max_bytes / 1e9:.1f} GB; "
            "use --limit or a smaller --input-px"
        )
    train_pictures_NCHW, train_labels_N = _read(train, picks[0], input_spec)
    val_pictures_NCHW, val_labels_N = _read(val, picks[1], input_spec)
    mean, std = _mean_and_std(train_pictures_NCHW)
    identity = f"{train.digest} {val.digest} {limit} {seed if limit else 0} {input_spec}"
    return TrainingData(
        spec=spec,
        labels=train.labels,
        input=input_spec,
        train_pictures_NCHW=train_pictures_NCHW,
        train_labels_N=train_labels_N,
        val_pictures_NCHW=val_pictures_NCHW,
        val_labels_N=val_labels_N,
        mean=mean,
        std=std,
        digest=hashlib.sha256(identity.encode()).hexdigest(),
    )


def _open_limited(spec: str, split: Split, limit: int | None) -> Dataset:
    if is_embedded(spec):
        return make_embedded(parse_embedded(spec), split, limit=limit)
    return open_split(spec, split)


def _pick(count: int, limit: int | None, seed: int) -> npt.NDArray[np.int64]:
    if limit is None or limit >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng([seed, count]).permutation(count)[:limit])


def _read(
    dataset: Dataset, pick: npt.NDArray[np.int64], input_spec: InputSpec
) -> tuple[Tensor, Tensor]:
    """Return the picked pictures as uint8 NCHW and their labels."""
    height_px, width_px = input_spec.height_px, input_spec.width_px
    labels_N = torch.tensor([dataset.label(int(index)) for index in pick], dtype=torch.int64)
    # In bulk where nothing is to be resized: 60,000 pictures one by one take seconds.
    if isinstance(dataset, ArrayDataset) and dataset.size_px == (height_px, width_px):
        planes_NCHW = dataset.all_pictures().transpose(0, 3, 1, 2)
        chosen_NCHW = planes_NCHW if len(pick) == len(dataset) else planes_NCHW[pick]
        return torch.from_numpy(np.array(chosen_NCHW, order="C")), labels_N
    pictures_NCHW = np.empty((len(pick), 3, height_px, width_px), dtype=np.uint8)
    for place, index in enumerate(pick):
        picture_HWC = preprocess(dataset.picture(int(index)), input_spec)
        pictures_NCHW[place] = picture_HWC.transpose(2, 0, 1)
    return torch.from_numpy(pictures_NCHW), labels_N


def _mean_and_std(pictures_NCHW: Tensor) -> tuple[Colours, Colours]:
    """Return mean and deviation per colour, values 0 to 1, rounded so that records stay short."""
    total_C = torch.zeros(3, dtype=torch.float64)
    square_C = torch.zeros(3, dtype=torch.float64)
    num_values = 0
    some_NCHW = pictures_NCHW[:: max(1, len(pictures_NCHW) // _MEAN_PICTURES)]
    for begin in range(0, len(some_NCHW), _MEAN_BLOCK):
        floats_BCHW = as_floats(some_NCHW[begin : begin + _MEAN_BLOCK])
        total_C += floats_BCHW.sum((0, 2, 3), dtype=torch.float64)
        square_C += floats_BCHW.square().sum((0, 2, 3), dtype=torch.float64)
        num_values += floats_BCHW[:, 0].numel()
    mean_C = total_C / num_values
    # A colour that never varies must not be divided by zero.
    std_C = (square_C / num_values - mean_C**2).clamp(min=1e-6).sqrt()
    return _colours(mean_C), _colours(std_C)


def _colours(values_C: Tensor) -> Colours:
    red, green, blue = (round(float(value), 4) for value in values_C)
    return red, green, blue
