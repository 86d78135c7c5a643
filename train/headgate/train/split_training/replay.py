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

MAX_BYTES = 1 << 30  # of maps


class Replay:
    """The batches of one epoch; with a single pass none is kept."""

    def __init__(self, num_passes: int, *, seed: int, max_bytes: int = MAX_BYTES) -> None:
        """Of more than `max_bytes` in an epoch a fair sample is kept."""
        self.num_passes = num_passes
        self._seed = seed
        self._max_bytes = max_bytes
        self._kept: list[tuple[str, Header, Batch]] = []
        self._num_bytes = 0  # of those
        self._num_seen = 0  # in this epoch

    def keep(self, name: str, header: Header, batch: Batch) -> None:
        """Keep a copy of what a client sent: a message's memory is not ours."""
        if self.num_passes == 1:
            return
        num_bytes = batch[0].values.nbytes
        self._num_seen += 1
        maps, filter_C, labels = (parcel.copied() for parcel in batch)
        entry = (name, header, (maps, filter_C, labels))
        if self._num_bytes + num_bytes <= self._max_bytes:
            self._kept.append(entry)
            self._num_bytes += num_bytes
        elif self._kept:  # each batch of the epoch is as likely as any other to be among them
            seed = derive_seed(self._seed, "kept", header.place.epoch, self._num_seen)
            draw = torch.Generator().manual_seed(seed)
            place = int(torch.randint(self._num_seen, (), generator=draw))
            if place < len(self._kept):
                self._num_bytes += num_bytes - self._kept[place][2][0].values.nbytes
                self._kept[place] = entry

    def again(self, epoch: int) -> Iterator[tuple[int, str, Header, Batch]]:
        """Yield the batches once more in each further pass, in another order; then forget them."""
        kept, self._kept, self._num_bytes, self._num_seen = self._kept, [], 0, 0
        for number in range(1, self.num_passes):
            draw = torch.Generator().manual_seed(derive_seed(self._seed, "replay", epoch, number))
            for index in torch.randperm(len(kept), generator=draw).tolist():
                yield number, *kept[index]
