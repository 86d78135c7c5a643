"""How long a batch will take, from those that were measured."""

import pytest

from headgate.runtime.edge.batch_times import BatchTimes
from runtime.batches import KEY, OTHER, known_times


def test_times_of_sizes_never_seen_are_guessed_on_the_safe_side() -> None:
    times = BatchTimes()
    assert times.predict_s(KEY, size=3) == 0.0
    times.set_prior(KEY, frame_s=0.004)
    assert times.predict_s(KEY, size=3) == pytest.approx(0.012)
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


def test_an_uneven_machine_makes_batches_count_as_longer() -> None:
    times = known_times({1: 0.010})
    assert times.likely_s(KEY, size=1) == pytest.approx(0.010)
    for elapsed_s in (0.012, 0.008) * 20:
        times.measured(KEY, size=1, elapsed_s=elapsed_s)
    assert 1.2 < times.likely_s(KEY, size=1) / times.predict_s(KEY, size=1) <= 1.5
