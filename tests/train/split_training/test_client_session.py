"""Claims about a client's state machine: where it goes on after each kind of answer and of loss."""

from __future__ import annotations

import pytest

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
from headgate.train.split_training.client_session import ClientSession, State


def welcome(epoch: int, step: int, status: Status = Status.FINE) -> Header:
    return Header(Kind.WELCOME, Place(epoch, step), status)


def go(epoch: int, step: int = 0, *, phase: int = 0) -> Header:
    return Header(Kind.GO, Place(epoch, step), phase=phase)


def gradient(epoch: int, step: int, status: Status = Status.FINE) -> Header:
    return Header(Kind.GRADIENT, Place(epoch, step), status)


def training(*, num_steps: int = 2) -> ClientSession:
    """Return a fresh session whose first batch was sent."""
    session = ClientSession(num_steps=num_steps, answer_timeout_s=10.0)
    assert session.connected(now_s=0.0) == [Greet(Place())]
    assert session.received(welcome(0, 0, Status.WAIT), now_s=0.0) == []
    entered = session.received(go(0), now_s=0.0)
    assert entered == [TakeOver(Place(), 0, opens_epoch=True), Forward(Place())]
    session.batch_made(now_s=1.0)
    return session


def ended() -> ClientSession:
    """Return a session that has sent its half at the end of an epoch of one step, after 4 s."""
    session = training(num_steps=1)
    session.received(gradient(0, 0), now_s=2.0)
    session.applied()
    session.ended(now_s=4.0)
    return session


def test_an_epoch_is_forward_and_apply_for_each_step_and_then_its_end() -> None:
    session = training()
    assert session.received(gradient(0, 0), now_s=2.0) == [Apply(Place(0, 0), refused=False)]
    assert session.applied() == [Forward(Place(0, 1))]
    session.batch_made(now_s=3.0)
    refused = session.received(gradient(0, 1, Status.NOT_FINITE), now_s=4.0)
    assert refused == [Apply(Place(0, 1), refused=True)]
    assert session.applied() == [EndEpoch(0)]
    session.ended(now_s=4.0)
    entered = session.received(go(1, phase=1), now_s=5.0)
    assert entered == [TakeOver(Place(1, 0), 1, opens_epoch=True), Forward(Place(1, 0))]


def test_after_the_last_epoch_it_leaves() -> None:
    session = training(num_steps=1)
    session.received(gradient(0, 0), now_s=2.0)
    session.applied()
    session.ended(now_s=4.0)
    done = Header(Kind.GO, Place(1), Status.FINISHED)
    assert session.received(done, now_s=3.0) == [Finish()]
    assert session.connected(now_s=4.0) == []


def test_a_late_answer_makes_it_greet_again_and_not_before() -> None:
    session = training()
    assert session.next_timer_s() == pytest.approx(11.0)
    assert session.handle_timer(now_s=10.9) == []
    assert session.handle_timer(now_s=11.0) == [Greet(Place())]


@pytest.mark.parametrize("expected", [Place(0, 0), Place(0, 1)])
def test_a_batch_without_an_answer_is_sent_again_on_a_new_connection(expected: Place) -> None:
    session = training()
    session.disconnected()
    assert session.next_timer_s() is None
    session.connected(now_s=5.0)
    again = session.received(welcome(expected.epoch, expected.step), now_s=5.0)
    assert again == [SendAgain()]
    assert session.state is State.GRADIENT
    assert session.next_timer_s() == pytest.approx(15.0)


def test_answers_that_do_not_fit_are_ignored() -> None:
    session = training()
    for header in (gradient(0, 1), gradient(1, 0), go(1), welcome(0, 0)):
        assert session.received(header, now_s=2.0) == []
    session.received(gradient(0, 0), now_s=2.0)
    session.applied()
    assert session.received(gradient(0, 0), now_s=2.0) == []  # not before the next was sent


@pytest.mark.parametrize(
    ("expected", "status", "answer"),
    [(Place(0, 1), Status.FINE, [SendAgain()]), (Place(1, 0), Status.WAIT, [])],
)
def test_a_half_is_sent_again_where_the_server_lacks_it(
    expected: Place, status: Status, answer: list[Effect]
) -> None:
    session = ended()
    session.disconnected()
    session.connected(now_s=5.0)
    assert session.received(Header(Kind.WELCOME, expected, status), now_s=5.0) == answer
    assert session.state is State.GO


def test_a_go_that_may_be_lost_is_asked_for() -> None:
    session = ended()
    assert session.next_timer_s() == pytest.approx(14.0)
    assert session.handle_timer(now_s=14.0) == [Greet(Place(1))]
    assert session.received(welcome(1, 0, Status.WAIT), now_s=15.0) == []
    assert session.next_timer_s() == pytest.approx(25.0)
    session.received(go(1), now_s=16.0)
    assert session.next_timer_s() is None


def test_an_answer_that_was_only_slow_is_used_though_we_greeted_again() -> None:
    session = training()
    session.handle_timer(now_s=11.0)
    assert session.received(gradient(0, 0), now_s=12.0) == [Apply(Place(), refused=False)]
    assert session.applied() == [Forward(Place(0, 1))]
    session.batch_made(now_s=13.0)
    assert session.received(welcome(0, 1), now_s=14.0) == []
    session = ended()
    session.handle_timer(now_s=14.0)
    entered = session.received(go(1), now_s=15.0)
    assert entered == [TakeOver(Place(1), 0, opens_epoch=True), Forward(Place(1))]


