"""Claims about lossy links: what is lost, how much of it, and what keeps its gradient."""

import pytest
import torch

from headgate.profiles.errors import UsageError
from headgate.train.networks.link_loss import Grid, flip_bits, lose_maps, lossy
from headgate.train.recipe import PruneConfig
from headgate.train.run.recipe_checks import check_config
from train.networks.test_progressive_model import member, pictures

GRID = Grid(low_C=torch.tensor([0.0, -1.0]), span_C=torch.tensor([1.0, 2.0]), levels=16)


def quantised(num: int) -> torch.Tensor:
    """Return a code [num, 2, 4, 4] whose values lie on the grid."""
    q_BCHW = torch.randint(1, 16, (num, 2, 4, 4), generator=torch.Generator().manual_seed(1))
    return GRID.low_C.view(-1, 1, 1) + q_BCHW * (GRID.span_C / 15).view(-1, 1, 1)


def test_whole_maps_are_lost_at_the_share_of_their_picture() -> None:
    torch.manual_seed(0)
    code_BCHW = torch.ones(2000, 4, 2, 2)
    share_B = torch.tensor([0.0, 0.25]).repeat(1000)
    left_BC = lose_maps(code_BCHW, share_B).flatten(2)
    assert bool((left_BC.amin(dim=2) == left_BC.amax(dim=2)).all())  # a map is lost as a whole
    assert bool((left_BC[::2] == 1).all())
    assert float((left_BC[1::2] == 0).float().mean()) == pytest.approx(0.25, abs=0.02)


def test_bits_are_flipped_one_by_one_and_numbers_stay_on_the_grid() -> None:
    torch.manual_seed(0)
    code_BCHW = quantised(500)
    read_BCHW = flip_bits(code_BCHW, torch.full((500,), 0.1), GRID)
    right = float(torch.isclose(read_BCHW, code_BCHW).float().mean())
    assert right == pytest.approx(0.9**4, abs=0.02)  # 16 levels are four bits
    place_BCHW = (read_BCHW - GRID.low_C.view(-1, 1, 1)) / (GRID.span_C / 15).view(-1, 1, 1)
    assert float((place_BCHW - place_BCHW.round()).abs().max()) < 1e-4
    assert float(place_BCHW.min()) > -1e-4
    assert float(place_BCHW.max()) < 15 + 1e-4


def test_a_code_of_floats_has_no_bits_to_flip_and_every_picture_loses_maps() -> None:
    torch.manual_seed(0)
    left_BC = lossy(torch.ones(4000, 4, 2, 2), share=0.5).flatten(2).mean(dim=2)
    assert set(left_BC.flatten().tolist()) == {0.0, 1.0}
    assert float((left_BC == 0).float().mean()) == pytest.approx(0.25, abs=0.02)


def test_an_integer_beyond_the_last_level_is_read_as_the_last() -> None:
    grid = Grid(torch.zeros(1), torch.ones(1), levels=5)
    code_BCHW = torch.full((1, 1, 1, 1), 2 / 4)
    assert float(flip_bits(code_BCHW, torch.ones(1), grid)) == pytest.approx(1.0)  # 010 -> 101


def test_only_numbers_that_stay_right_have_a_gradient() -> None:
    torch.manual_seed(0)
    code_BCHW = quantised(20).requires_grad_()
    read_BCHW = flip_bits(code_BCHW, torch.full((20,), 0.2), GRID)
    torch.autograd.backward(read_BCHW.sum())
    assert code_BCHW.grad is not None
    same = torch.isclose(read_BCHW, code_BCHW)
    assert torch.equal(code_BCHW.grad.bool(), same)


def test_a_batch_sees_both_kinds_of_loss_but_a_picture_only_one() -> None:
    torch.manual_seed(0)
    code_BCHW = quantised(400)
    left_BCHW = lossy(code_BCHW, share=0.5, grid=GRID)
    lost_B = (left_BCHW == 0).flatten(2).all(dim=2).any(dim=1)
    wrong_B = ((left_BCHW != 0) & ~torch.isclose(left_BCHW, code_BCHW)).flatten(1).any(dim=1)
    assert 50 < int(lost_B.sum()) < 250
    assert 100 < int(wrong_B.sum()) < 250
    assert not bool((lost_B & wrong_B).any())


def test_a_member_loses_maps_while_it_trains_and_none_while_it_is_measured() -> None:
    made = member(bottleneck=False)
    made.link_loss = 1.0
    code_BCHW = made.bottleneck.encode(made.features(pictures()))
    measured_BCHW, _ = made.eval().transmit(code_BCHW, None)
    assert torch.equal(measured_BCHW, code_BCHW)
    torch.manual_seed(0)
    trained_BCHW, _ = made.train().transmit(code_BCHW, None)
    lost = (trained_BCHW == 0).flatten(2).all(dim=2)
    assert 0 < int(lost.sum()) < lost.numel()


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match=r"--link-loss: found .*, expected a share of 0 to 1"):
        check_config(PruneConfig(link_loss=share))
