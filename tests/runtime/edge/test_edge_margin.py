"""The margin that an edge allows for its own lateness."""

import random

import pytest

from headgate.runtime.edge.edge_margin import FIRST_S, LEAST_S, MOST_S, Margin
from headgate.runtime.recent import NUM_SAMPLES


def test_before_anything_was_measured_the_margin_is_a_middling_one() -> None:
    assert Margin().margin_s == FIRST_S


def test_a_punctual_edge_keeps_a_small_margin() -> None:
    margin = Margin()
    for _ in range(10):
        margin.timer_went_off(late_s=0.0002)
        margin.batch_ended(planned_s=0.010, elapsed_s=0.009)
    assert margin.margin_s == pytest.approx(LEAST_S + 0.0002)


def test_late_timers_and_long_batches_add_up() -> None:
    margin = Margin()
    margin.timer_went_off(late_s=0.008)
    margin.batch_ended(planned_s=0.010, elapsed_s=0.014)
    assert margin.margin_s == pytest.approx(LEAST_S + 0.008 + 0.004)


def test_an_edge_that_stood_still_does_not_ask_for_more_than_the_most() -> None:
    margin = Margin()
    margin.timer_went_off(late_s=3.0)
    assert margin.margin_s == MOST_S


def test_one_pause_in_a_hundred_is_forgotten_among_punctual_timers() -> None:
    margin = Margin()
    margin.timer_went_off(late_s=0.025)
    for _ in range(30):
        margin.timer_went_off(late_s=0.001)
    assert margin.margin_s == pytest.approx(LEAST_S + 0.001)


def test_a_load_that_is_over_is_forgotten() -> None:
    margin = Margin()
    for _ in range(NUM_SAMPLES):
        margin.timer_went_off(late_s=0.015)
        margin.batch_ended(planned_s=0.010, elapsed_s=0.012)
    loaded_s = margin.margin_s
    for _ in range(NUM_SAMPLES):
        margin.timer_went_off(late_s=0.0003)
        margin.batch_ended(planned_s=0.010, elapsed_s=0.010)
    assert loaded_s == pytest.approx(LEAST_S + 0.017)
    assert margin.margin_s == pytest.approx(LEAST_S + 0.0003)


def test_a_timer_is_late_by_what_passes_until_anything_happens() -> None:
    margin = Margin()
    margin.saw(now_s=1.0)
    margin.awaits(1.5)
    margin.saw(now_s=1.4)  # a message: the timer is not due yet
    assert margin.margin_s == FIRST_S
    margin.saw(now_s=1.504)
    assert margin.margin_s == pytest.approx(LEAST_S + 0.004)
    margin.saw(now_s=9.0)  # it went off: nothing is awaited any more
    assert margin.margin_s == pytest.approx(LEAST_S + 0.004)


def test_a_timer_for_the_past_is_late_only_since_it_was_asked_for() -> None:
    margin = Margin()
    margin.saw(now_s=1.0)
    margin.awaits(0.2)
    margin.saw(now_s=1.001)
    assert margin.margin_s == pytest.approx(LEAST_S + 0.001)


def test_a_timer_that_is_not_wanted_any_more_is_not_late() -> None:
    margin = Margin()
    margin.awaits(1.0)
    margin.awaits(None)
    margin.saw(now_s=5.0)
    assert margin.margin_s == FIRST_S


def test_most_timers_are_within_the_margin() -> None:
    dice = random.Random(3)
    margin, within = Margin(), 0
    for number in range(1000):
        late_s = dice.expovariate(1 / 0.002)
        within += number >= NUM_SAMPLES and late_s <= margin.margin_s
        margin.timer_went_off(late_s=late_s)
    assert within / (1000 - NUM_SAMPLES) > 0.93
