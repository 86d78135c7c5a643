"""How long before its deadline a frame is answered without the edge."""

import pytest

from headgate.runtime.choice.guard import LEAST_S, Guard
from headgate.runtime.recent import NUM_SAMPLES


def timer(guard: Guard, *, late_s: float, at_s: float) -> None:
    guard.saw(now_s=at_s)
    guard.awaits(at_s + 0.010)
    guard.timer_went_off(now_s=at_s + 0.010 + late_s)


def test_a_punctual_loop_keeps_to_the_least() -> None:
    guard = Guard()
    for number in range(20):
        timer(guard, late_s=0.0003, at_s=number)
    assert guard.guard_s == LEAST_S


def test_one_late_timer_is_believed_at_once() -> None:
    guard = Guard()
    timer(guard, late_s=0.006, at_s=0.0)
    assert guard.guard_s == pytest.approx(0.006 + 0.001)


@pytest.mark.parametrize(("num_late", "guard_s"), [(1, LEAST_S), (2, 0.009 + 0.001)])
def test_of_a_hundred_timers_only_the_latest_is_let_pass(num_late: int, guard_s: float) -> None:
    guard = Guard()
    for number in range(NUM_SAMPLES):
        timer(guard, late_s=0.009 if number < num_late else 0.0002, at_s=number)
    assert guard.guard_s == pytest.approx(guard_s)


@pytest.mark.parametrize("timer_s", [0.4, 1.0])
def test_a_timer_that_was_set_for_the_past_says_nothing(timer_s: float) -> None:
    guard = Guard()
    guard.saw(now_s=1.0)
    guard.awaits(timer_s)
    guard.timer_went_off(now_s=1.005)
    assert guard.guard_s == LEAST_S


def test_a_timer_that_another_ones_lateness_put_in_the_past_says_nothing() -> None:
    guard = Guard()
    timer(guard, late_s=0.002, at_s=1.0)
    guard.awaits(1.011)
    guard.timer_went_off(now_s=1.020)
    assert guard.guard_s == pytest.approx(0.002 + 0.001)


def test_what_happens_between_a_timer_and_its_going_off_hides_nothing() -> None:
    guard = Guard()
    guard.saw(now_s=1.0)
    guard.awaits(1.010)
    guard.saw(now_s=1.012)
    guard.awaits(1.010)
    guard.timer_went_off(now_s=1.016)
    assert guard.guard_s == pytest.approx(0.006 + 0.001)


def test_a_timer_is_not_late_before_it_is_due() -> None:
    guard = Guard()
    guard.saw(now_s=1.0)
    guard.awaits(1.010)
    guard.timer_went_off(now_s=1.005)
    assert guard.guard_s == guard.late_s == LEAST_S


def test_a_timer_before_anything_happened_says_nothing() -> None:
    guard = Guard()
    guard.awaits(1.0)
    guard.timer_went_off(now_s=5.0)
    assert guard.guard_s == LEAST_S


def test_a_machine_that_stood_still_does_not_ask_for_more_than_the_most() -> None:
    guard = Guard()
    timer(guard, late_s=4.0, at_s=0.0)
    assert guard.guard_s == 0.020


def test_a_load_that_is_over_is_forgotten() -> None:
    guard = Guard()
    timer(guard, late_s=0.009, at_s=0.0)
    for number in range(1, NUM_SAMPLES + 1):
        timer(guard, late_s=0.0002, at_s=number)
    assert guard.guard_s == LEAST_S


def test_the_least_is_the_callers() -> None:
    assert Guard(least_s=0.005).guard_s == 0.005


@pytest.mark.parametrize(
    ("sla_s", "most_s"), [(None, 0.020), (0.1, 0.020), (0.03, 0.01), (0.009, 0.003)]
)
def test_a_guard_leaves_the_edge_two_thirds_of_the_time(sla_s: float | None, most_s: float) -> None:
    guard = Guard(sla_s=sla_s)
    timer(guard, late_s=0.5, at_s=0.0)
    assert guard.guard_s == pytest.approx(most_s)


def test_a_guard_follows_the_profile_and_is_never_below_the_least() -> None:
    guard = Guard(sla_s=0.1)
    timer(guard, late_s=0.5, at_s=0.0)
    guard.keep_within(0.012)
    assert guard.guard_s == pytest.approx(0.004)
    guard.keep_within(0.001)
    assert guard.guard_s == LEAST_S
    guard.keep_within(None)
    assert guard.guard_s == 0.020


@pytest.mark.parametrize("late_s", [0.0003, 0.0014, 0.5])
def test_how_late_timers_are_is_told_without_slack_and_bounds(late_s: float) -> None:
    guard = Guard(least_s=0.005)
    assert guard.late_s == 0.005  # until one was measured
    timer(guard, late_s=late_s, at_s=0.0)
    assert guard.late_s == pytest.approx(late_s)
