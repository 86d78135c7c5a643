"""Which frames of one graph run together where some are in a hurry."""

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
