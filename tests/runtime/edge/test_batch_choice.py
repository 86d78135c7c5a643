"""Which frames of one graph run together where some are in a hurry."""

import pytest

from headgate.runtime.edge.batch_choice import choose_batch
from headgate.runtime.edge.queued import Queued
from runtime.batches import KEY, known_times


def frame(frame_id: int, deadline_s: float) -> Queued:
    return Queued(KEY, b"a", frame_id, 0, b"x", 0.0, deadline_s)


def ids(frames: list[Queued]) -> list[int]:
    return [one.frame_id for one in frames]


def test_a_hurried_frame_that_others_would_be_lost_for_is_passed_over() -> None:
    times = known_times({1: 0.010, 2: 0.011, 4: 0.012})
    hurried = frame(0, 0.0105)
    others = [frame(i, 0.015) for i in range(1, 5)]
    batch = choose_batch([hurried, *others], times=times, max_batch=4, now_s=0.0)
    assert ids(batch) == [1, 2, 3, 4]


def test_a_hurried_frame_runs_first_where_the_others_can_wait() -> None:
    times = known_times({1: 0.010, 2: 0.011, 4: 0.012})
    hurried = frame(0, 0.0105)
    others = [frame(i, 0.5) for i in range(1, 5)]
    assert ids(choose_batch([hurried, *others], times=times, max_batch=4, now_s=0.0)) == [0]


def test_a_hurried_frame_runs_first_where_batching_gains_nothing() -> None:
    times = known_times({1: 0.010, 2: 0.020, 4: 0.040})
    hurried = frame(0, 0.0105)
    others = [frame(i, 0.045) for i in range(1, 5)]
    assert ids(choose_batch([hurried, *others], times=times, max_batch=4, now_s=0.0)) == [0]


def test_a_frame_that_is_late_anyway_is_no_empty_batch() -> None:
    times = known_times({1: 0.010, 2: 0.011})
    batch = choose_batch([frame(0, 0.005), frame(1, 0.5)], times=times, max_batch=4, now_s=0.0)
    assert ids(batch) == [0]


def test_where_no_larger_batch_is_in_time_the_first_runs_alone() -> None:
    times = known_times({1: 0.010, 2: 0.011, 4: 0.012})
    hurried = [frame(i, 0.0105) for i in range(5)]
    assert ids(choose_batch(hurried, times=times, max_batch=4, now_s=0.0)) == [0]


def test_the_time_to_write_the_answers_counts() -> None:
    times = known_times({1: 0.0100, 2: 0.0101, 3: 0.0102})  # and 0.1 ms for each answer
    frames = [frame(i, 0.01045) for i in range(3)]
    assert ids(choose_batch(frames, times=times, max_batch=4, now_s=0.0)) == [0, 1]


@pytest.mark.parametrize(("four_take_s", "chosen"), [(0.0195, [2, 3, 4, 5]), (0.0205, [0, 1])])
def test_frames_are_passed_over_for_a_tenth_more_frames_a_second(
    four_take_s: float, chosen: list[int]
) -> None:
    times = known_times({1: 0.010, 2: 0.011, 4: four_take_s})
    hurried = [frame(i, 0.0115) for i in range(2)]
    others = [frame(i, 0.0215) for i in range(2, 6)]
    batch = choose_batch([*hurried, *others], times=times, max_batch=4, now_s=0.0)
    assert ids(batch) == chosen


def test_others_that_can_just_be_in_time_one_by_one_are_no_reason_to_pass_over() -> None:
    times = known_times({1: 0.010, 2: 0.011, 4: 0.012})  # so 3 ms a frame at best
    hurried = frame(0, 0.0105)
    others = [frame(i, 0.0101 + 0.003 * i) for i in range(1, 5)]
    assert ids(choose_batch([hurried, *others], times=times, max_batch=4, now_s=0.0)) == [0]


@pytest.mark.parametrize(("num_others", "chosen"), [(3, [1, 2, 3]), (6, [1, 2, 3, 4])])
def test_whoever_is_passed_over_the_batch_is_the_largest_allowed(
    num_others: int, chosen: list[int]
) -> None:
    times = known_times({1: 0.010, 2: 0.011, 4: 0.012})
    others = [frame(i, 0.018) for i in range(1, num_others + 1)]
    batch = choose_batch([frame(0, 0.0105), *others], times=times, max_batch=4, now_s=0.0)
    assert ids(batch) == chosen
