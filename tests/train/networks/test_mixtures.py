"""Claims about mixtures: which are the best, and that a member of mixtures restores what it can."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from headgate.train.networks.bottleneck import Bottleneck
from headgate.train.networks.mixtures import Mixtures, mix, principal_mixtures


def matrix(seed: int, size: int = 6) -> Tensor:
    """Return a random covariance of full rank."""
    draw = torch.Generator().manual_seed(seed)
    root = torch.randn(size, size, generator=draw, dtype=torch.float64)
    return root @ root.T


def harm(covariance_CC: Tensor, sensitivity_CC: Tensor, weights_MC: Tensor) -> float:
    """Return the mean of d' F d, d what is missing of a code that is restored from mixtures."""
    seen_CM = covariance_CC @ weights_MC.T
    missing_CC = covariance_CC - seen_CM @ torch.linalg.pinv(weights_MC @ seen_CM) @ seen_CM.T
    return float((sensitivity_CC * missing_CC).sum())


@given(seed=st.integers(0, 1000), num_mixtures=st.integers(1, 5))
def test_no_other_mixtures_and_no_choice_of_maps_do_less_harm(seed: int, num_mixtures: int) -> None:
    covariance_CC, sensitivity_CC = matrix(seed), matrix(seed + 5000)
    best = principal_mixtures(covariance_CC, sensitivity_CC, num_mixtures=num_mixtures)
    least = harm(covariance_CC, sensitivity_CC, best.weights_MC)
    draw = torch.Generator().manual_seed(seed)
    others = [torch.eye(6, dtype=torch.float64)[torch.randperm(6, generator=draw)[:num_mixtures]]]
    for _ in range(5):
        others.append(torch.randn(num_mixtures, 6, generator=draw, dtype=torch.float64))
        nearby = torch.randn(num_mixtures, 6, generator=draw, dtype=torch.float64)
        others.append(best.weights_MC + 0.1 * best.weights_MC.std() * nearby)
    for other_MC in others:
        assert least <= harm(covariance_CC, sensitivity_CC, other_MC) * (1 + 1e-9)
    all_CC = (sensitivity_CC * covariance_CC).sum()
    left = float(all_CC * (1 - best.shares_M.sum()))
    assert least == pytest.approx(left, rel=1e-3, abs=1e-5 * float(all_CC))


def test_what_the_loss_does_not_mind_is_left_out_however_much_it_varies() -> None:
    best = principal_mixtures(
        torch.diag(torch.tensor([100.0, 1.0, 2.0])),
        torch.diag(torch.tensor([0.0, 3.0, 1.0])),
        num_mixtures=2,
    )
    assert best.weights_MC.abs().argmax(dim=1).tolist() == [1, 2]
    assert best.shares_M.tolist() == pytest.approx([0.6, 0.4], rel=1e-3)


def test_a_loss_without_gradients_leaves_what_varies_most() -> None:
    best = principal_mixtures(
        torch.diag(torch.tensor([1.0, 9.0])), torch.zeros(2, 2), num_mixtures=1
    )
    assert best.weights_MC.abs().argmax() == 1
    assert best.shares_M.tolist() == pytest.approx([0.9])


def test_a_dead_code_whose_maps_never_change_can_be_mixed_too() -> None:
    made = Bottleneck(4, size_px=(4, 4))
    made.freeze_selection()
    best = principal_mixtures(torch.zeros(4, 4), torch.eye(4), num_mixtures=2)
    assert best.shares_M.tolist() == [0.0, 0.0]
    mix(made, best, torch.zeros(3, 4, 4, 4))
    assert made.selected == (0, 1)
    assert all(bool(weights.isfinite().all()) for weights in made.state_dict().values())


def low_rank(made: Bottleneck, *, rank: int, batch: int = 16) -> Tensor:
    """Return features [B, P, H, W] that so few patterns make; not negative."""
    draw = torch.Generator().manual_seed(3)
    patterns = torch.rand(batch, rank, *made.size_px, generator=draw)
    return torch.einsum("brhw,pr->bphw", patterns, torch.rand(made.channels, rank, generator=draw))


@pytest.mark.parametrize("resolution_factor", [1, 2])
@pytest.mark.parametrize("signed", [False, True])
def test_as_many_mixtures_as_there_are_patterns_restore_all_maps(
    resolution_factor: int, signed: bool
) -> None:
    torch.manual_seed(0)
    made = Bottleneck(8, size_px=(8, 8), resolution_factor=resolution_factor, signed=signed)
    made.freeze_selection()
    features_BPHW = low_rank(made, rank=2)
    made.warm_start(features_BPHW)
    made.eval()
    with torch.no_grad():
        before_BPHW, code_BChw = made(features_BPHW), made.squeeze(features_BPHW)
        covariance_CC = torch.cov(code_BChw.transpose(0, 1).flatten(1))
        mix(made, principal_mixtures(covariance_CC, torch.eye(8), num_mixtures=2), features_BPHW)
        assert made.selected == (0, 1)
        kept = unexplained(made(features_BPHW), before_BPHW)
        assert kept < 0.03
        made.reset_prune(1)
        made.freeze_selection()
        assert unexplained(made(features_BPHW), before_BPHW) > 5 * kept


def test_places_are_the_first_of_the_maps_that_crossed_and_others_are_left_alone() -> None:
    torch.manual_seed(0)
    made = Bottleneck(8, size_px=(4, 4), budget=3)
    made.freeze_selection((1, 4, 6))
    made.train()
    features_BPHW = low_rank(made, rank=4)
    before = {name: weights.clone() for name, weights in made.state_dict().items()}
    mix(made, Mixtures(torch.ones(2, 3) + torch.eye(2, 3), torch.tensor([0.7, 0.2])), features_BPHW)
    assert made.selected == (1, 4)
    assert made.training
    assert made.filter_P[1] > made.filter_P[4] > made.filter_P[[0, 2, 3, 5, 6, 7]].max()
    for name in ("encoder.weight", "decoder.weight", "encoder_norm.running_mean"):
        after = made.state_dict()[name]
        changed_P = [not torch.equal(after[place], before[name][place]) for place in range(8)]
        assert changed_P == [place in (1, 4) for place in range(8)], name


def test_mixtures_have_the_deviation_and_mean_that_a_fresh_map_has() -> None:
    torch.manual_seed(0)
    made = Bottleneck(8, size_px=(8, 8), budget=4)
    made.freeze_selection()
    features_BPHW = low_rank(made, rank=4)
    mix(made, Mixtures(torch.randn(3, 4), torch.tensor([0.5, 0.3, 0.2])), features_BPHW)
    made.eval()
    with torch.no_grad():
        squeezed_BMhw = made.squeeze(features_BPHW)
    deviation_M, mean_M = torch.std_mean(squeezed_BMhw, dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(mean_M, torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(deviation_M, torch.full((3,), 0.7), atol=1e-3, rtol=0)


def unexplained(found_BPHW: Tensor, wanted_BPHW: Tensor) -> float:
    """Return the share of the variance that is not restored."""
    missing = (found_BPHW - wanted_BPHW).square().mean(dim=(0, 2, 3)).sum()
    return float(missing / wanted_BPHW.var(dim=(0, 2, 3)).sum())
