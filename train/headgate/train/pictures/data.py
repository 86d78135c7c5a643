"""Turns any data set into tensors ready for training, and deals them out in batches.

Pictures stay uint8 until a batch is used: a quarter of the memory, and of the traffic to a GPU.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
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


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What may be done to a training picture without changing what it shows."""

    shift_px: int = 0  # largest move in each direction; the border is mirrored
    mirror: bool = False  # left to right, for half of the pictures


@dataclass(frozen=True, slots=True)
class Batch:
    """Some pictures and their labels."""

    pictures_BCHW: Tensor  # uint8, see `as_floats`
    labels_B: Tensor  # int64


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


def as_floats(pictures_BCHW: Tensor) -> Tensor:
    """Return what networks take: float32, 0 to 1, channels last in memory.

    That order makes a training step 1.2 times (VGG11 at 32 px) to 1.9 times (ResNet-18 at 160 px)
    as fast on x86-64.
    """
    return pictures_BCHW.to(torch.float32, memory_format=torch.channels_last) / 255


def num_batches(
    num_pictures: int, *, batch_size: int, world_size: int = 1, drop_last: bool = True
) -> int:
    """Return how many batches each rank gets in an epoch: the same number for every rank."""
    share = num_pictures // world_size
    if drop_last:
        # A data set smaller than one batch makes one small batch rather than none.
        return max(share // batch_size, 1 if share else 0)
    return -(-share // batch_size)


def batches(
    pictures_NCHW: Tensor,
    labels_N: Tensor,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    rank: int = 0,
    world_size: int = 1,
    augmentation: Augmentation | None = None,
    drop_last: bool = True,
) -> Iterator[Batch]:
    """Deal out one epoch of training pictures to one rank, `batch_size` at a time.

    Order and augmentation follow from the arguments alone, so an epoch can be repeated after a
    restart. All ranks see one permutation, each its own pictures, equally many; up to
    `world_size` - 1 pictures, and with `drop_last` an incomplete batch, sit out an epoch.
    """
    assert 0 <= rank < world_size
    assert batch_size > 0
    order = np.random.default_rng([seed, epoch, 0]).permutation(len(labels_N))
    share = len(order) // world_size
    mine = order[rank : share * world_size : world_size]
    draws = np.random.default_rng([seed, epoch, 1, world_size, rank])
    count = num_batches(
        len(order), batch_size=batch_size, world_size=world_size, drop_last=drop_last
    )
    for number in range(count):
        chosen = torch.from_numpy(mine[number * batch_size : (number + 1) * batch_size])
        chosen = chosen.to(pictures_NCHW.device)
        pictures_BCHW = pictures_NCHW[chosen]
        if augmentation is not None:
            pictures_BCHW = augment(pictures_BCHW, augmentation, draws=draws)
        yield Batch(pictures_BCHW, labels_N[chosen])


def val_batches(
    pictures_NCHW: Tensor,
    labels_N: Tensor,
    *,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[Batch]:
    """Deal out every picture once, in order; ranks may differ by one in number.

    Add up counts of right answers over the ranks, not their averages.
    """
    mine_pictures, mine_labels = pictures_NCHW[rank::world_size], labels_N[rank::world_size]
    for begin in range(0, len(mine_labels), batch_size):
        end = begin + batch_size
        yield Batch(mine_pictures[begin:end], mine_labels[begin:end])


def augment(
    pictures_BCHW: Tensor, augmentation: Augmentation, *, draws: np.random.Generator
) -> Tensor:
    """Return the pictures, each moved and perhaps mirrored by its own draw."""
    num, _, height, width = pictures_BCHW.shape
    device = pictures_BCHW.device
    reach = min(augmentation.shift_px, height - 1, width - 1)
    moves_B2 = draws.integers(-reach, reach + 1, (num, 2))
    mirrored_B = draws.random(num) < (0.5 if augmentation.mirror else 0.0)
    rows_BH = _mirror_border(np.arange(height) + moves_B2[:, :1], height)
    columns_BW = _mirror_border(np.arange(width) + moves_B2[:, 1:], width)
    columns_BW[mirrored_B] = columns_BW[mirrored_B, ::-1]
    # Two gathers along one axis each: on a CPU several times faster than one over four axes.
    rows = torch.from_numpy(rows_BH).to(device)[:, None, :, None].expand_as(pictures_BCHW)
    columns = torch.from_numpy(columns_BW).to(device)[:, None, None, :].expand_as(pictures_BCHW)
    return pictures_BCHW.gather(2, rows).gather(3, columns)


def _mirror_border(places: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    """Return places inside 0 to `size` - 1: what lies outside is read as in a mirror."""
    folded: npt.NDArray[np.int64] = (size - 1) - np.abs(size - 1 - np.abs(places))
    return folded


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
