"""Compute times: held while they are measured, faded to the best that was seen while not."""

import pytest

from headgate.runtime.choice.compute_times import FADES, HOLDS, ComputeTimes, Fading

LONG = 20 * (HOLDS + FADES)


def measured(times: ComputeTimes, point_id: str, values_s: list[float], *, start: int = 0) -> int:
    for index, value_s in enumerate(values_s):
        times.add(point_id, value_s, at=start + index)
    return start + len(values_s)


def trials(fading: Fading, value: float, *, num: int) -> list[int]:
    """Return after how many choices each trial comes: when less is expected than 5."""
    waits, at = [], 0
    for _ in range(num):
        wait = next(i for i in range(1, LONG) if fading.likely(at=at + i, rest=1.0) < 5.0)
        waits.append(wait)
        at += wait
        fading.add(value, at=at, rest=1.0)
    return waits


@pytest.mark.parametrize("first_s", [0.01, 0.05])
def test_estimate_holds_for_a_while_and_then_fades_to_the_least_that_was_seen(
    first_s: float,
) -> None:
    times = ComputeTimes({})
    at = measured(times, "a", [first_s] + [0.01] * 20 + [0.1] * 40)
    slow_s = times.likely_s("a", at=at)
    assert slow_s > 0.09
    assert times.likely_s("a", at=at + HOLDS - 1) == pytest.approx(slow_s)
    fading_s = [times.likely_s("a", at=at + HOLDS + i) for i in range(0, LONG, FADES)]
    assert fading_s == sorted(fading_s, reverse=True)
    assert fading_s[-1] == pytest.approx(0.01, rel=0.01)


def test_time_that_never_was_shorter_is_not_forgotten() -> None:
    times = ComputeTimes({"a": 0.01})
    at = measured(times, "a", [0.08] * 30)
    assert times.likely_s("a", at=at + LONG) == pytest.approx(0.08)


def test_a_time_measured_once_stays_as_it_was() -> None:
    times = ComputeTimes({})
    times.add("a", 0.05, at=0)
    for at in (0, HOLDS + 20, LONG):
        assert times.likely_s("a", at=at) == pytest.approx(0.05)


def test_points_never_used_are_as_much_slower_than_foretold_as_those_in_use() -> None:
    times = ComputeTimes({"a": 0.01, "b": 0.02})
    at = measured(times, "a", [0.03])
    assert times.likely_s("b", at=at) == pytest.approx(0.06)
    at = measured(times, "a", [0.3], start=at)  # a hiccup
    assert times.likely_s("b", at=at) == pytest.approx(0.06 * 10**0.1)


def test_a_point_of_which_nothing_was_foretold_says_nothing_of_others() -> None:
    times = ComputeTimes({"a": 0.01})
    at = measured(times, "new", [0.5] * 3)
    assert times.likely_s("a", at=at) == pytest.approx(0.01)


def test_a_time_too_short_for_the_clock_is_taken_as_it_is() -> None:
    times = ComputeTimes({"a": 0.01, "b": 0.01})
    at = measured(times, "a", [0.0])
    assert times.likely_s("a", at=at) == 0.0
    assert times.likely_s("b", at=at) == pytest.approx(0.01)
    at = measured(times, "a", [0.01], start=at)
    assert 0.0 < times.likely_s("a", at=at) < 0.01


def test_one_hiccup_is_forgotten_and_the_next_sample_believed() -> None:
    times = ComputeTimes({})
    at = measured(times, "a", [0.003] * 50 + [1.0])
    assert times.likely_s("a", at=at) > 0.1
    later = at + HOLDS + 4 * FADES
    times.add("a", 0.003, at=later)
    assert times.likely_s("a", at=later) < 0.02


def test_slow_edge_is_tried_by_one_point_and_what_it_shows_holds_for_all() -> None:
    times = ComputeTimes({})
    at = 0
    for point_id in "abc":
        at = measured(times, point_id, [0.002] * 20, start=at)
    at = measured(times, "a", [0.09] * 200, start=at)
    assert times.likely_s("b", at=at) > 0.05  # it rested meanwhile, and is not tried for itself
    later = at + LONG
    assert times.likely_s("b", at=later) == pytest.approx(0.002, rel=0.01)
    times.add("c", 0.09, at=later)
    assert times.likely_s("b", at=later) > 0.05


def test_trials_that_come_to_nothing_become_rarer_up_to_a_bound() -> None:
    fading = Fading(10.0, at=0)
    fading.least = 1.0
    waits = trials(fading, 10.0, num=6)
    assert 2 * waits[0] < waits[1] < 3 * waits[0]  # more than it scatters by
    assert 2 * waits[1] < waits[2]
    assert waits[-1] == pytest.approx(waits[-2], rel=0.1)
    assert 4 * waits[0] < waits[-1] < 8 * waits[0]


def test_a_point_in_use_again_is_tried_again_as_soon_as_ever_once_it_rests() -> None:
    fading = Fading(10.0, at=0)
    fading.least = 1.0
    first, *_ = trials(fading, 10.0, num=3)
    begin = HOLDS * LONG
    for at in range(begin, begin + 60):
        fading.add(10.0, at=at, rest=1.0)
    waits = [i for i in range(1, LONG) if fading.likely(at=at + i, rest=1.0) < 5.0]
    assert waits[0] == pytest.approx(first, rel=0.1)


def test_scatter_of_a_point_in_use_is_allowed_for() -> None:
    times = ComputeTimes({})
    at = measured(times, "a", [0.010, 0.014] * 100)
    assert 0.014 < times.likely_s("a", at=at) < 0.018
