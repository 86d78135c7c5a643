"""A high quantile of the last samples."""

import pytest

from headgate.runtime.recent import NUM_SAMPLES, RecentHigh


def test_without_a_sample_it_is_nothing() -> None:
    recent = RecentHigh(0.95)
    assert len(recent) == 0
    assert recent.high() == 0.0


def test_of_a_few_samples_it_is_the_largest() -> None:
    recent = RecentHigh(0.95)
    for sample in (3.0, 7.0, 5.0):
        recent.add(sample)
    assert recent.high() == 7.0


@pytest.mark.parametrize(("quantile", "high"), [(0.95, 94.0), (0.99, 98.0), (0.5, 49.0)])
def test_of_many_it_is_what_that_share_stays_within(quantile: float, high: float) -> None:
    recent = RecentHigh(quantile)
    for sample in range(NUM_SAMPLES):
        recent.add((sample * 37) % NUM_SAMPLES)
    assert recent.high() == high


def test_old_samples_are_forgotten() -> None:
    recent = RecentHigh(0.95)
    for sample in [9.0] * NUM_SAMPLES + [2.0] * NUM_SAMPLES:
        recent.add(sample)
    assert len(recent) == NUM_SAMPLES
    assert recent.high() == 2.0
