"""Claims about the server's state machine: each batch once, nobody held up, one half at a time."""

from __future__ import annotations

from typing import Any

import pytest

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
from headgate.train.split_training.server_session import ServerSession

ANN, BO = b"\x01", b"\x02"


def make(*, num_epochs: int = 2, num_clients: int = 1, sync: str = "none") -> ServerSession:
    return ServerSession(
        num_epochs=num_epochs, num_clients=num_clients, client_sync=sync, client_timeout_s=10.0
    )


def hello(
    session: ServerSession,
    peer: bytes,
    *,
    name: str = "ann",
    instance: str = "1",
    place: Place = Place(),  # noqa: B008
    fresh: bool = True,
    differences: tuple[str, ...] = (),
    now_s: float = 0.0,
) -> list[Effect]:
    return session.greeted(
        peer,
        Greeting(name, instance, is_fresh=fresh, num_pictures=8, agreement={}),
        place=place,
        differences=list(differences),
        now_s=now_s,
    )


def greet(session: ServerSession, peer: bytes, **said: Any) -> list[Effect]:
    """Return what follows from a HELLO, without what the operator hears of it."""
    return [e for e in hello(session, peer, **said) if not isinstance(e, Attendance)]


def batch(epoch: int, step: int) -> Header:
    return Header(Kind.BATCH, Place(epoch, step))


def end(epoch: int, step: int) -> Header:
    return Header(Kind.EPOCH_END, Place(epoch, step))


def without_notes(effects: list[Effect]) -> list[Effect]:
    return [effect for effect in effects if not isinstance(effect, Note | Attendance)]


def test_nothing_begins_before_all_are_there() -> None:
    session = make(num_clients=2)
    waiting = without_notes(greet(session, ANN))
    assert waiting == [Greeted(ANN, "ann", Place(), Status.WAIT, gives_half=False)]
    begun = without_notes(greet(session, BO, name="bo"))
    assert begun == [
        Greeted(BO, "bo", Place(), Status.WAIT, gives_half=False),
        Go(ANN, "ann", Place(), is_fresh=True),
        Go(BO, "bo", Place(), is_fresh=True),
    ]


def test_a_batch_is_trained_once_then_repeated_and_what_is_out_of_order_is_refused() -> None:
    session = make()
    greet(session, ANN)
    assert session.received(ANN, batch(0, 0), now_s=1.0) == [Train(ANN, "ann")]
    assert session.received(ANN, batch(0, 0), now_s=1.0) == [Repeat(ANN, "ann")]
    assert session.received(ANN, batch(0, 1), now_s=1.0) == [Train(ANN, "ann")]
    (ignored,) = session.received(ANN, batch(0, 0), now_s=1.0)
    assert isinstance(ignored, Note)
    for place in ((0, 3), (1, 0)):
        (refused,) = session.received(ANN, batch(*place), now_s=1.0)
        assert isinstance(refused, Refuse)
        assert "expected epoch 1, batch 3" in refused.reason


def test_an_epoch_closes_when_all_have_ended_it_and_the_next_one_begins() -> None:
    session = make(num_clients=2)
    greet(session, ANN)
    greet(session, BO, name="bo")
    session.received(ANN, batch(0, 0), now_s=1.0)
    assert session.received(ANN, end(0, 1), now_s=1.0) == [KeepHalf("ann")]
    closing = session.received(BO, end(0, 0), now_s=1.0)
    assert closing == [KeepHalf("bo"), CloseEpoch(0)]
    assert session.epoch_closed(now_s=2.0) == [
        Go(ANN, "ann", Place(1), Status.FINE),
        Go(BO, "bo", Place(1), Status.FINE),
    ]


def test_one_that_greets_before_its_first_batch_gets_its_go_again() -> None:
    session = make()
    greet(session, ANN)
    session.received(ANN, batch(0, 0), now_s=1.0)
    session.received(ANN, end(0, 1), now_s=1.0)
    session.epoch_closed(now_s=1.0)
    assert session.received(ANN, end(0, 1), now_s=2.0) == []
    assert greet(session, BO, fresh=False, place=Place(1)) == [
        Greeted(BO, "ann", Place(1), Status.WAIT, gives_half=False),
        Go(BO, "ann", Place(1)),
    ]


