import pytest
import torch
from torch import Tensor
from torch.nn import functional

from headgate.profiles.errors import UsageError
from headgate.train.networks.bottleneck import Bottleneck


def bottleneck(budget: int = 3, *, resolution_factor: int = 1, signed: bool = False) -> Bottleneck:
    """Return one with random weights and statistics, so that nothing cancels out by chance."""
    torch.manual_seed(1)
    made = Bottleneck(
        8, size_px=(8, 8), resolution_factor=resolution_factor, budget=budget, signed=signed
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        for norm in (made.encoder_norm, made.decoder_norm):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.normal_(std=0.1)
            norm.running_var.uniform_(0.5, 1.5)
    made.update_selection()
    return made


def masked_reference(made: Bottleneck, x_BPHW: Tensor) -> Tensor:
    """Compute all maps as the paper does, then zero those that are not selected."""
    mask_P = torch.zeros(made.channels)
    mask_P[made.selected_C] = 1.0
    code_BPHW = torch.sigmoid(made.encoder_norm(made.encoder(x_BPHW)))
    sent_BPHW = code_BPHW * (made.filter_P * mask_P).view(-1, 1, 1)
    return functional.relu(made.decoder_norm(made.decoder(sent_BPHW)))


@pytest.mark.parametrize("resolution_factor", [1, 2, 3])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("budget", [1, 3, 8])
@pytest.mark.parametrize("training", [False, True])
def test_selected_maps_alone_give_what_the_masked_whole_gives(
    resolution_factor: int, frozen: bool, budget: int, training: bool
) -> None:
    made = bottleneck(budget, resolution_factor=resolution_factor).train(training)
    reference = bottleneck(budget, resolution_factor=resolution_factor).train(training)
    if frozen:
        made.freeze_selection()
    x_BPHW = torch.rand(4, 8, 8, 8)
    torch.testing.assert_close(made(x_BPHW), masked_reference(reference, x_BPHW))


def test_selected_maps_alone_get_the_gradients_and_statistics_of_the_masked_whole() -> None:
    made, reference = bottleneck(3), bottleneck(3)
    made.freeze_selection()
    x_BPHW = torch.rand(4, 8, 8, 8)
    torch.autograd.backward(made(x_BPHW).square().mean())
    torch.autograd.backward(masked_reference(reference, x_BPHW).square().mean())
    for (name, one), other in zip(made.named_parameters(), reference.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad, other.grad, msg=name, atol=1e-6, rtol=1e-4)
    selected = list(made.selected or ())
    for average in ("running_mean", "running_var"):
        of_one, of_other = (each.encoder_norm.get_buffer(average) for each in (made, reference))
        torch.testing.assert_close(of_one[selected], of_other[selected])
    assert made.encoder_norm.num_batches_tracked == 1


@pytest.mark.parametrize("resolution_factor", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("size_px", [(8, 8), (7, 9), (10, 5), (20, 31)])
def test_any_size_is_restored_exactly(resolution_factor: int, size_px: tuple[int, int]) -> None:
    made = Bottleneck(4, size_px=size_px, resolution_factor=resolution_factor, budget=2)
    x_BPHW = torch.rand(2, 4, *size_px)
    code_BCHW = made.encode(x_BPHW)
    assert code_BCHW.shape[1:] == made.code_shape
    assert made.decode(code_BCHW).shape == x_BPHW.shape


def test_resolution_factors_shrink_8_by_8_maps_as_the_paper_has_it() -> None:
    shapes = [Bottleneck(1, size_px=(8, 8), resolution_factor=r).code_shape for r in (1, 2, 3)]
    assert shapes == [(1, 8, 8), (1, 5, 5), (1, 4, 4)]


def test_ties_are_broken_by_index_so_that_exactly_the_budget_crosses() -> None:
    made = bottleneck(3)
    with torch.no_grad():
        made.f_hat.fill_(40.0)  # sigmoid(40) is 1 in float32
        made.f_hat[1] = -1.0
    made.update_selection()
    assert made.selected_C.tolist() == [0, 2, 3]


def test_the_selection_follows_the_filter_until_it_is_frozen() -> None:
    made = bottleneck(2)
    with torch.no_grad():
        made.f_hat.copy_(torch.arange(8.0))
    made(torch.rand(2, 8, 8, 8))
    assert made.selected_C.tolist() == [6, 7]
    assert made.selected is None
    made.freeze_selection()
    with torch.no_grad():
        made.f_hat.neg_()
    made(torch.rand(2, 8, 8, 8))
    assert made.selected == (6, 7)
    assert made.selected_C.tolist() == [6, 7]


def test_a_stored_selection_is_restored_in_ascending_order() -> None:
    made = bottleneck(3)
    made.freeze_selection([7, 0, 4])
    assert made.selected == (0, 4, 7)


@pytest.mark.parametrize("indices", [[0, 1], [0, 1, 1], [0, 1, 8], [-1, 0, 1], [0, 1, 2, 3]])
def test_a_selection_that_does_not_fit_the_budget_is_refused(indices: list[int]) -> None:
    with pytest.raises(UsageError, match="expected 3 different maps out of 0 to 7"):
        bottleneck(3).freeze_selection(indices)


@pytest.mark.parametrize("budget", [0, -1, 9])
def test_impossible_budgets_are_refused(budget: int) -> None:
    with pytest.raises(UsageError, match=f"found {budget}, .* expected 1 to 8"):
        bottleneck(budget)


@pytest.mark.parametrize("resolution_factor", [0, -2, 9])
def test_impossible_resolution_factors_are_refused(resolution_factor: int) -> None:
    with pytest.raises(UsageError, match="maps at the split are 8 x 8; expected 1 to 8"):
        bottleneck(resolution_factor=resolution_factor)


def test_reset_prune_lets_maps_fall_again_and_keeps_to_the_trained_ones() -> None:
    made = bottleneck(4)
    with torch.no_grad():
        made.f_hat.fill_(50.0)
    made.freeze_selection([1, 3, 5, 7])
    made.reset_prune(2, generator=torch.Generator().manual_seed(3))
    assert made.selected is None
    assert made.budget == 2
    assert set(made.selected_C.tolist()) < {1, 3, 5, 7}
    assert made.filter_P[[1, 3, 5, 7]].max() < 0.96
    assert made.filter_P[[0, 2, 4, 6]].max() < 0.05


def test_reset_prune_selects_by_score_where_scores_are_given() -> None:
    made = bottleneck(8)
    made.reset_prune(3, scores_P=torch.tensor([0.0, 5.0, 1.0, 4.0, 2.0, 9.0, 3.0, 0.5]))
    assert made.selected_C.tolist() == [1, 3, 5]


def test_reset_prune_repeats_with_its_generator() -> None:
    one, other = bottleneck(8), bottleneck(8)
    for made in (one, other):
        made.reset_prune(3, generator=torch.Generator().manual_seed(5))
    assert torch.equal(one.f_hat, other.f_hat)


def test_a_map_that_the_decoder_ignores_is_the_least_important() -> None:
    made = bottleneck(8)
    with torch.no_grad():
        made.decoder.weight[2] = 0.0
        made.encoder_norm.weight[6] = 10.0
    assert made.importance_P().argmin() == 2
    assert made.importance_P().argmax() == 6


@torch.no_grad()
def test_importance_is_what_a_deviation_of_one_pixel_of_the_code_moves_the_restored_features() -> (
    None
):
    made = bottleneck(8, signed=True).eval()
    still_BPhw = torch.full((1, *made.code_shape), 0.5)
    for place in range(8):
        moved_BPhw = still_BPhw.clone()
        inner = torch.sigmoid(made.encoder_norm.bias[place])
        moved_BPhw[0, place, 4, 4] += made.encoder_norm.weight[place].abs() * inner * (1 - inner)
        move_BPHW = made.decode(moved_BPhw) - made.decode(still_BPhw)
        torch.testing.assert_close(made.importance_P()[place], move_BPHW.norm())


@pytest.mark.parametrize(("signed", "resolution_factor"), [(False, 1), (True, 1), (False, 2)])
def test_features_survive_a_bottleneck_that_was_started_warm(
    signed: bool, resolution_factor: int
) -> None:
    torch.manual_seed(0)
    smooth_BPHW = functional.interpolate(torch.randn(32, 8, 3, 3), size=(8, 8), mode="bilinear")
    features_BPHW = smooth_BPHW if signed else functional.relu(smooth_BPHW)
    made = Bottleneck(8, size_px=(8, 8), resolution_factor=resolution_factor, signed=signed)
    made.warm_start(features_BPHW)
    made.eval()
    error = (made(features_BPHW) - features_BPHW).norm() / features_BPHW.norm()
    assert error < (0.15 if resolution_factor == 1 else 0.6)


def test_a_signed_bottleneck_restores_negative_features() -> None:
    x_BPHW = torch.randn(4, 8, 8, 8)
    assert (bottleneck(8, signed=True)(x_BPHW) < 0).any()
    assert not (bottleneck(8, signed=False)(x_BPHW) < 0).any()


def test_filter_values_of_another_side_restore_the_same_features() -> None:
    bottleneck = Bottleneck(6, size_px=(4, 4), budget=2).eval()
    bottleneck.freeze_selection((1, 4))
    code_BCHW = torch.rand(3, *bottleneck.code_shape)
    given_C = bottleneck.filter_P[bottleneck.selected_C].detach()
    restored = bottleneck.decode(code_BCHW, filter_C=given_C)
    assert torch.equal(restored, bottleneck.decode(code_BCHW))
    assert not torch.equal(restored, bottleneck.decode(code_BCHW, filter_C=given_C / 2))
