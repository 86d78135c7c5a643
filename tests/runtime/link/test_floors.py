"""Which floor is believed of times that tests make up."""

import math
import random

import pytest

from headgate.runtime.link.floors import Floors

FLOORS_BYTES = (0, 1500, 6000, 24_000)


def believed(floors: Floors) -> int:
    return FLOORS_BYTES[floors.best]


@pytest.mark.parametrize("floor_bytes", FLOORS_BYTES)
def test_the_floor_that_times_have_is_found(floor_bytes: int) -> None:
    dice, floors = random.Random(1), Floors(FLOORS_BYTES)
    for _ in range(300):
        num_bytes = dice.choice((300, 2000, 12_000))
        rate = 1e6 * dice.uniform(0.9, 1.1)
        floors.learn(num_bytes, 8 * (num_bytes + floor_bytes) / rate)
    assert believed(floors) == floor_bytes


def test_small_messages_of_one_size_are_thought_to_share_packets() -> None:
    dice, floors = random.Random(2), Floors(FLOORS_BYTES)
    for _ in range(300):
        floors.learn(200, dice.uniform(0.001, 0.02))
    assert believed(floors) == 1500


@pytest.mark.parametrize(("num_bytes", "time_s"), [(20_000, 0.02), (200, 0.1)])
def test_large_or_slow_messages_of_one_size_are_not(num_bytes: int, time_s: float) -> None:
    dice, floors = random.Random(2), Floors(FLOORS_BYTES)
    for _ in range(300):
        floors.learn(num_bytes, time_s * dice.uniform(0.5, 1.5))
    assert believed(floors) == 0


def test_few_exact_times_are_enough_against_what_is_likely() -> None:
    floors = Floors(FLOORS_BYTES)
    for num_bytes in (52, 1052, 140, 140, 880, 140, 140, 880):
        floors.learn(num_bytes, 8 * num_bytes / 270e3)
    assert believed(floors) == 0


def test_a_device_that_sends_less_when_its_link_is_slow_sees_no_large_floor_in_that() -> None:
    """All messages take about 10 ms, since each is as large as goes in that, but by its bytes."""
    dice, floors, log_rate = random.Random(5), Floors(FLOORS_BYTES), 0.0
    seen = set()
    for _ in range(900):
        log_rate = 0.995 * log_rate + dice.gauss(0, 0.05)
        rate = 8e6 * math.exp(log_rate)
        num_bytes = min((2000, 5000, 10_000, 20_000), key=lambda size: abs(size - rate / 800))
        floors.learn(num_bytes, 8 * num_bytes / (rate * dice.uniform(0.95, 1.05)))
        seen.add(believed(floors))
    assert max(seen) <= 1500
