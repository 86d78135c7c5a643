"""What the client's session wants done: one value for each thing that `client` then does."""

from __future__ import annotations

from dataclasses import dataclass

from headgate.profiles.train_messages import Place, Status


@dataclass(frozen=True, slots=True)
class Greet:
    """Send a HELLO that says where we stand."""

    place: Place


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Take over maps, and the half if there is one, of the WELCOME or GO just received."""

    place: Place
    phase: int
    opens_epoch: bool  # what we are then is what a roll-back returns to
    is_again: bool = False  # we had entered this epoch before, and sent nothing of it


@dataclass(frozen=True, slots=True)
class RollBack:
    """Return to what we were when this epoch began."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Forward:
    """Make the batch of that place; then say `batch_made`, or `source_dry`."""

    place: Place


@dataclass(frozen=True, slots=True)
class SendAgain:
    """Send once more what was sent last: a batch or the epoch's half."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Use the gradient just received, then say `applied`; `refused` has none."""

    place: Place
    refused: bool


@dataclass(frozen=True, slots=True)
class EndEpoch:
    """Keep what we are, send our half; then say `ended`."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Say GOODBYE and stop: all is done."""


@dataclass(frozen=True, slots=True)
class RunDry:
    """Say GOODBYE and stop: our pictures make not one batch of this epoch."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Say GOODBYE and stop: going on with this server cannot be."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The server will have nothing more to do with us; NOT_FINITE: nor with anyone."""

    status: Status


@dataclass(frozen=True, slots=True)
class Skipped:
    """Steps that the server has trained and we forgot."""

    before: Place
    after: Place


Effect = (
    Greet
    | TakeOver
    | RollBack
    | Forward
    | SendAgain
    | Apply
    | EndEpoch
    | Finish
    | RunDry
    | Leave
    | Refused
    | Skipped
)
