"""What the server's session wants done: one value for each thing that `server` then does."""

from __future__ import annotations

from dataclasses import dataclass

from headgate.profiles.train_messages import Place, Status


@dataclass(frozen=True, slots=True)
class Greeted:
    """Send a WELCOME; with `gives_half` the client's half comes with it."""

    peer: bytes
    name: str
    place: Place
    status: Status
    gives_half: bool


@dataclass(frozen=True, slots=True)
class Train:
    """Train on the batch just received, keep the answer for `Repeat`, send it."""

    peer: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """Send the last answer once more."""

    peer: bytes
    name: str


@dataclass(frozen=True, slots=True)
class KeepHalf:
    """Keep the half just received as that client's; `is_late` if its epoch was over already."""

    name: str
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class Go:
    """Send a GO to that place; FINISHED if no epoch is left.

    With `is_fresh` the client holds nothing, and a half comes with it if there is one.
    """

    peer: bytes
    name: str
    place: Place
    status: Status = Status.FINE
    is_fresh: bool = False


@dataclass(frozen=True, slots=True)
class CloseEpoch:
    """Join halves, measure, write a checkpoint; then say `epoch_closed`."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell the peer why nothing more is done for it."""

    peer: bytes
    reason: str
    name: str | None = None  # that it said, where that is not one of ours
    is_replaced: bool = False  # by a new process of its name, as after a kill: no fault of anyone


@dataclass(frozen=True, slots=True)
class Note:
    """Something that an operator should read."""

    text: str


@dataclass(frozen=True, slots=True)
class Attendance:
    """A client joined, came back, left or fell silent: `text` says which, and what follows."""

    name: str
    text: str


Effect = Greeted | Train | Repeat | KeepHalf | Go | CloseEpoch | Refuse | Note | Attendance
