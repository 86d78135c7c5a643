"""Claims about how maps are ranked."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from headgate.train.learning.material import Lesson
from headgate.train.learning.selection import map_scores_P, taylor_P
from headgate.train.networks.bottleneck import Bottleneck
from headgate.train.networks.split_model import SplitModel
from train.learning.small_member import small_member

DEAF = 2  # a map that the decoder does not listen to


@pytest.fixture
def model() -> SplitModel:
    """A LeNet with 6 maps of which 5 cross; the decoder ignores one of those."""
    made = small_member((0, 1, 2, 3, 4))
    assert isinstance(made.bottleneck, Bottleneck)
    with torch.no_grad():
        made.bottleneck.decoder.weight[DEAF].zero_()
    return made


def lessons() -> list[Lesson]:
    draw = torch.Generator().manual_seed(1)
    return [Lesson(torch.rand(8, 3, 16, 16, generator=draw), torch.arange(8) % 2) for _ in range(3)]


def test_maps_that_nothing_depends_on_score_nothing(model: SplitModel) -> None:
    scores_P = taylor_P(model, lessons())
    assert scores_P[DEAF] == 0
    assert scores_P[5] == 0  # does not cross
    assert (scores_P[[0, 1, 3, 4]] > 0).all()


def test_a_score_is_what_the_losses_change_as_a_map_begins_to_stand_still(
    model: SplitModel,
) -> None:
    model.double().eval()
    (lesson, *_) = lessons()
    scores_P = taylor_P(model, [Lesson(lesson.x_BCHW.double(), lesson.labels_B)])
    step = 1e-4
    with torch.no_grad():
        code_BChw = model.bottleneck.encode(model.features(lesson.x_BCHW.double()))
        before_B = losses_B(model, code_BChw, lesson.labels_B)
        for place in range(5):
            stiller_BChw = code_BChw.clone()
            stiller_BChw[:, place].lerp_(code_BChw[:, place].mean(), step)
            change_B = (losses_B(model, stiller_BChw, lesson.labels_B) - before_B) / step
            expected = pytest.approx(float(change_B.abs().sum()), rel=0.01, abs=1e-9)
            assert float(scores_P[place]) == expected


def losses_B(model: SplitModel, code_BChw: Tensor, labels_B: Tensor) -> Tensor:
    logits_BK = model.tail(model.bottleneck.decode(code_BChw))
    return functional.cross_entropy(logits_BK, labels_B, reduction="none")


def test_ranking_leaves_the_model_as_it_was(model: SplitModel) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    taylor_P(model.train(), lessons())
    assert model.training
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is None for p in model.parameters())


def test_scores_do_not_depend_on_how_pictures_are_batched(model: SplitModel) -> None:
    x_BCHW = torch.cat([lesson.x_BCHW for lesson in lessons()])
    labels_B = torch.cat([lesson.labels_B for lesson in lessons()])
    whole_P = taylor_P(model, [Lesson(x_BCHW, labels_B)])
    parts_P = taylor_P(model, lessons())
    assert torch.allclose(whole_P, parts_P, rtol=0.2)


def test_norms_are_those_of_the_encoder(model: SplitModel) -> None:
    assert isinstance(model.bottleneck, Bottleneck)
    with torch.no_grad():
        model.bottleneck.encoder.weight.zero_()
        model.bottleneck.encoder.weight[4] = 1.0
    scores_P: Tensor | None = map_scores_P("nair", model, [])
    assert scores_P is not None
    assert scores_P.argmax() == 4
    assert (scores_P[:4] == 0).all()


def test_the_filter_finds_out_by_itself(model: SplitModel) -> None:
    assert map_scores_P("filter", model, []) is None
