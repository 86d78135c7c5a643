"""A client of split training: what its session decides, done with torch and files.

Like the server it neither waits nor sends: messages go in, messages come out.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from headgate.profiles.errors import DataError, HeadgateError, TrainingError, WireError
from headgate.profiles.train_messages import Header, Kind, Place, Status
from headgate.train.learning.material import Lesson
from headgate.train.split_training.client_checkpoints import ClientCheckpoints
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
from headgate.train.split_training.client_half import ClientHalf
from headgate.train.split_training.client_session import ANSWER_TIMEOUT_S, ClientSession
from headgate.train.split_training.greeting import Greeting
from headgate.train.split_training.halves import open_half, pack_half
from headgate.train.split_training.payload import Parcel, Payload
from headgate.train.split_training.source import Source

log = logging.getLogger(__name__)

WORKING_S = 10.0  # a client that trains alone says so as often, or it would count as silent

Message = tuple[Header, tuple[Payload, ...]]
# Told the epoch, from 1 on, and how many pictures this process has sent by then.
EpochEnded = Callable[[int, int], None]


class SplitClient:
    """Everything of a client but its socket."""

    def __init__(
        self,
        half: ClientHalf,
        source: Source,
        *,
        name: str,
        agreement: Mapping[str, Any],
        dealt: Mapping[str, Any] | None = None,
        folder: Path | None = None,
        resume: bool = False,
        checkpoint_steps: int | None = None,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        epoch_ended: EpochEnded | None = None,
    ) -> None:
        """Keep a checkpoint in `folder` at each epoch's end, and every `checkpoint_steps`.

        `agreement` is what the server must have in common, `dealt` what else a resumed client must.
        """
        self.name = name
        self.half = half
        self.failure: Exception | None = None  # why it stopped, unless all is done
        self.is_done = False
        self.num_pictures_done = 0
        self._source = source
        self._epoch_ended = epoch_ended
        self._agreement = dict(agreement)
        self._instance = secrets.token_hex(8)
        self._checkpoint_steps = checkpoint_steps
        self._lessons: Iterator[Lesson] | None = None
        self._lessons_at: Place | None = None
        self._sent: Message | None = None  # what `SendAgain` repeats
        settings = {key: str(value) for key, value in {**agreement, **(dealt or {})}.items()}
        self._kept = ClientCheckpoints(half, name=name, folder=folder, settings=settings)
        self._held: Forward | EndEpoch | None = None  # lessons come before it that do not cross
        self._alone_until: int | None = None  # the batch up to which lessons need no server
        self._said_s = 0.0
        self._began_with: bytes | None = None  # the half with which the epoch under way began
        fresh = partial(
            ClientSession,
            num_steps=source.num_steps,
            answer_timeout_s=answer_timeout_s,
            steps_of=self._crossing_of if half.trains_alone else None,
        )
        if resume:
            self.session = self._kept.resume(fresh)
        else:
            self.session = fresh()
            self._kept.start_over()
        if self.session.ended_at is not None:
            self._sent = self._half_at_end(self.session.ended_at)

    def next_timer_s(self) -> float | None:
        return 0.0 if self.works_alone else self.session.next_timer_s()

    def connected(self, *, now_s: float) -> list[Message]:
        self._held = None
        return self._obey(self.session.connected(now_s=now_s), now_s=now_s)

    def disconnected(self) -> None:
        self._held = None
        self.session.disconnected()

    def handle_timer(self, *, now_s: float) -> list[Message]:
        """Do what is due; a client that works alone takes one step, and always has one due."""
        out = self._obey(self.session.handle_timer(now_s=now_s), now_s=now_s)
        if not self.works_alone:
            return out
        self._train_alone()
        held = self._held
        if self.failure is not None:
            out.append(self._goodbye(self.session.place))
        elif held is not None and self._is_due(held):
            self._held = None
            out += self._obey([held], now_s=now_s)
        elif held is not None and now_s >= self._said_s + WORKING_S:
            self._said_s = now_s
            out.append((Header(Kind.WORKING, self.session.place), ()))
        return out

    @property
    def works_alone(self) -> bool:
        """Whether there are lessons to train on before anything more can be sent.

        So there may be while an answer is on its way, and without any connection.
        """
        until = self._alone_until
        return until is not None and not self.is_done and not self.half.plan.is_at(until)

    def received(
        self, header: Header, parts: tuple[Payload, ...], *, now_s: float
    ) -> list[Message]:
        """Take one message and do all that follows from it."""
        effects = self.session.received(header, now_s=now_s)
        if header.kind is Kind.WELCOME and effects:
            self._take_normalisation(parts[0])
            parts = parts[1:]
        return self._obey(effects, now_s=now_s, parts=parts)

    def _obey(
        self, effects: list[Effect], *, now_s: float, parts: tuple[Payload, ...] = ()
    ) -> list[Message]:
        out: list[Message] = []
        waiting = list(effects)
        while waiting and self.failure is None:
            match waiting.pop(0):
                case Greet(place):
                    out.append(self._greeting(place))
                case TakeOver() as taken:
                    self._take_over(taken, parts)
                case RollBack():
                    log.warning("the server went back to the begin of this epoch, and so do we")
                    self.half.plan.done, self._lessons, self._alone_until = 0, None, None
                    self._kept.roll_back(self.session)
                case (Forward() | EndEpoch()) as effect if not self._is_due(effect):
                    self._held, self._said_s = effect, now_s
                    self._alone_until = self.session.place.step
                case Forward(place):
                    message = self._forward(place)
                    if self.failure is not None:
                        out.append(self._goodbye(place))
                    elif message is None:
                        waiting += self.session.source_dry()
                    else:
                        out.append(message)
                        waiting += self.session.batch_made(now_s=now_s)
                case SendAgain():
                    if self._sent is not None:
                        out.append(self._sent)
                case Apply(place, refused):
                    self._apply(place, parts, refused=refused)
                    if self.failure is not None:
                        out.append(self._goodbye(place))
                    waiting += self.session.applied()
                    every = self._checkpoint_steps
                    if every is not None and (place.step + 1) % every == 0:
                        self._kept.keep(self.session)
                case EndEpoch():
                    out.append(self._end_epoch())
                    if self.failure is None:
                        waiting += self.session.ended(now_s=now_s)
                        self._kept.keep(self.session)  # before the server hears of it
                case Skipped(before, after):
                    log.warning("going on at %s: all from %s on is lost to us", after, before)
                case Refused(status):
                    out += self._refused(status, parts)
                case Finish() | RunDry() | Leave() as last:
                    self._stop(last)
                    out.append(self._goodbye(self.session.place))
        return out

    def _is_due(self, effect: Forward | EndEpoch) -> bool:
        """Say whether all lessons before it are done."""
        return not self.half.trains_alone or self.half.plan.is_at(self.session.place.step)

    def _train_alone(self) -> None:
        """Take a step on the next lesson, which does not cross."""
        plan, epoch = self.half.plan, self.session.place.epoch
        place = Place(epoch, plan.done)
        lesson = self._lesson(place)
        if lesson is None:  # the source has run dry: so it will be for the one that crosses
            plan.done = plan.num_lessons
            return
        if not self.half.train_alone(lesson, place):
            self._own_part_refused(place)
        plan.done += 1
        every = self._checkpoint_steps
        if every is not None and plan.done % every == 0 and self._held is not None:
            self._kept.keep(self.session)

    def _crossing_of(self, num_pictures: int) -> int:
        """Return how many batches carry so many of our pictures."""
        return self.half.plan.crossing_of(num_pictures, of=self._source.num_pictures)

    def _end_epoch(self) -> Message:
        """Return our half as it is at the epoch's end, or our leave, if it is worth nothing."""
        place, self._alone_until = self.session.place, None
        if not self.half.is_finite:
            self._fail(
                TrainingError(
                    f"client {self.name}: at the end of epoch {place.epoch + 1} its weights are "
                    "not finite numbers any more; lower --lr or --gamma, and start over"
                )
            )
            return self._goodbye(place)
        if self._epoch_ended is not None:
            self._epoch_ended(place.epoch + 1, self.num_pictures_done)
        self._sent = self._half_at_end(place)
        return self._sent

    def _refused(self, status: Status, parts: tuple[Payload, ...]) -> list[Message]:
        (text,) = parts
        assert isinstance(text, bytes)
        self._fail(_refusal(status, text.decode(errors="replace")))
        # Of training that failed the server waits until all have heard.
        return [self._goodbye(self.session.place)] if status is Status.NOT_FINITE else []

    def _stop(self, last: Finish | RunDry | Leave) -> None:
        match last:
            case Finish():
                self.is_done = True
            case RunDry():
                place = self.session.place
                self._fail(DataError(f"client {self.name}: the data source ran dry at {place}"))
            case Leave(reason):
                self._fail(WireError(reason))

    def _fail(self, failure: Exception) -> None:
        self.is_done, self.failure = True, failure

    def _goodbye(self, place: Place) -> Message:
        not_finite = isinstance(self.failure, TrainingError)
        return Header(Kind.GOODBYE, place, Status.NOT_FINITE if not_finite else Status.FINE), ()

    def _greeting(self, place: Place) -> Message:
        greeting = Greeting(
            name=self.name,
            instance=self._instance,
            is_fresh=self.session.is_fresh,
            num_pictures=self._source.num_pictures,
            agreement=self._agreement,
        )
        return Header(Kind.HELLO, place), (greeting.to_bytes(),)

    def _take_normalisation(self, text: Payload) -> None:
        """Shift and scale pictures as the server says: all clients must do the same."""
        assert isinstance(text, bytes)
        try:
            found = json.loads(text)
            mean, std = (torch.tensor(found[key], dtype=torch.float32) for key in ("mean", "std"))
        except (ValueError, KeyError, TypeError):
            raise WireError("WELCOME: mean and std are not there; update the server") from None
        normalise = self.half.model.normalise
        if mean.numel() != normalise.mean_1C11.numel() or std.numel() != mean.numel():
            raise WireError(f"WELCOME: {mean.numel()} means, expected one for each colour")
        normalise.mean_1C11.copy_(mean.view(1, -1, 1, 1))
        normalise.std_1C11.copy_(std.view(1, -1, 1, 1))

    def _take_over(self, taken: TakeOver, parts: tuple[Payload, ...]) -> None:
        selected, *rest = parts
        assert isinstance(selected, Parcel)
        data = rest[0] if rest else None
        assert data is None or isinstance(data, bytes)
        chosen = tuple(int(index) for index in selected.values.to(torch.int64).tolist())
        channels = self.half.model.bottleneck.channels
        if list(chosen) != sorted(set(chosen)) or not chosen or chosen[-1] >= channels:
            raise WireError(f"the server selects maps {list(chosen)} of {channels}")
        session, plan = self.session, self.half.plan
        if taken.is_again and self.half.trains_alone and plan.done:
            if data is None or data == self._began_with:  # what was learned alone stays
                plan.num_crossing = session.num_steps
                return
            plan.done = 0
            self._kept.roll_back(session)
        self._alone_until = None
        half = None if data is None else open_half(data, self.half.model)
        self.half.take_over(phase=taken.phase, selected=chosen, half=half)
        plan.enter(
            num_crossing=session.num_steps, step=taken.place.step, is_begin=taken.opens_epoch
        )
        self._lessons = None
        if taken.opens_epoch:
            self._began_with = data
            self._kept.epoch_begins(session)

    def _forward(self, place: Place) -> Message | None:
        plan, sent = self.half.plan, self._sent
        first = plan.first_of(place.step)
        if self.half.trains_alone and plan.done > first and sent and sent[0].place == place:
            return sent  # it was trained on when it was made
        at = Place(place.epoch, plan.lesson_of(place.step))
        lesson = self._lesson(at)
        if lesson is None:
            return None
        plan.done = at.step
        header, parts = self.half.forward(lesson, place)
        plan.done += 1
        if self.half.refused_last:
            self._own_part_refused(at)
        self.num_pictures_done += header.num_pictures
        if self.half.trains_alone:
            self._alone_until = place.step + 1
        self._sent = (header, parts)
        return self._sent

    def _lesson(self, at: Place) -> Lesson | None:
        """Return a lesson by its number in its epoch; in their order they are dealt but once."""
        if self._lessons is None or self._lessons_at != at:
            self._lessons = self._source.lessons(at)
        self._lessons_at = at.next()
        return next(self._lessons, None)

    def _apply(self, place: Place, parts: tuple[Payload, ...], *, refused: bool) -> None:
        if refused:
            log.warning("the server refused %s: not a finite number", place)
            self.half.forget()
            return
        if self.half.trains_alone:
            return
        if len(parts) != 2:
            raise WireError(f"GRADIENT at {place}: it holds none; update the older side")
        maps, filter_gradient = parts
        assert isinstance(maps, Parcel)
        assert isinstance(filter_gradient, Parcel)
        if not self.half.apply((maps, filter_gradient), place):
            self._own_part_refused(place)

    def _own_part_refused(self, place: Place) -> None:
        log.warning("we refuse our own part of %s: not a finite number", place)
        if self.half.stops_on_nan:
            self._fail(
                TrainingError(
                    f"client {self.name}, {place}: a gradient or average is not a finite "
                    "number; lower --lr, or go on without such batches with --on-nan skip"
                )
            )

    def _half_at_end(self, place: Place) -> Message:
        model = self.half.model
        phase = self.half.phase_of(place.epoch)
        header = Header(Kind.EPOCH_END, place, phase=phase, budget=model.budget)
        return header, (pack_half(model),)


def _refusal(status: Status, reason: str) -> HeadgateError:
    """Return what a REFUSE means here: training failed, or we do not belong to it."""
    if status is Status.NOT_FINITE:
        return TrainingError(f"the server {reason}")
    return WireError(f"the server refused: {reason}")
