"""What a client does next: a state machine of headers, without sockets, clocks or tensors.

One batch is under way at a time, because the next one needs the weights that this one's gradient
makes. What was sent and not answered is sent again, unchanged, when the connection is new or the
answer is late; the server knows it by its place and never trains on it twice.

A WELCOME says which batch the server expects. Where that is not the batch we would send:

    one later   its answer was lost: send it again, the server repeats what it said
    later       we lost steps (a restart from a checkpoint): go on there, never train it twice
    earlier     the server lost steps (a restart): go back to the epoch's begin, as the server did

An epoch is entered by a GO alone, whose half and maps may be new: a WELCOME before it says WAIT. A
batch that is under way when the GO comes was never made.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from headgate.profiles.train_messages import Header, Kind, Place, Status
from headgate.train.split_training.client_effects import (
    Apply,
    Effect,
    EndEpoch,
    Finish,
    Forward,
    Greet,
    Leave,
    Refused,
    RollBack,
    RunDry,
    SendAgain,
    Skipped,
    TakeOver,
)

ANSWER_TIMEOUT_S = 60.0


class State(Enum):
    """What is waited for."""

    OFFLINE = "a connection"
    GREETING = "a welcome"
    GO = "the next epoch"
    FORWARD = "our own forward pass"
    GRADIENT = "a gradient"
    ENDING = "our own half at the epoch's end"
    DONE = "nothing"


class ClientSession:
    """One client's side. `num_steps` are the batches of each of its epochs."""

    def __init__(
        self,
        *,
        num_steps: int,
        place: Place | None = None,
        ended_at: Place | None = None,
        rollback_epoch: int | None = None,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        steps_of: Callable[[int], int] | None = None,
    ) -> None:
        """Begin at `place`, None for a client without any state.

        `steps_of` says of how many steps an epoch is in which so many pictures cross, where that is
        for the server to say; `num_steps` then are those of the epoch at `place`.

        With `ended_at`, where the epoch before ended, the GO to `place` is awaited.
        `rollback_epoch` is the one whose begin we can return to.
        """
        self.num_steps = num_steps
        self._steps_of = steps_of
        self._timeout_s = answer_timeout_s
        self.place = place or Place()
        self.is_fresh = place is None
        self.state = State.OFFLINE
        self.ended_at = ended_at
        self._rollback_epoch = rollback_epoch
        self._pending: Place | None = None  # of the batch sent and not answered
        self._deadline_s: float | None = None

    def next_timer_s(self) -> float | None:
        return self._deadline_s

    def connected(self, *, now_s: float) -> list[Effect]:
        """Hear that a connection is there, the first or a new one."""
        if self.state is State.DONE:
            return []
        return self._greet(now_s=now_s)

    def disconnected(self) -> list[Effect]:
        """Hear that it is gone."""
        if self.state is not State.DONE:
            self.state, self._deadline_s = State.OFFLINE, None
        return []

    def handle_timer(self, *, now_s: float) -> list[Effect]:
        """Greet again where an answer is late: it may have been lost with a connection."""
        if self._deadline_s is None or now_s < self._deadline_s:
            return []
        return self._greet(now_s=now_s)

    def received(self, header: Header, *, now_s: float) -> list[Effect]:
        """Take what the server says; what does not fit where we stand is an old answer."""
        if self.state is State.DONE:
            return []
        if header.kind is Kind.REFUSE:
            self.state, self._deadline_s = State.DONE, None
            return [Refused(header.status)]
        if header.kind is Kind.WELCOME and self.state is State.GREETING:
            return self._welcomed(header, now_s=now_s)
        # An answer may come after we greeted again for want of it. Not to take it would be the end
        # on a link that is always slower than our patience.
        is_answered = self.state in (State.GRADIENT, State.GREETING)
        if header.kind is Kind.GRADIENT and is_answered and header.place == self._pending:
            self._deadline_s = None
            return [Apply(header.place, refused=header.status is Status.NOT_FINITE)]
        waits = self.state is State.GO or (self.state is State.GREETING and self._pending is None)
        waits |= header.status is Status.FINISHED  # the others may have ended it without our batch
        if header.kind is Kind.GO and waits and header.place >= self.place:
            return self._go(header)
        return []

    def batch_made(self, *, now_s: float) -> list[Effect]:
        """Hear that the batch was made, and has been sent."""
        assert self.state is State.FORWARD
        self._pending = self.place
        self.state, self._deadline_s = State.GRADIENT, now_s + self._timeout_s
        return []

    def source_dry(self) -> list[Effect]:
        """Hear that there are no more pictures in this epoch: it ends here, or we leave."""
        if self.place.step == 0:
            self.state, self._deadline_s = State.DONE, None
            return [RunDry()]
        return self._end_epoch()

    def applied(self) -> list[Effect]:
        """Hear that the gradient was used (or refused)."""
        assert self._pending is not None
        self._pending = None
        self.place = self.place.next()
        return self._carry_on()

    def ended(self, *, now_s: float) -> list[Effect]:
        """Hear that the half at the epoch's end was kept, and has been sent."""
        assert self.state is State.ENDING
        self.ended_at, self.place = self.place, Place(self.place.epoch + 1)
        return self._wait(now_s=now_s)

    def _greet(self, *, now_s: float) -> list[Effect]:
        self.state, self._deadline_s = State.GREETING, now_s + self._timeout_s
        return [Greet(self.place)]

    def _welcomed(self, header: Header, *, now_s: float) -> list[Effect]:
        self._deadline_s = None
        expected = header.place
        if self.is_fresh:
            if header.status is Status.WAIT:
                return self._wait(now_s=now_s)
            return self._enter(header, opens_epoch=True)
        if expected == self.ended_at:  # the server lacks our half
            return [*self._wait(now_s=now_s), SendAgain()]
        if expected < (self.ended_at or self.place):
            return self._roll_back(header, now_s=now_s)
        if header.status is Status.WAIT:
            return self._wait(now_s=now_s)
        if expected == self.place.next() and self._pending is None:
            self.state = State.FORWARD  # a restart: the very same batch gets the very same answer
            return [Forward(self.place)]
        if expected == self.place.next() or (expected == self.place and self._pending is not None):
            self.state, self._deadline_s = State.GRADIENT, now_s + self._timeout_s
            return [SendAgain()]
        if expected > self.place:
            return [Skipped(self.place, expected), *self._enter(header, opens_epoch=False)]
        return self._carry_on()

    @property
    def _began(self) -> Place | None:
        """Where the epoch begins whose begin we can return to."""
        return None if self._rollback_epoch is None else Place(self._rollback_epoch)

    def _wait(self, *, now_s: float) -> list[Effect]:
        """Wait for a GO: all begin together, or it is another client's turn.

        We ask from time to time: it may have been lost.
        """
        self.state, self._deadline_s = State.GO, now_s + self._timeout_s
        return []

    def _roll_back(self, header: Header, *, now_s: float) -> list[Effect]:
        expected = header.place
        self._pending = self.ended_at = None
        if expected != Place(expected.epoch) or expected.epoch != self._rollback_epoch:
            self.state = State.DONE
            return [
                Leave(
                    f"the server stands at {expected}, which is before all that this client can "
                    "return to; start both over"
                )
            ]
        self.place = expected
        return [RollBack(expected.epoch), *self._wait(now_s=now_s)]

    def _go(self, header: Header) -> list[Effect]:
        self._deadline_s = None
        if header.status is Status.FINISHED:
            self.state = State.DONE
            return [Finish()]
        has_skipped = not self.is_fresh and self.ended_at is None and header.place > self.place
        skipped: list[Effect] = [Skipped(self.place, header.place)] if has_skipped else []
        # In the middle of an epoch we have only lost our turn, and can still return to its begin.
        opens_epoch = self.is_fresh or header.place.step == 0
        return [*skipped, *self._enter(header, opens_epoch=opens_epoch)]

    def _enter(self, header: Header, *, opens_epoch: bool) -> list[Effect]:
        if self._steps_of is not None and (opens_epoch or header.place.epoch != self.place.epoch):
            self.num_steps = self._steps_of(header.num_pictures)
        is_again = not self.is_fresh and header.place == self._began
        self.place, self.is_fresh = header.place, False
        self._pending = self.ended_at = None
        if opens_epoch:
            self._rollback_epoch = header.place.epoch
        return [TakeOver(header.place, header.phase, opens_epoch, is_again), *self._carry_on()]

    def _carry_on(self) -> list[Effect]:
        if self.place.step >= self.num_steps:
            return self._end_epoch()
        self.state = State.FORWARD
        return [Forward(self.place)]

    def _end_epoch(self) -> list[Effect]:
        self.state = State.ENDING
        return [EndEpoch(self.place.epoch)]