def test_steps_that_it_forgot_are_skipped() -> None:
    session = ClientSession(num_steps=9, place=Place(1, 3), rollback_epoch=1)
    session.connected(now_s=0.0)
    effects = session.received(welcome(1, 6), now_s=0.0)
    assert effects == [
        Skipped(Place(1, 3), Place(1, 6)),
        TakeOver(Place(1, 6), 0, opens_epoch=False),
        Forward(Place(1, 6)),
    ]


def test_a_restart_that_forgot_nothing_goes_on_with_the_next_batch() -> None:
    session = ClientSession(num_steps=9, place=Place(1, 3), rollback_epoch=1)
    session.connected(now_s=0.0)
    assert session.received(welcome(1, 3), now_s=0.0) == [Forward(Place(1, 3))]


def test_a_restart_one_step_behind_repeats_that_step() -> None:
    session = ClientSession(num_steps=9, place=Place(1, 3), rollback_epoch=1)
    session.connected(now_s=0.0)
    assert session.received(welcome(1, 4), now_s=0.0) == [Forward(Place(1, 3))]


def test_it_goes_back_to_the_begin_of_the_epoch_with_the_server() -> None:
    session = training()
    session.received(gradient(0, 0), now_s=1.0)
    session.applied()
    session.batch_made(now_s=1.0)
    session.disconnected()
    session.connected(now_s=2.0)
    assert session.received(welcome(0, 0, Status.WAIT), now_s=2.0) == [RollBack(0)]
    entered = session.received(go(0), now_s=3.0)
    assert entered == [TakeOver(Place(), 0, opens_epoch=True, is_again=True), Forward(Place())]


def test_an_epoch_that_it_has_ended_goes_back_too() -> None:
    session = ended()
    session.disconnected()
    session.connected(now_s=5.0)
    assert session.received(welcome(0, 0, Status.WAIT), now_s=5.0) == [RollBack(0)]
    entered = session.received(go(0), now_s=6.0)
    assert entered == [TakeOver(Place(), 0, opens_epoch=True, is_again=True), Forward(Place())]


def test_a_first_batch_under_way_is_made_anew_after_the_go() -> None:
    session = training()
    session.disconnected()
    session.connected(now_s=2.0)
    assert session.received(welcome(0, 0, Status.WAIT), now_s=2.0) == []
    assert session.received(gradient(0, 0), now_s=2.0) == []
    entered = session.received(go(0), now_s=3.0)
    assert entered == [TakeOver(Place(), 0, opens_epoch=True, is_again=True), Forward(Place())]


def test_a_turn_that_comes_again_within_an_epoch_does_not_open_it() -> None:
    session = training()
    session.received(gradient(0, 0), now_s=1.0)
    session.applied()
    session.batch_made(now_s=1.0)
    session.disconnected()
    session.connected(now_s=2.0)
    assert session.received(welcome(0, 1, Status.WAIT), now_s=2.0) == []
    entered = session.received(go(0, 1), now_s=3.0)
    assert entered == [TakeOver(Place(0, 1), 0, opens_epoch=False), Forward(Place(0, 1))]


def test_one_without_any_state_can_return_to_where_it_came_in() -> None:
    session = ClientSession(num_steps=9)
    session.connected(now_s=0.0)
    session.received(welcome(0, 3, Status.WAIT), now_s=0.0)
    entered = session.received(go(0, 3), now_s=1.0)
    assert entered == [TakeOver(Place(0, 3), 0, opens_epoch=True), Forward(Place(0, 3))]


def test_an_old_go_does_not_repeat_an_epoch() -> None:
    session = ended()
    assert session.received(go(0), now_s=5.0) == []
    assert session.state is State.GO


@pytest.mark.parametrize("expected", [Place(1, 0), Place(3, 2)])
def test_it_stops_where_it_cannot_go_back_to(expected: Place) -> None:
    session = ClientSession(num_steps=9, place=Place(3, 4), rollback_epoch=3)
    session.connected(now_s=0.0)
    (left,) = session.received(welcome(expected.epoch, expected.step), now_s=0.0)
    assert isinstance(left, Leave)
    assert "start both over" in left.reason
    assert session.connected(now_s=1.0) == []


def test_a_source_that_is_dry_ends_the_epoch_or_the_client() -> None:
    session = training()
    session.received(gradient(0, 0), now_s=1.0)
    session.applied()
    assert session.source_dry() == [EndEpoch(0)]
    session.ended(now_s=4.0)
    session.received(go(1), now_s=2.0)
    assert session.source_dry() == [RunDry()]


def test_a_refusal_is_the_end() -> None:
    session = training()
    assert session.received(Header(Kind.REFUSE), now_s=1.0) == [Refused(Status.FINE)]
    assert session.state is State.DONE
    assert session.connected(now_s=2.0) == []


def test_one_whose_batch_came_after_the_last_epoch_leaves_and_another_go_changes_nothing() -> None:
    session = training()
    assert session.received(go(1), now_s=2.0) == []
    finished = Header(Kind.GO, Place(3), Status.FINISHED)
    assert session.received(finished, now_s=3.0) == [Finish()]
    assert session.state is State.DONE