def test_one_without_any_state_gets_a_half_with_its_go_or_with_its_welcome() -> None:
    session = make()
    greet(session, ANN)
    session.received(ANN, batch(0, 0), now_s=1.0)
    assert greet(session, BO, instance="2")[1:] == [
        Greeted(BO, "ann", Place(0, 1), Status.FINE, gives_half=True)
    ]
    session.received(BO, end(0, 1), now_s=1.0)
    session.epoch_closed(now_s=1.0)
    assert greet(session, ANN, instance="3")[1:] == [
        Greeted(ANN, "ann", Place(1), Status.WAIT, gives_half=False),
        Go(ANN, "ann", Place(1), is_fresh=True),
    ]


def test_after_the_last_epoch_all_are_told() -> None:
    session = make(num_epochs=1)
    greet(session, ANN)
    session.received(ANN, end(0, 0), now_s=1.0)
    finished = Go(ANN, "ann", Place(1), Status.FINISHED)
    assert session.epoch_closed(now_s=1.0) == [finished]
    assert session.is_finished
    assert session.received(ANN, end(0, 0), now_s=2.0) == [finished]
    session.received(ANN, Header(Kind.GOODBYE), now_s=3.0)
    assert session.roster.at_work == []


def test_a_silent_client_is_given_up_at_its_timeout_and_not_before() -> None:
    session = make(num_clients=2)
    greet(session, ANN)
    greet(session, BO, name="bo")
    session.received(BO, end(0, 0), now_s=4.0)
    assert session.next_timer_s() == pytest.approx(10.0)
    assert session.handle_timer(now_s=9.9) == []
    silent, closing = session.handle_timer(now_s=10.0)
    assert silent == Attendance(
        "ann", "silent for 10 s at epoch 1, not waited for any more; 1 is left"
    )
    assert closing == CloseEpoch(0)


def test_one_that_was_given_up_goes_on_with_its_next_batch() -> None:
    session = make(num_clients=2)
    greet(session, ANN)
    greet(session, BO, name="bo")
    session.received(ANN, batch(0, 0), now_s=1.0)
    session.received(BO, end(0, 0), now_s=4.0)
    session.handle_timer(now_s=11.0)
    session.epoch_closed(now_s=11.0)
    back = without_notes(greet(session, b"\x03", fresh=False, now_s=12.0))
    assert back == [Greeted(b"\x03", "ann", Place(0, 1), Status.FINE, gives_half=False)]
    assert session.received(b"\x03", batch(0, 1), now_s=12.0) == [Train(b"\x03", "ann")]
    assert session.received(b"\x03", end(0, 2), now_s=13.0) == [
        KeepHalf("ann", is_late=True),
        Go(b"\x03", "ann", Place(1), Status.FINE),
    ]


def test_one_that_was_given_up_and_kept_its_connection_goes_on_there() -> None:
    """Its link may need longer for each batch than we wait; or we were stopped, not the client."""
    session = make(num_clients=2)
    greet(session, ANN)
    greet(session, BO, name="bo")
    for step in range(3):
        now_s = 100.0 * step
        session.handle_timer(now_s=now_s + 50.0)
        assert session.roster.at_work == []
        came, trained = session.received(ANN, batch(0, step), now_s=now_s + 90.0)
        assert came == Attendance(
            "ann", "comes back at epoch 1" + f", batch {step + 1}" * (step > 0)
        )
        assert trained == Train(ANN, "ann")
        assert [member.name for member in session.roster.at_work] == ["ann"]
    assert without_notes(session.received(ANN, end(0, 3), now_s=295.0)) == [
        KeepHalf("ann"),
        CloseEpoch(0),
    ]


