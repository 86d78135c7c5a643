"""One JSON line per epoch of split training, and the counters that it is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypedDict

from headgate.profiles.errors import FamilyError
from headgate.profiles.parse import parse
from headgate.profiles.train_messages import Kind
from headgate.train.folder.epoch_log import LOG_FILE

DEPRUNE_EPOCH_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class ClientEpoch:
    """What one client did in an epoch; `accuracy` is its half's, where each has its own."""

    num_batches: int = 0
    num_pictures: int = 0
    bytes_up: int = 0  # from the client, all parts of all messages
    bytes_down: int = 0  # to it
    num_right: int = 0
    loss_sum: float = 0.0  # over batches
    half_bytes: int = 0  # of both: messages that may carry a half, not a batch
    refused: int = 0  # steps refused, because a number was not finite
    repeated: int = 0  # batches that came again, and were answered again
    accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class DepruneEpoch:
    """What one epoch did; bytes are counted on the wire, without ZeroMQ's and TCP's own."""

    schema: int
    epoch: int  # from 1, over all phases
    num_epochs: int
    phase: int
    budget: int  # maps that cross
    learning_rate: float  # of the last step
    loss: float  # cross entropy, mean over batches
    train_accuracy: float  # 0..1, as trained
    accuracy: float  # 0..1, validation pictures, not quantised; the mean of the clients' halves
    exit_accuracy: float  # 0..1
    num_batches: int
    num_pictures: int
    bytes_up: int  # of this epoch
    bytes_down: int
    total_bytes: int  # both ways, since the run began
    refused: int
    # Wall time from the first batch to the last half; of AdaSplit from the first GO.
    train_s: float
    evaluate_s: float
    pictures_per_s: float
    clients: dict[str, ClientEpoch] = field(default_factory=dict)
    half_bytes: int = 0  # of this epoch's bytes: clients' halves, which do not grow with pictures


def read_epochs(folder: Path) -> tuple[DepruneEpoch, ...]:
    """Return the lines of a run, which may be under way; raises FamilyError for a damaged one."""
    try:
        data = (folder / LOG_FILE).read_bytes()
    except FileNotFoundError:
        return ()
    lines = data.splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()  # a full disk or a kill has cut it off; --resume makes that epoch again
    epochs = []
    for number, line in enumerate(lines, start=1):
        where = f"{folder / LOG_FILE}, line {number}"
        try:
            epochs.append(parse(DepruneEpoch, json.loads(line), where=where, error=FamilyError))
        except ValueError:
            raise FamilyError(f"{where}: is not JSON; the file is damaged") from None
    return tuple(epochs)


class Sums(TypedDict):
    """What an epoch's line adds up over its clients."""

    loss: float
    train_accuracy: float
    num_batches: int
    num_pictures: int
    bytes_up: int
    bytes_down: int
    half_bytes: int
    refused: int
    pictures_per_s: float


def sums_of(clients: Mapping[str, ClientEpoch], *, train_s: float) -> Sums:
    """Add up what the clients did in an epoch of `train_s` seconds."""
    done = clients.values()
    num_batches = sum(each.num_batches for each in done)
    num_pictures = sum(each.num_pictures for each in done)
    return Sums(
        loss=sum(each.loss_sum for each in done) / max(1, num_batches),
        train_accuracy=sum(each.num_right for each in done) / max(1, num_pictures),
        num_batches=num_batches,
        num_pictures=num_pictures,
        bytes_up=sum(each.bytes_up for each in done),
        bytes_down=sum(each.bytes_down for each in done),
        half_bytes=sum(each.half_bytes for each in done),
        refused=sum(each.refused for each in done),
        pictures_per_s=round(num_pictures / train_s, 1) if train_s > 0 else 0.0,
    )


class Tally:
    """Counts what each client does; `close` returns an epoch's and begins anew."""

    def __init__(self, *, total_bytes: int = 0) -> None:
        self.total_bytes = total_bytes
        self._clients: dict[str, ClientEpoch] = {}

    def received(self, name: str, kind: Kind, num_bytes: int) -> None:
        found = self._moved(name, kind, num_bytes)
        self._clients[name] = replace(found, bytes_up=found.bytes_up + num_bytes)

    def sent(self, name: str, kind: Kind, num_bytes: int) -> None:
        found = self._moved(name, kind, num_bytes)
        self._clients[name] = replace(found, bytes_down=found.bytes_down + num_bytes)

    def repeated(self, name: str) -> None:
        found = self._of(name)
        self._clients[name] = replace(found, repeated=found.repeated + 1)

    def refused(self, name: str) -> None:
        found = self._of(name)
        self._clients[name] = replace(found, refused=found.refused + 1)

    def trained(self, name: str, *, num_pictures: int, num_right: int, loss: float) -> None:
        found = self._of(name)
        self._clients[name] = replace(
            found,
            num_batches=found.num_batches + 1,
            num_pictures=found.num_pictures + num_pictures,
            num_right=found.num_right + num_right,
            loss_sum=found.loss_sum + loss,
        )

    def close(self) -> dict[str, ClientEpoch]:
        done, self._clients = self._clients, {}
        return done

    def _moved(self, name: str, kind: Kind, num_bytes: int) -> ClientEpoch:
        self.total_bytes += num_bytes
        found = self._of(name)
        is_half = kind in (Kind.EPOCH_END, Kind.WELCOME, Kind.GO)
        return replace(found, half_bytes=found.half_bytes + num_bytes * is_half)

    def _of(self, name: str) -> ClientEpoch:
        return self._clients.get(name) or ClientEpoch()
