import numpy as np
import pytest
import torch

from headgate.profiles import quantise as reference
from headgate.train.networks.quantiser import (
    CodeRange,
    dequantise,
    quantise,
    quantise_straight_through,
)

LOW_C = torch.tensor([-0.25, 0.1, 0.0])
SPAN_C = torch.tensor([1.5, 0.33, 1.0])


@pytest.mark.parametrize("levels", [2, 3, 4, 16, 64, 255, 256])
def test_torch_and_numpy_quantise_to_the_same_bits(levels: int) -> None:
    x_BCHW = torch.rand(4, 3, 9, 7, generator=torch.Generator().manual_seed(levels)) * 2 - 0.5
    q_BCHW = quantise(x_BCHW, low_C=LOW_C, span_C=SPAN_C, levels=levels)
    value_BCHW = dequantise(q_BCHW, low_C=LOW_C, span_C=SPAN_C, levels=levels)
    low_C, span_C = LOW_C.numpy(), SPAN_C.numpy()
    expected_BCHW = reference.quantise(x_BCHW.numpy(), low_C=low_C, span_C=span_C, levels=levels)
    np.testing.assert_array_equal(q_BCHW.numpy(), expected_BCHW)
    np.testing.assert_array_equal(
        value_BCHW.numpy(),
        reference.dequantise(expected_BCHW, low_C=low_C, span_C=span_C, levels=levels),
    )


def test_halves_round_to_even() -> None:
    x_BCHW = torch.tensor([0.5, 1.5, 2.5]).view(1, 1, 1, 3)
    q_BCHW = quantise(x_BCHW, low_C=torch.zeros(1), span_C=torch.full((1,), 3.0), levels=4)
    assert q_BCHW.flatten().tolist() == [0, 2, 2]


def test_training_sees_the_values_that_the_edge_will_see() -> None:
    x_BCHW = torch.rand(2, 3, 4, 4)
    quantised = quantise_straight_through(x_BCHW, low_C=LOW_C, span_C=SPAN_C, levels=4)
    q_BCHW = quantise(x_BCHW, low_C=LOW_C, span_C=SPAN_C, levels=4)
    expected_BCHW = dequantise(q_BCHW, low_C=LOW_C, span_C=SPAN_C, levels=4)
    torch.testing.assert_close(quantised.value_BCHW, expected_BCHW)
    assert torch.equal(quantised.position_BCHW.round().to(torch.uint8), q_BCHW)


def test_the_gradient_passes_the_rounding_and_stops_at_the_clip() -> None:
    x_BCHW = torch.tensor([-0.5, 0.3, 0.9, 1.5]).view(1, 1, 1, 4).requires_grad_()
    quantised = quantise_straight_through(
        x_BCHW, low_C=torch.zeros(1), span_C=torch.ones(1), levels=4
    )
    torch.autograd.backward(quantised.value_BCHW.sum())
    assert x_BCHW.grad is not None
    torch.testing.assert_close(x_BCHW.grad.flatten(), torch.tensor([0.0, 1.0, 1.0, 0.0]))


def test_a_range_reaches_three_deviations_from_the_mean_but_not_beyond_what_is_there() -> None:
    code_range = CodeRange(1)
    x_BCHW = torch.zeros(10, 1, 10, 10)
    x_BCHW[0, 0, 0, 0] = 1.0  # a mean of 0.001 and a variance of 0.000999
    code_range.observe(x_BCHW, torch.tensor([0]))
    assert code_range.low_P.item() == 0.0
    assert code_range.span_P.item() == pytest.approx(0.001 + 3 * 0.000999**0.5, rel=1e-4)


def test_a_range_starts_at_the_first_batch_and_then_moves_slowly() -> None:
    code_range = CodeRange(2, momentum=0.1)
    selected_C = torch.tensor([0, 1])
    first_BCHW = torch.rand(16, 2, 8, 8) * 0.5
    code_range.observe(first_BCHW, selected_C)
    low_C, span_C = code_range.of(selected_C)
    assert (low_C - first_BCHW.amin(dim=(0, 2, 3))).abs().max() < 1e-6
    assert (low_C + span_C - first_BCHW.amax(dim=(0, 2, 3))).abs().max() < 1e-6
    for _ in range(30):
        code_range.observe(first_BCHW, selected_C)
    code_range.observe(first_BCHW + 0.5, selected_C)
    torch.testing.assert_close(code_range.of(selected_C)[0], low_C + 0.05)


def test_a_range_clips_outliers_at_three_deviations() -> None:
    code_range = CodeRange(1)
    code_BCHW = torch.full((16, 1, 8, 8), 0.5)
    code_BCHW[:8] = 0.4
    code_BCHW[0, 0, 0, 0] = 1.0
    code_range.observe(code_BCHW, torch.tensor([0]))
    low_C, span_C = code_range.of(torch.tensor([0]))
    assert low_C.item() == pytest.approx(0.4)
    assert 0.55 < (low_C + span_C).item() < 0.65


def test_maps_that_do_not_cross_keep_their_range() -> None:
    code_range = CodeRange(3)
    code_range.observe(torch.rand(2, 1, 4, 4) * 0.1, torch.tensor([1]))
    assert code_range.span_P[0] == 1.0
    assert code_range.span_P[2] == 1.0
    assert code_range.span_P[1] < 0.2


def test_a_constant_map_keeps_a_span_to_divide_by() -> None:
    code_range = CodeRange(1)
    code_range.observe(torch.full((2, 1, 4, 4), 0.5), torch.tensor([0]))
    assert code_range.span_P.item() == pytest.approx(1e-3)


def test_a_held_range_stays_where_its_batches_left_it() -> None:
    code_range, both = CodeRange(2), torch.tensor([0, 1])
    code_range.hold_after(2)
    for scale in (1.0, 1.0, 0.1):
        assert code_range.is_held(both) == (scale == 0.1)
        code_range.observe(scale * torch.rand(4, 2, 8, 8), both)
    assert (code_range.span_P > 0.9).all()


def test_a_range_that_is_not_to_be_held_follows_for_ever() -> None:
    code_range, both = CodeRange(2), torch.tensor([0, 1])
    for _ in range(200):
        code_range.observe(0.1 * torch.rand(4, 2, 8, 8), both)
    assert not code_range.is_held(both)
    assert (code_range.span_P < 0.11).all()
