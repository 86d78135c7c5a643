"""One client's own pictures, in the order in which each epoch deals them out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from headgate.profiles.train_messages import Place
from headgate.train.learning.material import Deal, Lesson, Material
from headgate.train.pictures.batches import num_batches
from headgate.train.seeds import derive_seed


@dataclass(frozen=True, slots=True)
class Source:
    """One client's own pictures, dealt out the same way each time."""

    material: Material
    num_pictures: int
    batch_size: int
    seed: int

    @property
    def num_steps(self) -> int:
        return num_batches(self.num_pictures, batch_size=self.batch_size)

    def lessons(self, place: Place) -> Iterator[Lesson]:
        """Yield the lessons of an epoch from `place` on."""
        return self.material.deal(
            Deal(
                seed=derive_seed(self.seed, "deprune"),
                epoch=place.epoch,
                batch_size=self.batch_size,
                rank=0,
                world_size=1,
                first_step=place.step,
            )
        )
