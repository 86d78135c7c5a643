"""The clients' halves as the server keeps them: the latest of each, and the one that all share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from headgate.train.networks.split_model import SplitModel
from headgate.train.pictures.data import TrainingData
from headgate.train.split_training.evaluation import evaluate
from headgate.train.split_training.halves import (
    load_half,
    mean_half,
    open_half,
    pack_half,
    use_selection,
)

T = TypeVar("T")
AsOf = Callable[[str], AbstractContextManager[TrainingData]]

MAX_ABSENT = 16  # clients that are gone, of whom something is kept should they come back


@dataclass(frozen=True, slots=True)
class Half:
    """A client's weights, as they came and as they are."""

    data: bytes
    weights: Mapping[str, Tensor]
    selected: tuple[int, ...]

    @staticmethod
    def opened(data: bytes, model: SplitModel) -> Half:
        """Read a half that fits `model`, or raise WireError."""
        return Half(data, *open_half(data, model))

    def put_into(self, model: SplitModel) -> None:
        """Make it the client's half of the whole network."""
        load_half(model, self.weights)
        use_selection(model, self.selected)


class KeptHalves:
    """Halves by client's name, and what they were worth at the end of the last epoch."""

    def __init__(self, *, client_sync: str, are_personal: bool = False) -> None:
        """`are_personal` says that clients differ in more than their halves."""
        self.latest: dict[str, Half] = {}  # that of whoever ended an epoch last comes last
        self.shared: Half | None = None  # what all clients go on from, where they share
        self.accuracies: dict[str, float] = {}
        self._client_sync = client_sync
        self.are_personal = are_personal
        self._ended: dict[str, int] = {}  # whose half came in this epoch, and of how many pictures

    def keep(self, name: str, half: Half, *, num_pictures: int, is_late: bool = False) -> None:
        """Take a half at the end of a client's epoch, who may leave before the others have ended.

        The one that goes round has left one behind that `is_late`, and is not replaced by it.
        """
        self.latest.pop(name, None)
        self.latest[name] = half
        self._ended[name] = num_pictures
        if self._client_sync == "relay" and not is_late:
            self.shared = half

    def for_joining(self, name: str) -> Half | None:
        """Return what a client without any state begins with; None for fresh weights.

        That is its own half of earlier, or the best of the last epoch: one that a client left
        behind long ago would not fit the server's layers any more.
        """
        own = self.shared or self.latest.get(name)
        if own is not None or not self.latest:
            return own
        return self.best() if self.accuracies else next(iter(self.latest.values()))

    def join(self, model: SplitModel, *, selected: tuple[int, ...]) -> None:
        """At the end of an epoch, make the mean the shared half where clients average.

        Halves count by their pictures.
        """
        if self._client_sync != "fedavg":
            return
        names = self._ended_with(selected)
        shares = [float(max(1, self._ended[name])) for name in names]
        weights = mean_half([self.latest[name].weights for name in names], shares=shares)
        load_half(model, weights)
        use_selection(model, selected)
        self.shared = Half(pack_half(model), weights, selected)

    def measure(
        self,
        model: SplitModel,
        data: TrainingData,
        *,
        selected: tuple[int, ...],
        as_of: AsOf | None = None,
    ) -> tuple[float, float]:
        """Return accuracy and exit accuracy: the shared half's, or the mean of all others'.

        `as_of` makes the server's layers, and the data, those of a client while it is measured; it
        is asked for "" where all share one half.
        """
        halves = {name: self.latest[name] for name in self._ended_with(selected)}
        if self.shared is not None:
            halves = dict.fromkeys(halves if self.are_personal else [""], self.shared)
        found = {}
        for name, half in halves.items():
            half.put_into(model)
            with nullcontext(data) if as_of is None else as_of(name) as own:
                found[name] = evaluate(model, own)
        self.accuracies = {name: accuracy for name, (accuracy, _) in found.items() if name}
        accuracy, exit_accuracy = (
            sum(each) / len(found) for each in zip(*found.values(), strict=True)
        )
        return accuracy, exit_accuracy

    def for_selection(self) -> Half:
        """Return the half, of those just measured, whose filter says which maps join."""
        return self.shared or self.latest[min(self.accuracies)]

    def best(self) -> Half:
        """Return the half to keep: the shared one, or that of the highest accuracy."""
        return self.shared or self.latest[self.best_client()]

    def of(self, name: str) -> Half:
        """Return the half of a client: the shared one, or its own."""
        return self.shared or self.latest[name]

    def best_client(self) -> str:
        """Return whose network answered best at the end of the last epoch."""
        return max(sorted(self.accuracies), key=self.accuracies.__getitem__)

    def _ended_with(self, selected: tuple[int, ...]) -> list[str]:
        """Return whose half of this epoch sends these maps.

        One of a client that was away for long may be of an earlier phase, and counts for nothing.
        """
        return [name for name in sorted(self._ended) if self.latest[name].selected == selected]

    def epoch_closed(self, *, present: Collection[str]) -> None:
        """Begin to wait for the halves of the next epoch, and forget those of long ago.

        Of clients that are not `present` few are kept: memory and checkpoint would grow with each
        newcomer. What was measured last stays, for the best of it goes on.
        """
        self._ended.clear()
        needed = {*present, *self.accuracies}
        self.latest = without_long_absent(self.latest, needed=needed)


def without_long_absent(kept: Mapping[str, T], *, needed: Collection[str]) -> dict[str, T]:
    """Return what is `needed`, and the last MAX_ABSENT of the rest; the order is that of `kept`."""
    absent = [name for name in kept if name not in needed]
    long_absent = set(absent[:-MAX_ABSENT])
    return {name: each for name, each in kept.items() if name not in long_absent}
