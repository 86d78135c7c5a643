"""The server of split training: what its session decides, done with torch and files.

It neither waits nor sends: messages go in, messages come out, and whoever carries them (sockets, or
a loop in one process) counts their bytes here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from headgate.profiles.errors import TrainingError, WireError
from headgate.profiles.train_messages import Header, Kind, Place, Status
from headgate.train.pictures.data import TrainingData
from headgate.train.run.plan import Plan
from headgate.train.split_training.epoch_record import (
    DEPRUNE_EPOCH_SCHEMA,
    DepruneEpoch,
    Tally,
    sums_of,
)
from headgate.train.split_training.greeting import disagreements, greeting_from_bytes
from headgate.train.split_training.growth import next_selection
from headgate.train.split_training.halves import pack_half
from headgate.train.split_training.invitations import Invitations
from headgate.train.split_training.kept_halves import Half, KeptHalves, without_long_absent
from headgate.train.split_training.outgoing import Outgoing, refusal
from headgate.train.split_training.payload import Payload
from headgate.train.split_training.server_effects import (
    Attendance,
    CloseEpoch,
    Effect,
    Go,
    Greeted,
    KeepHalf,
    Note,
    Refuse,
    Repeat,
    Train,
)
from headgate.train.split_training.server_half import Answer, Batch, ServerHalf
from headgate.train.split_training.server_session import ServerSession
from headgate.train.split_training.settings import (
    DepruneSettings,
)

log = logging.getLogger(__name__)


class SplitServer:
    """Everything of the server but its socket."""

    def __init__(
        self,
        plan: Plan,
        settings: DepruneSettings,
        *,
        half: ServerHalf,
        session: ServerSession,
        agreement: Mapping[str, object],
        tally: Tally,
        now_s: Callable[[], float],
        keep: Callable[[SplitServer, DepruneEpoch], None],
        attended: Callable[[Attendance], None],
    ) -> None:
        """`keep` writes an epoch's line and a checkpoint; `now_s` is the clock.

        `attended` hears of clients that come and go.
        """
        self.half = half
        self.session = session
        self.tally = tally
        self.halves = KeptHalves(
            client_sync=settings.client_sync,
            are_personal=settings.server_view != "shared" or settings.partition != "drawn",
        )
        self.invitations = Invitations(settings, half=half, halves=self.halves, session=session)
        if settings.client_sync == "relay":
            # The first half that goes round is a fresh one: a client that goes back to the first
            # epoch with us would else begin with what another trained in a run that we lost.
            self.halves.shared = Half.opened(pack_half(half.model), half.model)
        self._plan = plan
        self._settings = settings
        self._agreement = dict(agreement)
        self.now_s = now_s
        self._keep = keep
        self._attended = attended
        self._answers: dict[str, Answer] = {}
        self._began_s: float | None = None  # when the epoch's first batch came

    @property
    def is_finished(self) -> bool:
        return self.session.is_finished

    def next_timer_s(self) -> float | None:
        return self.session.next_timer_s()

    def handle_timer(self, *, now_s: float) -> list[Outgoing]:
        return self._obey(self.session.handle_timer(now_s=now_s))

    def received(
        self,
        peer: bytes,
        header: Header,
        parts: tuple[Payload, ...],
        *,
        num_bytes: int,
        now_s: float,
    ) -> list[Outgoing]:
        """Take one message and do all that follows from it."""
        try:
            if header.kind is Kind.HELLO:
                return self._hello(peer, header, parts, num_bytes=num_bytes, now_s=now_s)
            name = self.session.roster.name_at(peer)
            if name is None:
                return self._obey(self.session.received(peer, header, now_s=now_s))
            self.tally.received(name, header.kind, num_bytes)
            batch = half = None
            if header.kind is Kind.BATCH:
                batch = self.half.check_batch(header, parts)
                if self._began_s is None:
                    self._began_s = self.now_s()
            elif header.kind is Kind.EPOCH_END:
                half = self._half(name, header.place, parts[0])
            effects = self.session.received(peer, header, now_s=now_s)
        except WireError as reason:
            return self.malformed(peer, str(reason))
        if header.kind is Kind.GOODBYE and header.status is Status.NOT_FINITE:
            self._left_not_finite(name, header.place)
        return self._obey(effects, header=header, batch=batch, half=half)

    def malformed(self, peer: bytes, reason: str) -> list[Outgoing]:
        """Drop a peer that sent what is no message, or no batch of this training."""
        name = self.session.roster.name_at(peer)
        log.warning("client %s: %s", name or peer.hex(), reason)
        return [refusal(peer, name, reason), *self._drop(peer)]

    def fail(self, reason: str) -> list[Outgoing]:
        """Tell all clients that training has ended without success."""
        peers = [(peer, self.session.roster.name_at(peer)) for peer in self.session.roster.peers]
        header = Header(Kind.REFUSE, status=Status.NOT_FINITE)
        text = f"stopped: {reason}".encode()
        return [Outgoing(peer, name, header, (text,)) for peer, name in peers]

    def _drop(self, peer: bytes) -> list[Outgoing]:
        return self._obey(self.session.dropped(peer, now_s=self.now_s()))

    def _hello(
        self,
        peer: bytes,
        header: Header,
        parts: tuple[Payload, ...],
        *,
        num_bytes: int,
        now_s: float,
    ) -> list[Outgoing]:
        text = parts[0]
        assert isinstance(text, bytes)
        greeting = greeting_from_bytes(text)
        differences = disagreements(self._agreement, greeting.agreement)
        timetable = self._settings.timetable
        if timetable is not None and greeting.name not in timetable.names:
            expected = ", ".join(sorted(timetable.names))
            differences.append(f"name: found {greeting.name!r}, expected one of {expected}")
        effects = self.session.greeted(
            peer,
            greeting,
            place=header.place,
            differences=differences,
            now_s=now_s,
        )
        if self.session.roster.name_at(peer) is not None:
            self.tally.received(greeting.name, Kind.HELLO, num_bytes)
            if timetable is not None:
                found = timetable.differs(greeting.name, num_pictures=greeting.num_pictures)
                effects += [Attendance(greeting.name, found)] if found else []
        return self._obey(effects)

    def _half(self, name: str, place: Place, data: Payload) -> Half:
        """Return the half of a client that ends an epoch, or raise WireError.

        An end that does not fit where the client stands is ignored later, whatever half it brings.
        """
        assert isinstance(data, bytes)
        half = Half.opened(data, self.half.model)
        expected = self.half.selections[self.invitations.phase_of(place)]
        ends_here = self.session.roster.places[name] == place
        if ends_here and half.selected != expected:
            raise WireError(
                f"EPOCH_END at {place}: the half sends maps {list(half.selected)}, expected "
                f"{list(expected)}; start the client again"
            )
        return half

    def _obey(
        self,
        effects: list[Effect],
        *,
        header: Header | None = None,
        batch: Batch | None = None,
        half: Half | None = None,
    ) -> list[Outgoing]:
        out: list[Outgoing] = []
        waiting = list(effects)
        while waiting:
            effect = waiting.pop(0)
            match effect:
                case Train(peer, name):
                    assert header is not None
                    assert batch is not None
                    out.append(self._train(peer, name, header, batch))
                case Repeat(peer, name):
                    assert header is not None
                    self.tally.repeated(name)
                    out.append(self._repeated(peer, name, header))
                case KeepHalf(name, is_late):
                    assert half is not None
                    num_pictures = self.session.roster.num_pictures_of(name)
                    self.halves.keep(name, half, num_pictures=num_pictures, is_late=is_late)
                case Greeted():
                    out.append(self.invitations.welcome(effect))
                case Go():
                    if self._settings.adasplit is not None and self._began_s is None:
                        self._began_s = self.now_s()  # some epochs of these have no batch at all
                    out.append(self.invitations.go(effect))
                case CloseEpoch(epoch):
                    self._close(epoch)
                    waiting += self.session.epoch_closed(now_s=self.now_s())
                case Refuse(peer, reason):
                    known = self.session.roster.name_at(peer)
                    who = known or effect.name or f"peer {peer.hex()}"
                    level = logging.INFO if effect.is_replaced else logging.WARNING
                    log.log(level, "client %s: refused: %s", who, reason)
                    out.append(refusal(peer, known, reason))
                    waiting += self.session.dropped(peer, now_s=self.now_s())
                case Note(text):
                    log.info("%s", text)
                case Attendance():
                    self._attended(effect)
        return out

    def _train(self, peer: bytes, name: str, header: Header, batch: Batch) -> Outgoing:
        answer = self.half.train(name, header, batch)
        self._answers.pop(name, None)  # who was answered last comes last
        self._answers[name] = answer
        if answer.header.status is Status.NOT_FINITE:
            self.tally.refused(name)
            log.warning("client %s: %s: the step was refused, not finite", name, header.place)
            if self._settings.on_nan == "stop":
                raise TrainingError(
                    f"client {name}, {header.place}: a loss or gradient is not a finite number; "
                    "lower --lr or --gamma, or go on without such batches with --on-nan skip"
                )
        else:
            self.tally.trained(
                name,
                num_pictures=header.num_pictures,
                num_right=answer.header.num_right,
                loss=answer.header.loss,
            )
        return Outgoing(peer, name, answer.header, answer.parts)

    def _left_not_finite(self, name: str, place: Place) -> None:
        log.warning("client %s: stopped at %s, it has a number that is not finite", name, place)
        if self._settings.on_nan == "stop":
            raise TrainingError(
                f"client {name}, {place}: it has a number that is not finite; lower --lr or "
                "--gamma, or go on without such clients and batches with --on-nan skip"
            )

    def _repeated(self, peer: bytes, name: str, header: Header) -> Outgoing:
        """Return the answer that a batch had; it has none any more if we were started anew."""
        answer = self._answers.get(name)
        if answer is None or answer.header.place != header.place:
            lost = Header(Kind.GRADIENT, header.place, Status.NOT_FINITE, header.phase)
            return Outgoing(peer, name, lost, ())
        return Outgoing(peer, name, answer.header, answer.parts)

    def _close(self, epoch: int) -> None:
        """End an epoch: join the halves, measure, open the next phase, keep all of it."""
        self.half.train_again(epoch)
        began_s = self.now_s()
        train_s = began_s - (began_s if self._began_s is None else self._began_s)
        model, settings = self.half.model, self._settings
        phase = settings.phase_of(epoch)
        if not self.half.is_finite:
            raise TrainingError(
                f"at the end of epoch {epoch + 1} the server's weights are not finite numbers any "
                "more; lower --lr or --gamma, and start over"
            )
        selected = self.half.selections[phase]
        self.halves.join(model, selected=selected)
        accuracy, exit_accuracy = self.halves.measure(
            model, self._plan.data, selected=selected, as_of=self._as_of
        )
        clients = self.tally.close()
        self.invitations.heard(clients)
        record = DepruneEpoch(
            schema=DEPRUNE_EPOCH_SCHEMA,
            epoch=epoch + 1,
            num_epochs=settings.num_epochs,
            phase=phase,
            budget=settings.budget_of(epoch),
            learning_rate=self.half.rate,
            accuracy=accuracy,
            exit_accuracy=exit_accuracy,
            total_bytes=self.tally.total_bytes,
            train_s=round(train_s, 3),
            evaluate_s=round(self.now_s() - began_s, 3),
            **sums_of(clients, train_s=train_s),
            clients={
                name: replace(done, accuracy=self.halves.accuracies.get(name))
                for name, done in clients.items()
            },
        )
        self._open_phase_of(epoch + 1)
        self._began_s = None
        present = {member.name for member in self.session.roster.at_work}
        self.halves.epoch_closed(present=present)
        self._answers = without_long_absent(self._answers, needed=present)
        known = {*present, *self.halves.latest}
        self.half.keep_only(known)
        self.invitations.keep_only(known)
        self._keep(self, record)

    def data_of(self, name: str) -> TrainingData:
        """Return what a client's network is measured on: its own classes, where it has such.

        Of classes that the validation half lacks nothing can be said, so all of it counts then.
        """
        data, seen = self._plan.data, self.half.labels_seen.get(name)
        if self._settings.partition == "drawn" or not seen:
            return data
        own = data.of_classes(seen)
        return own if len(own.val_labels_N) else data

    @contextmanager
    def _as_of(self, name: str) -> Iterator[TrainingData]:
        with self.half.views.worn(name):
            yield self.data_of(name)

    def _open_phase_of(self, epoch: int) -> None:
        settings = self._settings
        if epoch >= settings.num_epochs or settings.phase_of(epoch) < len(self.half.selections):
            return
        phase = settings.phase_of(epoch)
        half = self.halves.for_selection()
        selected = next_selection(
            half.weights["bottleneck.f_hat"],
            selected=self.half.selections[-1],
            budget=settings.phases[phase].budget,
        )
        self.half.open_phase(phase, selected)
