"""Whose batch is trained next, and when an epoch ends: the server's state machine of headers.

Batches are trained in the order in which they arrive, each exactly once: a client's next place is
known, a batch that was trained already gets the answer it got, and what came out of order is
refused. An epoch ends when every client that is at work has ended it; a client not heard of for
`client_timeout_s` holds nobody up. When it returns it goes on with the batch that is next; where it
has not begun an epoch that is over by then, with the one under way. Whatever it says is a return:
its link may carry a batch more slowly than we have patience, or it was we who did not listen.

A client enters an epoch by a GO alone. One that greets and has not sent the first batch yet is told
to wait, and gets its GO (again).

What client halves have in common, by `client_sync`:

    none     nothing: each client keeps its own
    relay    one half goes round: clients train one after the other, each from the last one's
    fedavg   all train at once; at the epoch's end all go on from the mean of the halves

Where a timetable says whose epoch it is, all others wait for a later one: they get no GO, and
nobody waits for them. Where none of those whose epoch it is are there, all that are train in it.
Nor is anybody waited for at the beginning for longer than `client_timeout_s`.
"""

from __future__ import annotations

from collections.abc import Mapping

from headgate.profiles.train_messages import Header, Kind, Place, Status
from headgate.train.split_training.greeting import Greeting
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
from headgate.train.split_training.server_roster import Member, Roster
from headgate.train.split_training.timetable import Timetable

CLIENT_TIMEOUT_S = 60.0


