"""When frames that will likely be late are held back, and when what came of others forbids it."""

import pytest

from headgate.runtime.choice.restraint import Restraint

HOPELESS = 0.1
NONE, ALL_BUT_A_TRIAL = [False] * 8, [True] * 7 + [False]


def held_back(
    restraint: Restraint, *, on_time: float = HOPELESS, gain: float = -0.1, at_stake: float = 0.5
) -> list[bool]:
    return [restraint.holds_back(on_time=on_time, gain=gain, at_stake=at_stake) for _ in range(8)]


def learned(*, in_time: bool, times: int = 10, on_time: float = HOPELESS) -> Restraint:
    restraint = Restraint()
    for _ in range(times):
        restraint.learn(on_time=on_time, by_edge=in_time)
    return restraint


def test_nothing_is_held_back_before_any_frame_was_late() -> None:
    assert held_back(Restraint(), on_time=0.0) == NONE


@pytest.mark.parametrize(("times", "expected"), [(2, NONE), (3, ALL_BUT_A_TRIAL)])
def test_where_three_such_frames_were_late_all_but_trials_are_held_back(
    times: int, expected: list[bool]
) -> None:
    assert held_back(learned(in_time=False, times=times)) == expected


@pytest.mark.parametrize(("on_time", "expected"), [(0.49, ALL_BUT_A_TRIAL), (0.5, NONE)])
def test_a_frame_that_is_likely_in_time_is_sent_whatever_became_of_others(
    on_time: float, expected: list[bool]
) -> None:
    assert held_back(learned(in_time=False), on_time=on_time) == expected


@pytest.mark.parametrize(("times", "expected"), [(1, ALL_BUT_A_TRIAL), (2, NONE)])
def test_two_trials_that_come_in_time_end_it(times: int, expected: list[bool]) -> None:
    restraint = learned(in_time=False)
    for _ in range(times):
        restraint.learn(on_time=HOPELESS, by_edge=True)
    assert held_back(restraint) == expected


@pytest.mark.parametrize(("on_time", "expected"), [(0.49, ALL_BUT_A_TRIAL), (0.5, NONE)])
def test_frames_that_were_expected_in_time_and_late_teach_nothing_of_the_others(
    on_time: float, expected: list[bool]
) -> None:
    assert held_back(learned(in_time=False, on_time=on_time)) == expected


@pytest.mark.parametrize(("gain", "expected"), [(0.02, ALL_BUT_A_TRIAL), (0.2, NONE)])
def test_a_small_chance_that_never_comes_true_is_no_gain(gain: float, expected: list[bool]) -> None:
    restraint = learned(in_time=False)
    assert held_back(restraint, gain=gain, at_stake=0.5) == expected


def test_a_small_chance_that_comes_true_as_often_as_foretold_is_one() -> None:
    restraint = Restraint()
    for turn in range(200):
        restraint.learn(on_time=0.2, by_edge=turn % 5 == 0)
    assert held_back(restraint, on_time=0.2, gain=0.04, at_stake=0.5) == NONE


def test_frames_without_any_chance_leave_nothing_to_gain() -> None:
    restraint = learned(in_time=False, times=100, on_time=0.0)
    assert held_back(restraint, on_time=0.0, gain=0.0) == ALL_BUT_A_TRIAL
