import math

import pytest
import torch

from headgate.train.networks.rate import FactorisedPrior


def position(symbols: list[float]) -> torch.Tensor:
    return torch.tensor(symbols).view(1, 1, 1, -1)


ONLY = torch.tensor([0])


def test_integers_cost_their_entropy_once_they_were_counted() -> None:
    prior = FactorisedPrior(1, levels_choices=(4,))
    symbols = position([0.0] * 512 + [1.0] * 256 + [2.0] * 128 + [3.0] * 128)
    bits_B = prior.bits(symbols, levels=4, selected_C=ONLY)
    assert bits_B.shape == (1,)
    assert bits_B.item() == pytest.approx(1024 * 1.75, rel=1e-3)


def test_bits_are_those_of_each_picture() -> None:
    prior = FactorisedPrior(2, levels_choices=(4,))
    both = torch.tensor([0, 1])
    position_BCHW = torch.zeros(4, 2, 8, 8)
    position_BCHW[3] = torch.randint(1, 4, (2, 8, 8))
    bits_B = prior.bits(position_BCHW, levels=4, selected_C=both)
    assert bits_B[0] == bits_B[1] == bits_B[2]
    assert bits_B[0].item() == pytest.approx(2 * 64 * math.log2(4 / 3), rel=0.01)
    assert bits_B[3] > 4 * bits_B[0]


def test_between_two_integers_the_cost_is_interpolated() -> None:
    prior = FactorisedPrior(1, levels_choices=(4,))
    prior.bits(position([0.0] * 900 + [1.0] * 90 + [3.0] * 9), levels=4, selected_C=ONLY)
    prior.eval()
    at = {s: prior.bits(position([s]), levels=4, selected_C=ONLY).item() for s in (0.0, 1.0, 0.25)}
    assert at[0.25] == pytest.approx(0.75 * at[0.0] + 0.25 * at[1.0], rel=1e-5)


@pytest.mark.parametrize(("start", "downhill"), [(0.5, -1), (1.5, -1), (2.5, 1)])
def test_the_gradient_points_to_the_cheaper_neighbour(start: float, downhill: int) -> None:
    prior = FactorisedPrior(1, levels_choices=(4,))
    prior.bits(position([0.0] * 900 + [1.0] * 90 + [3.0] * 9), levels=4, selected_C=ONLY)
    prior.eval()
    position_BCHW = position([start]).requires_grad_()
    torch.autograd.backward(prior.bits(position_BCHW, levels=4, selected_C=ONLY).sum())
    assert position_BCHW.grad is not None
    assert math.copysign(1, -position_BCHW.grad.item()) == downhill


def test_the_last_integer_is_in_the_table() -> None:
    prior = FactorisedPrior(1, levels_choices=(2, 256))
    for levels in (2, 256):
        bits_B = prior.bits(position([levels - 1.0] * 8), levels=levels, selected_C=ONLY)
        assert 0.0 <= bits_B.item() < 8 * 3


def test_evaluation_counts_nothing() -> None:
    prior = FactorisedPrior(1, levels_choices=(4,)).eval()
    prior.bits(position([1.0, 2.0]), levels=4, selected_C=ONLY)
    assert prior.counts_PL(4).sum() == 0


def test_each_map_and_each_number_of_levels_has_its_own_prior() -> None:
    prior = FactorisedPrior(3, levels_choices=(4, 8))
    prior.bits(torch.full((1, 2, 1, 5), 2.0), levels=4, selected_C=torch.tensor([0, 2]))
    assert prior.counts_PL(4)[:, 2].tolist() == [5.0, 0.0, 5.0]
    assert prior.counts_PL(8).sum() == 0


def test_counts_follow_what_changes() -> None:
    prior = FactorisedPrior(1, levels_choices=(4,), momentum=0.5)
    for symbol in (0.0, 3.0):
        prior.bits(position([symbol] * 8), levels=4, selected_C=ONLY)
    assert prior.counts_PL(4)[0].tolist() == [4.0, 0.0, 0.0, 4.0]


def test_descending_the_rate_lowers_the_rate() -> None:
    torch.manual_seed(0)
    prior = FactorisedPrior(2, levels_choices=(16,))
    both = torch.tensor([0, 1])
    x_BCHW = (torch.randn(8, 2, 8, 8) * 3 + 7.5).requires_grad_()
    rates = []
    for _ in range(40):
        rate = prior.bits(x_BCHW.clamp(0, 15), levels=16, selected_C=both).mean()
        rates.append(rate.item())
        (grad,) = torch.autograd.grad(rate, x_BCHW)
        x_BCHW = (x_BCHW - 4.0 * grad).detach().requires_grad_()
    assert rates[-1] < 0.8 * rates[0]


def test_positions_that_are_not_numbers_cost_no_number_of_bits() -> None:
    prior = FactorisedPrior(1, levels_choices=(4,))
    bits_B = prior.bits(position([float("nan"), 1.0]), levels=4, selected_C=ONLY)
    assert math.isnan(bits_B.item())
