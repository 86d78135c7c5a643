import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headgate.profiles.quantise import dequantise, quantise


@given(levels=st.integers(2, 256), seed=st.integers(0, 2**32 - 1))
def test_the_error_inside_the_range_is_at_most_half_a_step(levels: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    low = random.normal(size=3).astype(np.float32)
    span = random.uniform(0.1, 4, size=3).astype(np.float32)
    x = (low + span * random.uniform(size=(4, 5, 3)).astype(np.float32)).transpose(2, 0, 1)
    q = quantise(x, low_C=low, span_C=span, levels=levels)
    back = dequantise(q, low_C=low, span_C=span, levels=levels)
    half_step = span[:, None, None] / (levels - 1) / 2
    assert (np.abs(back - x) <= half_step + 1e-5).all()
    assert q.max() <= levels - 1


def test_values_outside_the_range_are_clipped_to_its_ends() -> None:
    x = np.array([[[-5.0, 0.0, 1.0, 9.0]]], np.float32)
    one = np.ones(1, np.float32)
    q = quantise(x, low_C=0 * one, span_C=one, levels=5)
    assert q.tolist() == [[[0, 0, 4, 4]]]


def test_ties_round_to_even() -> None:
    x = np.array([[[0.125, 0.375, 0.625]]], np.float32)
    one = np.ones(1, np.float32)
    assert quantise(x, low_C=0 * one, span_C=one, levels=5).tolist() == [[[0, 2, 2]]]


def test_a_batch_axis_in_front_changes_nothing() -> None:
    x = np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 2, 2)
    low, span = np.zeros(3, np.float32), np.ones(3, np.float32)
    together = quantise(x, low_C=low, span_C=span, levels=16)
    alone = [quantise(item, low_C=low, span_C=span, levels=16) for item in x]
    assert (together == np.stack(alone)).all()
