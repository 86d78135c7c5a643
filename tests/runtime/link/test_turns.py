"""How many bytes a turn is believed to carry."""

import pytest

from headgate.runtime.link.turns import Turns


def test_nothing_is_believed_before_anything_was_served() -> None:
    assert Turns().num_bytes == 0


def test_what_came_at_once_fits_into_a_turn() -> None:
    turns = Turns()
    turns.served(1000, sent_s=0.0, at_s=0.05)
    turns.served(700, sent_s=0.03, at_s=0.051)
    assert turns.num_bytes == 1700


def test_what_comes_later_has_a_turn_of_its_own() -> None:
    turns = Turns()
    turns.served(1000, sent_s=0.0, at_s=0.05)
    turns.served(700, sent_s=0.03, at_s=0.08)
    assert turns.num_bytes == 1000


def carried(turns: Turns, *, num_bytes: int, waiting: bool, rounds: int) -> None:
    """Let turns of so many bytes come each 50 ms; the next message waits already, or not."""
    for number in range(1, rounds + 1):
        at_s = 10 + number / 20
        turns.served(num_bytes, sent_s=at_s - (0.08 if waiting else 0.01), at_s=at_s)


def test_turns_that_leave_others_waiting_carry_no_more_than_they_did() -> None:
    turns = Turns()
    turns.served(6000, sent_s=0.0, at_s=0.05)
    carried(turns, num_bytes=500, waiting=True, rounds=20)
    assert turns.num_bytes == pytest.approx(500, rel=0.05)


def test_turns_that_leave_nothing_waiting_may_have_had_no_more_to_carry() -> None:
    turns = Turns()
    turns.served(6000, sent_s=0.0, at_s=0.05)
    carried(turns, num_bytes=500, waiting=False, rounds=20)
    assert 4500 < turns.num_bytes < 6000
