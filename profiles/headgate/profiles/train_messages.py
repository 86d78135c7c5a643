"""What the two sides of split training say to each other, before it is bytes.

`headgate.runtime.wire.train_wire` turns it into bytes and back; the sessions in `headgate.train`
decide by the headers alone. One header serves every kind of message: what a kind does not use is
zero.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

SERVER, CLIENT = "server", "client"


class Kind(IntEnum):
    """Who says what; the numbers are those on the wire and are never reused."""

    HELLO = 1  # client: who I am, what I was told to train, where I stand
    WELCOME = 2  # server: where you go on, with which maps, perhaps with which half
    REFUSE = 3  # server: why it will not, as text; the client ends
    BATCH = 4  # client: maps, filter, labels
    GRADIENT = 5  # server: gradients of the maps and of the filter, unless the step was refused
    EPOCH_END = 6  # client: its half at the end of an epoch
    GO = 7  # server: the next epoch, with which maps, perhaps with which half; or that all is done
    GOODBYE = 8  # client: it leaves for good
    WORKING = 9  # client: it trains alone, and will send a batch, or its half, later


class Status(IntEnum):
    """What a message adds to its kind."""

    FINE = 0
    WAIT = 1  # WELCOME: a GO will follow
    NOT_FINITE = 2  # GRADIENT: the step was refused; REFUSE, GOODBYE: why, a number was not finite
    FINISHED = 3  # GO: no epoch follows


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """The next batch of a client: `step` steps of epoch `epoch`, both from 0, are done."""

    epoch: int = 0
    step: int = 0

    def next(self) -> "Place":
        return Place(self.epoch, self.step + 1)

    def __str__(self) -> str:
        """Say it as the lines of epochs count, from 1."""
        return f"epoch {self.epoch + 1}, batch {self.step + 1}"


@dataclass(frozen=True, slots=True)
class Header:
    """All of a message but its payload."""

    kind: Kind
    place: Place = Place()
    status: Status = Status.FINE
    phase: int = 0  # index into the schedule
    budget: int = 0  # maps that cross in that phase
    num_steps: int = 0  # BATCH: how many of them this client's epoch has
    # BATCH: of it. WELCOME, GO of AdaSplit: how many of the client's cross in the epoch.
    num_pictures: int = 0
    num_right: int = 0  # GRADIENT: right answers of the batch
    loss: float = 0.0  # GRADIENT: the server's; BATCH: the prune loss, before its weight


@dataclass(frozen=True, slots=True, eq=False)
class PackedTensor:
    """A tensor as it crosses: numbers as they are, or integers on a grid for each map.

    With `bits` above 0 the values are unsigned, 0 .. 2 ** bits - 1, of shape [B, C, ...], and stand
    for low_C + value * step_C.
    """

    values: npt.NDArray[Any]
    bits: int = 0
    low_C: npt.NDArray[np.float32] | None = None
    step_C: npt.NDArray[np.float32] | None = None


Part = PackedTensor | bytes
