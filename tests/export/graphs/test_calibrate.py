"""Claims about headgate.export.graphs.calibrate."""

import numpy as np
import pytest
from numpy.typing import NDArray

from headgate.export.graphs.calibrate import (
    Scales,
    Scored,
    calibrate,
    choose,
    entropy_bits,
    propose,
)


def codes(seed: int = 5) -> NDArray[np.float32]:
    generator = np.random.default_rng(seed)
    code_NCHW = generator.normal(0.5, 0.05, (64, 2, 4, 4)).astype(np.float32)
    code_NCHW[0, 0, 0, 0] = 40.0  # one outlier that would swallow every level
    return code_NCHW


def test_an_outlier_is_clipped_when_levels_are_few() -> None:
    code_NCHW = codes()

    def squared_error(restored: NDArray[np.float32]) -> float:
        # Median over pictures: the outlier itself must not decide.
        return float(np.median(((restored - code_NCHW) ** 2).mean(axis=(1, 2, 3))) * 1000)

    scales = calibrate(code_NCHW, levels=4, trained=None, divergence=squared_error)
    assert scales.span[0] < 1.0


def test_a_dead_channel_gets_a_range_and_costs_nothing() -> None:
    code_NCHW = codes()
    code_NCHW[:, 1] = 0.25
    for scales in propose(code_NCHW, levels=16, trained=None):
        assert scales.span[1] > 0
        assert scales.low[1] == pytest.approx(0.25)


def test_the_last_proposal_restores_each_channel_as_well_as_any() -> None:
    generator = np.random.default_rng(3)
    code_NCHW = generator.uniform(0, 1, (64, 2, 8, 8)).astype(np.float32)  # wants its whole range
    code_NCHW[:, 1] = generator.standard_t(2, (64, 8, 8))  # wants its ends cut off

    def errors_C(scales: Scales) -> NDArray[np.float32]:
        restored = scales.dequantise(scales.quantise(code_NCHW, levels=16), levels=16)
        found: NDArray[np.float32] = ((restored - code_NCHW) ** 2).mean(axis=(0, 2, 3))
        return found

    *others, best = propose(code_NCHW, levels=16, trained=None)
    assert len(others) == 2
    assert all((errors_C(best) <= errors_C(each)).all() for each in others)
    assert all((errors_C(best) < errors_C(each)).any() for each in others)


def test_all_places_of_large_maps_have_a_say_in_their_range() -> None:
    code_NCHW = np.zeros((256, 1, 28, 28), np.float32)
    code_NCHW[:, :, :, -1] = 1.0  # the right border, one value of 28
    assert propose(code_NCHW, levels=16, trained=None) == [Scales((0.0,), (1.0,))]


def test_the_trained_range_is_a_proposal() -> None:
    trained = Scales((0.0, 0.0), (1.0, 1.0))
    assert propose(codes(), levels=16, trained=trained)[0] == trained


def test_among_equally_good_ranges_the_cheapest_wins() -> None:
    a, b, c = (Scales((low,), (1.0,)) for low in (0.0, 0.1, 0.2))
    scored = [Scored(a, 0.002, 90.0), Scored(b, 0.003, 50.0), Scored(c, 0.5, 10.0)]
    assert choose(scored) == b


def test_bits_count_as_much_as_they_did_in_training() -> None:
    a, b, c = (Scales((low,), (1.0,)) for low in (0.0, 0.1, 0.2))
    scored = [Scored(a, 0.002, 90.0), Scored(b, 0.03, 50.0), Scored(c, 0.5, 10.0)]
    assert choose(scored, rate_weight=1e-4) == a
    assert choose(scored, rate_weight=1e-3) == b
    assert choose(scored, rate_weight=1e-1) == c


def test_entropy_is_zero_for_a_constant_and_full_for_a_uniform_channel() -> None:
    q_NCHW = np.zeros((2, 2, 2, 2), np.uint8)
    q_NCHW[:, 1] = np.array([[0, 1], [2, 3]], np.uint8)
    assert entropy_bits(q_NCHW, levels=4) == pytest.approx(4 * 2.0)


def test_ranges_survive_a_round_trip_through_json_floats() -> None:
    for scales in propose(codes(), levels=8, trained=None):
        for values in (scales.low, scales.span):
            assert tuple(float(np.float32(value)) for value in values) == values