class ServerSession:
    """All clients of one run."""

    def __init__(
        self,
        *,
        num_epochs: int,
        num_clients: int,
        client_sync: str,
        client_timeout_s: float = CLIENT_TIMEOUT_S,
        epoch: int = 0,
        places: Mapping[str, Place] | None = None,
        timetable: Timetable | None = None,
    ) -> None:
        """Wait for `num_clients` before the first batch; `places` are what a checkpoint knows."""
        self._num_epochs = num_epochs
        self._num_clients = num_clients
        self._one_at_a_time = client_sync == "relay"
        self._timeout_s = client_timeout_s
        self._timetable = timetable
        self._is_epoch_done = False  # by one of those that train in it, who may have left since
        self.epoch = epoch
        self.roster = Roster(places or {})
        self._has_begun = False
        self._first_s: float | None = None  # when the first client came
        self._is_closing = False

    @property
    def is_finished(self) -> bool:
        return self.epoch >= self._num_epochs

    def next_timer_s(self) -> float | None:
        """Return when a silent client will be given up, or one that is not there yet."""
        if self._is_closing:
            return None
        heard_s = [member.heard_s for member in self.roster if self._is_waited_for(member)]
        if self._waits_to_begin:
            assert self._first_s is not None
            heard_s.append(self._first_s)
        return min(heard_s) + self._timeout_s if heard_s else None

    def handle_timer(self, *, now_s: float) -> list[Effect]:
        """Stop waiting for clients that have been silent for too long, or have not come."""
        effects: list[Effect] = []
        if self._waits_to_begin and now_s >= (self._first_s or 0.0) + self._timeout_s:
            self._num_clients = 1
            effects += self._missing()
        for member in self.roster:
            if self._is_waited_for(member) and now_s >= member.heard_s + self._timeout_s:
                member.fell_silent()
                member.may_train &= not self._one_at_a_time  # its turn is over
                effects.append(self._silent(member))
        return [*effects, *self._advance(now_s=now_s)] if effects else []

    @property
    def _waits_to_begin(self) -> bool:
        """Whether clients are waited for that a timetable can do without."""
        is_waiting = not self._has_begun and self._num_clients > 1 and self._first_s is not None
        return is_waiting and self._timetable is not None and not self.is_finished

    def _missing(self) -> list[Effect]:
        assert self._timetable is not None
        present = {member.name for member in self.roster.at_work}
        text = f"not here after {self._timeout_s:g} s, not waited for any more"
        return [Attendance(name, text) for name in sorted(self._timetable.names - present)]

    def greeted(
        self,
        peer: bytes,
        said: Greeting,
        *,
        place: Place,
        differences: list[str],
        now_s: float,
    ) -> list[Effect]:
        """Hear a HELLO, and in what the client differs from what it must have in common.

        `place` is where it says that it stands.
        """
        name, instance = said.name, said.instance
        if differences:
            reason = f"this client trains something else ({'; '.join(differences)})"
            return [Refuse(peer, f"{reason}; give both sides the same settings", name)]
        effects: list[Effect] = []
        self._first_s = now_s if self._first_s is None else self._first_s
        is_anew = False
        known = self.roster.find(name)
        is_new = known is None
        member = known or self.roster.enter(name, Place(self.epoch))
        taken = f"another client took the name {name!r}; choose another --name"
        if instance in member.retired:
            return [Refuse(peer, taken, name)]
        if member.instance not in ("", instance):
            is_anew = True
            member.retired.add(member.instance)
            if member.peer is not None and member.peer != peer:
                effects.append(Refuse(member.peer, taken, name, is_replaced=True))
        came = is_new or member.peer != peer
        member.peer, member.instance, member.heard_s = peer, instance, now_s
        member.silent_peer = None
        member.num_pictures, member.is_fresh = said.num_pictures, said.is_fresh
        if self.is_finished:
            member.place, member.may_train = Place(self._num_epochs), False
        elif member.place.epoch < self.epoch:
            self._catch_up(member, place)
        if came:
            effects.append(self._came(member, is_new=is_new, is_anew=is_anew))
        goes_on = member.place.step > 0 and (member.may_train or member.place.epoch < self.epoch)
        status = Status.FINE if goes_on else Status.WAIT
        effects.append(
            Greeted(peer, name, member.place, status, gives_half=said.is_fresh and goes_on)
        )
        if self.is_finished:
            effects.append(self._finish(member, peer))
        elif member.may_train and not goes_on:
            effects.append(self._go(member, peer))
        return [*effects, *self._advance(now_s=now_s)]

    def _came(self, member: Member, *, is_new: bool, is_anew: bool = False) -> Attendance:
        """Say where a client joins or comes back; `is_anew` if it does so as another process."""
        came = "joins" if is_new else "comes back" + " as a new process" * is_anew
        if self.is_finished:
            return Attendance(member.name, f"{came}; all is done")
        text = f"{came} at {_where(member.place)}"
        if not self._has_begun:
            text += f"; {len(self.roster.at_work)} of {self._num_clients} are here"
        return Attendance(member.name, text)

    def _left(self, member: Member) -> Attendance:
        if self.is_finished:
            return Attendance(member.name, "leaves; all is done")
        return Attendance(member.name, f"leaves at {_where(member.place)}; {self._are_left()}")

    def _silent(self, member: Member) -> Attendance:
        text = f"silent for {self._timeout_s:g} s at {_where(member.place)}"
        return Attendance(member.name, f"{text}, not waited for any more; {self._are_left()}")

    def _are_left(self) -> str:
        num_clients = len(self.roster.at_work)
        return f"{num_clients or 'none'} {'are' if num_clients > 1 else 'is'} left"

    def _catch_up(self, member: Member, place: Place) -> None:
        """Let a client that was away go on with the epoch under way, if it is in none before it.

        Nor if we lost steps of the earlier one, with a restart: it cannot go back to them.
        """
        if member.is_fresh or member.place.step == 0 or place > member.place:
            member.place, member.may_train = Place(self.epoch), False

    def received(self, peer: bytes, header: Header, *, now_s: float) -> list[Effect]:
        """Take a message other than a HELLO."""
        member = self.roster.member_at(peer)
        if member is None:
            return [Note(f"a {header.kind.name} from a peer that has not said HELLO is ignored")]
        member.heard_s = now_s
        effects: list[Effect] = []
        if member.peer is None and header.kind is not Kind.GOODBYE:
            if self._one_at_a_time and any(each.may_train for each in self.roster):
                return [Note(f"client {member.name}: back, but it is another one's turn by now")]
            member.peer, member.silent_peer = peer, None
            member.may_train |= member.place.epoch == self.epoch  # its turn goes on
            effects = [self._came(member, is_new=False)]
        if self.is_finished and header.kind in (Kind.BATCH, Kind.EPOCH_END, Kind.WORKING):
            return [*effects, self._finish(member, peer)]
        if header.kind is Kind.WORKING:
            return effects
        if header.kind is Kind.BATCH:
            return [*effects, *self._batch(member, peer, header)]
        if header.kind is Kind.EPOCH_END:
            return [*effects, *self._epoch_end(member, peer, header, now_s=now_s)]
        if header.kind is Kind.GOODBYE:
            self.roster.leave(member)
            return [self._left(member), *self._advance(now_s=now_s)]
        return [Refuse(peer, f"a client does not send {header.kind.name}; update the older side")]

    def dropped(self, peer: bytes, *, now_s: float) -> list[Effect]:
        """Hear that a peer was refused: nobody waits for it."""
        member = self.roster.member_at(peer)
        if member is None:
            return []
        member.peer = member.silent_peer = None
        member.may_train &= not self._one_at_a_time
        return self._advance(now_s=now_s)

    def epoch_closed(self, *, now_s: float) -> list[Effect]:
        """Hear that the epoch is measured and written: the next one begins."""
        assert self._is_closing
        self._is_closing = self._is_epoch_done = False
        self.epoch += 1
        for member in self.roster.at_work:
            if member.place == Place(self.epoch - 1):  # it was not its epoch
                member.place = Place(self.epoch)
        if self.is_finished:
            effects: list[Effect] = []
            for member in self.roster:
                member.may_train = False
                if member.peer is not None:
                    effects.append(self._finish(member, member.peer))
            return effects
        return self._advance(now_s=now_s)

    def _batch(self, member: Member, peer: bytes, header: Header) -> list[Effect]:
        place = header.place
        if place == member.place and place.epoch <= self.epoch:
            if place.epoch == self.epoch and not member.may_train:
                return [Note(f"client {member.name}: {place} before its GO is ignored")]
            member.place, member.is_fresh = place.next(), False
            return [Train(peer, member.name)]
        if place.next() == member.place:
            return [Repeat(peer, member.name)]
        if place < member.place:
            return [Note(f"client {member.name}: {place} was trained long ago and is ignored")]
        return [
            Refuse(
                peer,
                f"batches out of order: {place} came, expected {member.place}; "
                "start the client again",
            )
        ]

    def _epoch_end(
        self, member: Member, peer: bytes, header: Header, *, now_s: float
    ) -> list[Effect]:
        epoch = header.place.epoch
        if member.place.epoch == epoch + 1 and member.place.step == 0:  # we have its half
            return []
        if header.place != member.place:
            return [Note(f"client {member.name}: the end of epoch {epoch + 1} is ignored")]
        member.place, member.may_train, member.is_fresh = Place(epoch + 1), False, False
        is_late = epoch < self.epoch  # it was away while the others went on
        if is_late:
            member.place = Place(self.epoch)
        self._is_epoch_done |= not is_late
        return [KeepHalf(member.name, is_late), *self._advance(now_s=now_s)]

    def _go(self, member: Member, peer: bytes) -> Go:
        return Go(peer, member.name, member.place, is_fresh=member.is_fresh)

    def _finish(self, member: Member, peer: bytes) -> Go:
        return Go(peer, member.name, Place(self._num_epochs), Status.FINISHED)

    def _is_waited_for(self, member: Member) -> bool:
        is_training = member.may_train or member.place.epoch < self.epoch
        return member.peer is not None and is_training and not self.is_finished

    def _advance(self, *, now_s: float) -> list[Effect]:
        """Give the GOs that can be given; close the epoch if all have ended it."""
        if self._is_closing or self.is_finished:
            return []
        working = self.roster.at_work
        if not self._has_begun and len(working) < self._num_clients:
            return []
        self._has_begun = True
        waiting = self._with_this_epoch(working)
        if not waiting:
            ended = any(each.place.epoch > self.epoch for each in self.roster)
            if not (working and ended):
                return []
            self._is_closing = True
            return [CloseEpoch(self.epoch)]
        if self._one_at_a_time:
            if any(m.may_train for m in waiting):
                return []
            waiting = waiting[:1]
        effects: list[Effect] = []
        for member in waiting:
            if not member.may_train and member.place.epoch == self.epoch:
                assert member.peer is not None
                member.may_train, member.heard_s = True, now_s
                effects.append(self._go(member, member.peer))
        return effects

    def _with_this_epoch(self, working: list[Member]) -> list[Member]:
        """Return who has yet to end the epoch under way, or an earlier one."""
        behind = [member for member in working if member.place.epoch <= self.epoch]
        if self._timetable is None:
            return behind
        names = self._timetable.names_in(self.epoch)
        stand_in = not self._is_epoch_done and all(member.name not in names for member in working)
        return [
            member
            for member in behind
            if stand_in
            or member.name in names
            or member.may_train
            or member.place.epoch < self.epoch
        ]


def _where(place: Place) -> str:
    """Return a place, but where an epoch begins the epoch alone."""
    return str(place) if place.step else f"epoch {place.epoch + 1}"