def test_with_relay_a_silent_one_goes_on_where_nobody_else_has_the_turn() -> None:
    session = make(num_clients=2, sync="relay")
    greet(session, ANN)
    greet(session, BO, name="bo")
    session.handle_timer(now_s=10.0)  # the turn is bo's now
    assert without_notes(session.received(ANN, batch(0, 0), now_s=11.0)) == []
    session.handle_timer(now_s=20.0)
    assert without_notes(session.received(ANN, batch(0, 0), now_s=21.0)) == [Train(ANN, "ann")]
    assert without_notes(session.received(BO, batch(0, 0), now_s=22.0)) == []


@pytest.mark.parametrize("says", [batch(0, 1), end(0, 1)])
def test_one_that_speaks_again_after_the_last_epoch_is_told_on_its_old_connection(
    says: Header,
) -> None:
    session = make(num_epochs=1, num_clients=2)
    greet(session, ANN)
    greet(session, BO, name="bo")
    session.received(ANN, batch(0, 0), now_s=1.0)
    session.received(BO, end(0, 0), now_s=4.0)
    session.handle_timer(now_s=11.0)
    session.epoch_closed(now_s=11.0)
    told = without_notes(session.received(ANN, says, now_s=12.0))
    assert told == [Go(ANN, "ann", Place(1), Status.FINISHED)]


@pytest.mark.parametrize(("trained", "says"), [(0, Place(0, 1)), (1, Place(0, 2)), (1, Place(1))])
def test_one_that_returns_after_an_epoch_goes_on_there_where_it_cannot_go_on_before(
    trained: int, says: Place
) -> None:
    """It had not begun the epoch that is over, or the server lost steps of it with a restart."""
    session = ServerSession(
        num_epochs=3,
        num_clients=1,
        client_sync="none",
        epoch=2,
        places={"ann": Place(0, trained)},
    )
    assert greet(session, ANN, fresh=False, place=says) == [
        Greeted(ANN, "ann", Place(2), Status.WAIT, gives_half=False),
        Go(ANN, "ann", Place(2)),
    ]


def test_one_that_returns_after_the_last_epoch_is_told_and_trains_no_more() -> None:
    session = make(num_epochs=1, num_clients=2)
    greet(session, ANN)
    greet(session, BO, name="bo")
    session.received(ANN, batch(0, 0), now_s=1.0)
    session.received(BO, end(0, 0), now_s=4.0)
    session.handle_timer(now_s=11.0)
    session.epoch_closed(now_s=11.0)
    assert greet(session, b"\x03", fresh=False, place=Place(0, 1), now_s=12.0) == [
        Greeted(b"\x03", "ann", Place(1), Status.WAIT, gives_half=False),
        Go(b"\x03", "ann", Place(1), Status.FINISHED),
    ]


def test_with_relay_one_trains_at_a_time_and_a_silent_one_loses_its_turn() -> None:
    session = make(num_clients=2, sync="relay")
    greet(session, ANN)
    begun = without_notes(greet(session, BO, name="bo", now_s=5.0))
    assert begun[1:] == [Go(ANN, "ann", Place(), is_fresh=True)]
    (ignored,) = session.received(BO, batch(0, 0), now_s=5.0)
    assert isinstance(ignored, Note)
    assert session.next_timer_s() == pytest.approx(15.0)
    passed_on = without_notes(session.handle_timer(now_s=15.0))
    assert passed_on == [Go(BO, "bo", Place(), is_fresh=True)]
    assert session.next_timer_s() == pytest.approx(25.0)


def test_with_relay_one_that_was_refused_loses_its_turn() -> None:
    session = make(num_clients=2, sync="relay")
    greet(session, ANN)
    greet(session, BO, name="bo")
    session.received(ANN, batch(0, 0), now_s=1.0)
    passed_on = without_notes(session.dropped(ANN, now_s=2.0))
    assert passed_on == [Go(BO, "bo", Place(), is_fresh=True)]
    again = without_notes(greet(session, b"\x03", fresh=False, place=Place(0, 1), now_s=3.0))
    assert again == [Greeted(b"\x03", "ann", Place(0, 1), Status.WAIT, gives_half=False)]


