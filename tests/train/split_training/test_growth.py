"""Claims about the move to a larger budget: which maps join, and how they begin."""

from pathlib import Path

import pytest
import torch

from headgate.train.learning.optimizers import make_sgd
from headgate.train.networks.bottleneck import F_HAT_RANGE, Bottleneck
from headgate.train.recipe import PruneConfig
from headgate.train.split_training.growth import (
    bottleneck_of,
    encode_following,
    grow,
    next_selection,
)
from headgate.train.split_training.server_run import fresh_model
from train.split_training.small import CPU, small_plan, small_settings


def trained(selected: tuple[int, ...] = (1, 4)) -> tuple[Bottleneck, torch.optim.SGD]:
    """Return a bottleneck of 6 maps that sends two, after a step, with its filter fallen."""
    torch.manual_seed(0)
    bottleneck = Bottleneck(6, size_px=(4, 4), budget=len(selected))
    bottleneck.freeze_selection(selected)
    optimizer = make_sgd(bottleneck.parameters(), PruneConfig())
    bottleneck(torch.rand(3, 6, 4, 4)).square().sum().backward()
    optimizer.step()
    with torch.no_grad():
        bottleneck.f_hat.fill_(-4.0)
    return bottleneck, optimizer


def test_maps_that_cross_stay_and_the_best_others_join() -> None:
    filter_P = torch.tensor([0.9, 0.1, 0.8, 0.7, 0.2, 0.8])
    assert next_selection(filter_P, selected=(1, 4), budget=4) == (0, 1, 2, 4)


def test_all_maps_join_where_the_budget_is_phi() -> None:
    assert next_selection(torch.zeros(4), selected=(2,), budget=4) == (0, 1, 2, 3)


def test_joining_maps_begin_with_a_filter_as_a_fresh_one_and_others_keep_theirs() -> None:
    bottleneck, optimizer = trained()
    grow(bottleneck, optimizer, selected=(0, 1, 3, 4), join="silent", seed=1)
    low, high = F_HAT_RANGE
    joined = bottleneck.f_hat.detach()[[0, 3]]
    assert bool(((joined >= low) & (joined <= high)).all())
    assert joined[0] != joined[1]  # drawn, so that the filter can tell them apart
    assert bool((bottleneck.f_hat.detach()[[1, 2, 4, 5]] == -4.0).all())
    assert bottleneck.selected == (0, 1, 3, 4)


def test_the_same_seed_gives_the_same_filter_on_every_side() -> None:
    sides = [trained() for _ in range(2)]
    for bottleneck, optimizer in sides:
        grow(bottleneck, optimizer, selected=range(6), join="drawn", seed=7)
    assert torch.equal(sides[0][0].f_hat, sides[1][0].f_hat)


@pytest.mark.parametrize(("join", "is_zero"), [("silent", True), ("drawn", False)])
def test_joining_maps_are_silent_or_drawn_at_the_decoder(join: str, is_zero: bool) -> None:
    bottleneck, optimizer = trained()
    grow(bottleneck, optimizer, selected=range(6), join=join, seed=1)
    weight = bottleneck.decoder.weight.detach()
    assert bool((weight[[0, 2, 3, 5]] == 0).all()) is is_zero
    assert not bool((weight[[1, 4]] == 0).all())


def test_momentum_of_joining_maps_is_forgotten_and_of_others_kept() -> None:
    bottleneck, optimizer = trained()
    before = optimizer.state[bottleneck.decoder.weight]["momentum_buffer"].clone()
    grow(bottleneck, optimizer, selected=range(6), join="silent", seed=1)
    after = optimizer.state[bottleneck.decoder.weight]["momentum_buffer"]
    assert bool((after[[0, 2, 3, 5]] == 0).all())
    assert torch.equal(after[[1, 4]], before[[1, 4]])


def test_growing_silently_leaves_what_the_network_computes(pictures: Path) -> None:
    settings = small_settings("2:1,5:1")
    plan = small_plan(pictures, settings)
    model = fresh_model(plan, settings, device=CPU).eval()
    optimizer = make_sgd(model.parameters(), plan.config)
    x_BCHW = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    before_BK = model(x_BCHW, levels=None).logits_BK
    assert model.selected is not None
    chosen = sorted([*model.selected, *(set(range(6)) - set(model.selected))][:5])
    grow(bottleneck_of(model), optimizer, selected=chosen, join="silent", seed=3)
    after_BK = model(x_BCHW, levels=None).logits_BK
    torch.testing.assert_close(after_BK, before_BK)


def test_averages_of_a_maps_first_batches_are_plain_and_then_follow_with_batch_norms_momentum(
    pictures: Path,
) -> None:
    settings = small_settings("2:1")
    model = fresh_model(small_plan(pictures, settings), settings, device=CPU).train()
    bottleneck = bottleneck_of(model)
    model.freeze_selection((1, 4))

    def average_after(value: float) -> float:
        """Return that of map 4 after a batch of features, which a fresh encoder lets through."""
        encode_following(model, torch.full((2, 6, *bottleneck.size_px), value))
        assert bottleneck.encoder_norm.running_mean is not None
        assert bottleneck.encoder_norm.running_mean[0] == 0  # does not cross
        return float(bottleneck.encoder_norm.running_mean[4])

    assert [average_after(value) for value in (4.0, 2.0, 6.0)] == pytest.approx([4.0, 3.0, 4.0])
    for _ in range(7):
        average_after(4.0)
    assert average_after(14.0) == pytest.approx(4.0 + 0.1 * 10.0)  # the eleventh
    assert average_after(5.0) == pytest.approx(5.0)
    assert average_after(15.0) == pytest.approx(5.0 + 0.1 * 10.0)
