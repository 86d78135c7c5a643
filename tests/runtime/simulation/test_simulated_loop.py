"""Loops that are late in the simulator."""

import math

import pytest

from headgate.runtime.simulation.simulated_loop import Lateness, Loop, uniform


def test_things_are_taken_in_order_and_about_as_late_as_asked() -> None:
    loop = Loop(Lateness(least_s=0.001, mean_s=0.002), seed=1)
    due_s = [0.05 * i for i in range(2000)]
    taken_s = [loop.takes_s(each) for each in due_s]
    assert taken_s == sorted(taken_s)
    late_s = [taken - due for due, taken in zip(due_s, taken_s, strict=True)]
    assert min(late_s) >= 0.001
    assert sum(late_s) / len(late_s) == pytest.approx(0.003, rel=0.1)


def test_what_is_due_together_is_not_taken_out_of_order() -> None:
    loop = Loop(Lateness(mean_s=0.01), seed=3)
    taken_s = [loop.takes_s(1.0) for _ in range(50)]
    assert taken_s == sorted(taken_s)


def test_a_timer_goes_off_at_one_time_however_often_that_is_asked() -> None:
    loop = Loop(Lateness(mean_s=0.002), seed=2)
    wakes_s = loop.wakes_s(1.0)
    assert wakes_s > 1.0
    assert loop.wakes_s(1.0) == wakes_s
    assert loop.wakes_s(2.0) > 2.0
    assert loop.wakes_s(math.inf) == math.inf


def test_two_runs_are_the_same_and_two_machines_are_not() -> None:
    def taken_s(seed: int) -> list[float]:
        loop = Loop(Lateness(mean_s=0.002), seed=seed)
        return [loop.takes_s(float(i)) for i in range(20)]

    assert taken_s(1) == taken_s(1)
    assert taken_s(1) != taken_s(2)


def test_random_numbers_are_spread_evenly() -> None:
    values = [uniform(i) for i in range(10_000)]
    assert min(values) >= 0
    assert max(values) < 1
    assert sum(values) / len(values) == pytest.approx(0.5, abs=0.02)
