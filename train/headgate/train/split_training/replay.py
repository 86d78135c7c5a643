"""Batches that the server trains on again, without anything crossing again.

With AdaSplit nothing that the server does changes what clients will send, and maps of clients that
have learnt alone hardly change any more. So an epoch's batches are worth more than one step each.
They are kept until it ends, in the bits in which they came: nothing of them is in a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from headgate.profiles.train_messages import Header
from headgate.train.seeds import derive_seed
from headgate.train.split_training.payload import Parcel

Batch = tuple[Parcel, Parcel, Parcel]


class Replay:
    """The batches of one epoch; with a single pass none is kept."""

    def __init__(self, num_passes: int, *, seed: int) -> None:
        self.num_passes = num_passes
        self._seed = seed
        self._kept: list[tuple[str, Header, Batch]] = []

    def keep(self, name: str, header: Header, batch: Batch) -> None:
        """Keep a copy of what a client sent: a message's memory is not ours."""
        if self.num_passes > 1:
            maps, filter_C, labels = (parcel.copied() for parcel in batch)
            self._kept.append((name, header, (maps, filter_C, labels)))

    def again(self, epoch: int) -> Iterator[tuple[int, str, Header, Batch]]:
        """Yield the batches once more in each further pass, in another order; then forget them."""
        kept, self._kept = self._kept, []
        for number in range(1, self.num_passes):
            draw = torch.Generator().manual_seed(derive_seed(self._seed, "replay", epoch, number))
            for index in torch.randperm(len(kept), generator=draw).tolist():
                yield number, *kept[index]
