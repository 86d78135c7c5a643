"""How long a batch will take, from those that were measured."""

import random

import pytest

from headgate.runtime.edge.batch_times import BatchTimes
from runtime.batches import KEY, OTHER, known_times


def test_times_of_sizes_never_seen_are_guessed_on_the_safe_side() -> None:
    times = BatchTimes()
    assert times.predict_s(KEY, size=3) == 0.0
    times.measured(KEY, size=2, elapsed_s=0.010)
    assert times.predict_s(KEY, size=1) == pytest.approx(0.010)
    assert times.predict_s(KEY, size=3) == pytest.approx(0.015)
    times.measured(KEY, size=4, elapsed_s=0.012)
    assert times.predict_s(KEY, size=4) == pytest.approx(0.012)
    assert times.predict_s(OTHER, size=1) == 0.0


def test_times_follow_what_is_measured_and_forget_slowly() -> None:
    times = BatchTimes()
    times.measured(KEY, size=1, elapsed_s=0.010)
    times.measured(KEY, size=1, elapsed_s=0.020)
    assert times.predict_s(KEY, size=1) == pytest.approx(0.012)
    for _ in range(50):
        times.measured(KEY, size=1, elapsed_s=0.020)
    assert times.predict_s(KEY, size=1) == pytest.approx(0.020, rel=1e-3)
    times.measured(KEY, size=1, elapsed_s=12.0)  # the machine stood still
    assert times.predict_s(KEY, size=1) < 0.040


def test_what_was_doubted_is_measured_afresh_for_all_sizes() -> None:
    times = known_times({1: 0.010, 8: 0.080, 2: 0.011})
    times.doubt(KEY, share=0.5)
    assert times.predict_s(KEY, size=2) == pytest.approx(0.0055)
    assert times.frame_s(KEY) == pytest.approx(0.00275)
    times.measured(KEY, size=2, elapsed_s=0.012)
    assert times.predict_s(KEY, size=1) == pytest.approx(0.010)
    assert times.predict_s(KEY, size=2) == pytest.approx(0.012)
    assert times.predict_s(KEY, size=8) == pytest.approx(0.048)


def test_the_first_run_of_a_size_counts_as_no_longer_than_smaller_ones_foretell() -> None:
    """Or the size would never be tried again: what it costs is learnt from its runs alone."""
    times = known_times({2: 0.010, 8: 0.6, 1: 0.6})
    assert times.predict_s(KEY, size=8) == pytest.approx(0.040)
    assert times.predict_s(KEY, size=1) == pytest.approx(0.010)
    for _ in range(50):
        times.measured(KEY, size=8, elapsed_s=0.060)  # a size may well be dearer than foretold
    assert times.predict_s(KEY, size=8) == pytest.approx(0.060, rel=1e-3)


def test_a_machine_that_stands_still_again_after_a_doubt_is_not_believed() -> None:
    times = known_times({1: 0.010})
    times.doubt(KEY, share=0.5)
    times.measured(KEY, size=1, elapsed_s=12.0)
    assert times.predict_s(KEY, size=1) < 0.060


def test_what_one_size_shows_of_the_machine_counts_a_little_for_the_others() -> None:
    times = known_times({1: 0.010, 4: 0.030})
    for _ in range(100):
        times.measured(KEY, size=1, elapsed_s=0.005)
    assert times.predict_s(KEY, size=1) == pytest.approx(0.005)
    assert 0.020 < times.predict_s(KEY, size=4) < 0.030


@pytest.mark.parametrize(("scatter", "stall"), [(0.3, 1.0), (0.03, 5.0)])
def test_what_one_size_scatters_by_does_not_carry_the_others_away(
    scatter: float, stall: float
) -> None:
    """After hours with one device an edge must still know what a batch of several takes."""
    times, source = known_times({1: 0.010, 4: 0.020}), random.Random(1)
    for number in range(10_000):
        slowed = stall if number % 100 == 0 else 1.0
        elapsed_s = 0.010 * slowed * source.lognormvariate(0, scatter)
        times.measured(KEY, size=1, elapsed_s=elapsed_s)
    assert 0.015 < times.predict_s(KEY, size=4) < 0.025
    assert 0.004 < times.frame_s(KEY) < 0.006


def test_a_size_that_took_no_time_by_the_clock_is_learnt_from_its_next_batch() -> None:
    times = known_times({1: 0.0})
    times.measured(KEY, size=1, elapsed_s=0.010)
    assert times.predict_s(KEY, size=1) == pytest.approx(0.010)


def test_an_uneven_machine_makes_batches_count_as_longer_until_it_is_even() -> None:
    times = known_times({1: 0.010})
    times.measured(KEY, size=1, elapsed_s=0.010)
    assert times.likely_s(KEY, size=1) == pytest.approx(0.010)
    for elapsed_s in (0.012, 0.008) * 20:
        times.measured(KEY, size=1, elapsed_s=elapsed_s)
    assert 1.2 < times.likely_s(KEY, size=1) / times.predict_s(KEY, size=1) <= 1.5
    for _ in range(40):
        times.measured(KEY, size=1, elapsed_s=0.010)
    assert times.likely_s(KEY, size=1) == pytest.approx(times.predict_s(KEY, size=1), rel=1e-3)


def test_a_machine_however_uneven_makes_batches_count_as_half_as_long_again_at_most() -> None:
    times = known_times({1: 0.010})
    for elapsed_s in (0.050, 0.002) * 20:
        times.measured(KEY, size=1, elapsed_s=elapsed_s)
    assert times.likely_s(KEY, size=1) == pytest.approx(1.5 * times.predict_s(KEY, size=1))


def test_what_a_frame_costs_is_that_of_the_best_batch_and_follows_it() -> None:
    times = BatchTimes()
    assert times.frame_s(KEY) == 0.0
    times.measured(KEY, size=1, elapsed_s=0.010)
    assert times.frame_s(KEY) == pytest.approx(0.010)
    times.measured(KEY, size=4, elapsed_s=0.020)
    assert times.frame_s(KEY) == pytest.approx(0.005)
    assert times.frame_s(OTHER) == 0.0


def test_one_more_frame_saves_what_it_takes_alone_less_what_it_adds() -> None:
    times = known_times({1: 0.010, 2: 0.013, 3: 0.018})
    assert times.saving_s(KEY, size=1) == pytest.approx(0.007)
    assert times.saving_s(KEY, size=2) == pytest.approx(0.005)


def test_whoever_keeps_a_prediction_is_told_when_it_may_have_changed() -> None:
    times = BatchTimes()
    versions = [times.version]
    times.measured(KEY, size=1, elapsed_s=0.010)
    versions.append(times.version)
    times.doubt(KEY, share=0.5)
    versions.append(times.version)
    assert versions == sorted(set(versions))
