"""Whose epoch it is, where not all clients train in all of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from headgate.profiles.errors import UsageError


@dataclass(frozen=True, slots=True)
class Timetable:
    """The names of the clients that train, for each epoch from the first."""

    epochs: tuple[tuple[str, ...], ...]
    num_pictures: dict[str, int] = field(default_factory=dict)  # that are expected of a client

    @property
    def names(self) -> set[str]:
        """All who train at some time."""
        return {name for names in self.epochs for name in names}

    def names_in(self, epoch: int) -> Collection[str]:
        """Return who trains in an epoch, from 0."""
        return self.epochs[epoch]

    def differs(self, name: str, *, num_pictures: int) -> str:
        """Return what a client has that is not as expected, or nothing."""
        expected = self.num_pictures.get(name, num_pictures)
        if num_pictures == expected:
            return ""
        return f"has {num_pictures} pictures and not {expected}: its epochs are other than planned"

    def check(self, *, num_epochs: int) -> None:
        """Raise UsageError where epochs are missing, or nobody trains in one."""
        if len(self.epochs) != num_epochs or not all(self.epochs):
            raise UsageError(
                f"timetable: has clients for {sum(map(bool, self.epochs))} epochs, expected one or "
                f"more in each of the {num_epochs} of the schedule"
            )