def attendance(effects: list[Effect]) -> list[str]:
    return [f"{e.name} {e.text}" for e in effects if isinstance(e, Attendance)]


def test_an_operator_hears_once_of_each_client_that_comes_or_goes() -> None:
    session = make(num_clients=2)
    assert attendance(hello(session, ANN)) == ["ann joins at epoch 1; 1 of 2 are here"]
    assert attendance(hello(session, ANN)) == []  # it only repeats itself
    assert attendance(hello(session, BO, name="bo")) == ["bo joins at epoch 1; 2 of 2 are here"]
    session.received(ANN, batch(0, 0), now_s=1.0)
    anew = hello(session, b"\x03", fresh=False, place=Place(0, 1))
    assert attendance(anew) == ["ann comes back at epoch 1, batch 2"]
    session.received(b"\x03", end(0, 1), now_s=2.0)
    left = session.received(BO, Header(Kind.GOODBYE), now_s=3.0)
    assert attendance(left) == ["bo leaves at epoch 1; 1 is left"]
    session.epoch_closed(now_s=4.0)
    session.received(b"\x03", end(1, 0), now_s=5.0)
    session.epoch_closed(now_s=6.0)
    ended = session.received(b"\x03", Header(Kind.GOODBYE), now_s=7.0)
    assert attendance(ended) == ["ann leaves; all is done"]


def test_a_client_that_leaves_is_not_waited_for() -> None:
    session = make(num_clients=2)
    greet(session, ANN)
    greet(session, BO, name="bo")
    session.received(BO, end(0, 0), now_s=1.0)
    closing = without_notes(session.received(ANN, Header(Kind.GOODBYE), now_s=2.0))
    assert closing == [CloseEpoch(0)]


def test_one_that_differs_is_refused_with_what_differs() -> None:
    session = make()
    (refused,) = greet(session, ANN, differences=("seed: server 0, client 1",))
    assert isinstance(refused, Refuse)
    assert "seed: server 0, client 1" in refused.reason
    assert refused.name == "ann"
    assert session.roster.at_work == []


def test_a_name_belongs_to_the_last_process_that_said_it() -> None:
    session = make(num_clients=2)
    greet(session, ANN)
    taken = without_notes(greet(session, BO, instance="2"))
    assert isinstance(taken[0], Refuse)
    assert taken[0].peer == ANN
    (refused,) = greet(session, ANN)
    assert isinstance(refused, Refuse)
    assert session.roster.name_at(BO) == "ann"


def test_after_a_restart_places_are_those_of_the_checkpoint() -> None:
    session = ServerSession(
        num_epochs=3,
        num_clients=2,
        client_sync="none",
        epoch=2,
        places={"ann": Place(2), "bo": Place(2)},
    )
    greet(session, ANN, fresh=False)
    begun = without_notes(greet(session, BO, name="bo", fresh=False))
    assert [effect.place for effect in begun if isinstance(effect, Go)] == [Place(2), Place(2)]


def test_a_peer_without_a_name_is_ignored_and_a_servers_message_refused() -> None:
    session = make()
    (ignored,) = session.received(ANN, batch(0, 0), now_s=0.0)
    assert isinstance(ignored, Note)
    greet(session, ANN)
    (refused,) = session.received(ANN, Header(Kind.GO), now_s=0.0)
    assert isinstance(refused, Refuse)


def test_a_client_that_was_killed_and_begun_again_is_no_refusal_to_the_operator() -> None:
    session = make()
    hello(session, ANN)
    session.received(ANN, batch(0, 0), now_s=1.0)
    anew = hello(session, b"\x03", instance="2", fresh=False, place=Place(0, 0))
    assert attendance(anew) == ["ann comes back as a new process at epoch 1, batch 2"]
    (told,) = [effect for effect in anew if isinstance(effect, Refuse)]
    assert (told.peer, told.name, told.is_replaced) == (ANN, "ann", True)
    (refused,) = hello(session, ANN, instance="1")  # the first, if it was no kill
    assert isinstance(refused, Refuse)
    assert not refused.is_replaced
