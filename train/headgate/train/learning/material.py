"""What the steps of an epoch are dealt: pictures, or what a frozen head once made of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from torch import Tensor

from headgate.train.pictures.batches import Augmentation, as_floats, batches
from headgate.train.pictures.data import TrainingData

# Shapes: B batch, C channels, H height, W width, K classes


@dataclass(frozen=True, slots=True)
class Lesson:
    """One batch as a step takes it."""

    x_BCHW: Tensor  # pictures, 0..1; or features at the split, if `at_split`
    labels_B: Tensor
    at_split: bool = False
    taught_BK: Tensor | None = None  # a teacher's logits, where they are known already


@dataclass(frozen=True, slots=True)
class Deal:
    """Which epoch of lessons, and whose share of it."""

    seed: int
    epoch: int
    batch_size: int  # of one process
    rank: int
    world_size: int
    first_step: int  # steps before it are done


class Material(Protocol):
    """Deals out an epoch; the same lessons for the same arguments."""

    def deal(self, deal: Deal) -> Iterator[Lesson]:
        """Yield one process's lessons, from `deal.first_step` on."""
        ...


@dataclass(frozen=True, slots=True)
class Pictures:
    """The training pictures, each augmented anew in every epoch."""

    data: TrainingData
    augmentation: Augmentation | None

    def deal(self, deal: Deal) -> Iterator[Lesson]:
        """Yield batches of pictures, in an order that `batches.batches` draws."""
        dealt = batches(
            self.data.train_pictures_NCHW,
            self.data.train_labels_N,
            batch_size=deal.batch_size,
            seed=deal.seed,
            epoch=deal.epoch,
            rank=deal.rank,
            world_size=deal.world_size,
            augmentation=self.augmentation,
        )
        for batch in islice(dealt, deal.first_step, None):
            yield Lesson(as_floats(batch.pictures_BCHW), batch.labels_B)
