"""A controller that notes what a session tells it of the frames that ended."""

from typing import NamedTuple

from headgate.profiles.manifest import OperatingPoint
from headgate.runtime.choice.controller import Controller
from headgate.runtime.choice.policy import PolicyMaker


class Ended(NamedTuple):
    missed: bool
    trusted: float
    by_edge: bool | None


class Notes:
    """What was told, in order."""

    def __init__(self) -> None:
        self.ended: list[Ended] = []
        self.let_down: list[bool] = []  # whether each was rescued

    @property
    def policy(self) -> PolicyMaker:
        """A controller that learns nothing of it."""
        notes = self

        class Told(Controller):
            def finished(
                self,
                point: OperatingPoint | None,
                *,
                missed: bool,
                on_time: float | None,
                trusted: float = 1.0,
                by_edge: bool | None,
            ) -> None:
                notes.ended.append(Ended(missed, trusted, by_edge))

            def let_down(self, point: OperatingPoint, *, rescued: bool) -> None:
                notes.let_down.append(rescued)

        return Told
