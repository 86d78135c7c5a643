"""Claims about what mixtures are learnt from, and what is left alone while they are."""

import pytest
import torch
from torch import Tensor

from headgate.train.learning.material import Lesson
from headgate.train.learning.mixing import start_with_mixtures
from headgate.train.networks.split_model import SplitModel
from train.learning.small_member import small_member


@pytest.fixture
def model() -> SplitModel:
    """A LeNet with 6 maps of which 5 cross, and features that a random head makes."""
    made = small_member((0, 1, 2, 4, 5))
    made.bottleneck.warm_start(made.features(pictures()))
    return made


def pictures(number: int = 24) -> Tensor:
    return torch.rand(number, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def lessons(size: int = 8) -> list[Lesson]:
    labels_B = torch.arange(size) % 2
    return [Lesson(pictures()[begin : begin + size], labels_B) for begin in range(0, 24, size)]


def test_the_first_maps_of_the_member_before_are_mixtures_from_then_on(model: SplitModel) -> None:
    mixtures = start_with_mixtures(model, 2, lessons())
    assert (model.budget, model.selected) == (2, (0, 1))
    shares = mixtures.shares_M.tolist()
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) < 1
    assert mixtures.weights_MC.shape == (2, 5)


def test_all_mixtures_together_answer_as_the_maps_did(model: SplitModel) -> None:
    model.eval()
    with torch.no_grad():
        before_BK = model(pictures(), levels=None).logits_BK
    start_with_mixtures(model, 5, lessons())
    with torch.no_grad():
        after_BK = model(pictures(), levels=None).logits_BK
    assert float((after_BK - before_BK).norm()) < 0.1 * float(before_BK.norm())


def test_neither_head_nor_tail_nor_the_mode_is_touched(model: SplitModel) -> None:
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    start_with_mixtures(model, 3, lessons())
    assert model.training
    after = model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.partition(".")[0] for name in changed} == {"bottleneck"}
    assert all(parameter.grad is None for parameter in model.parameters())


def test_ranges_of_mixtures_are_those_of_the_next_batch(model: SplitModel) -> None:
    model.train()
    for lesson in lessons():
        model(lesson.x_BCHW, levels=16)
    start_with_mixtures(model, 2, lessons())
    model(pictures(), levels=16)
    low_C, span_C = model.code_range.of(model.bottleneck.selected_C)
    with torch.no_grad():
        code_BChw = model.bottleneck.encode(model.features(pictures()))
    lowest_C, highest_C = code_BChw.amin(dim=(0, 2, 3)), code_BChw.amax(dim=(0, 2, 3))
    assert (low_C >= lowest_C - 0.02).all()
    assert (low_C + span_C <= highest_C + 0.02).all()


def test_mixtures_do_not_depend_on_how_pictures_are_batched(model: SplitModel) -> None:
    whole = [Lesson(pictures(), torch.arange(24) % 2)]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    one = start_with_mixtures(model, 2, lessons())
    model.bottleneck.set_budget(5)
    model.freeze_selection((0, 1, 2, 4, 5))
    model.load_state_dict(before)
    other = start_with_mixtures(model, 2, whole)
    torch.testing.assert_close(one.weights_MC, other.weights_MC, rtol=0.01, atol=0.01)
