"""Claims about the progressive loss: its weights, its sum, its penalty, and its samples."""

import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from headgate.train.learning.losses import LossWeights, hint_loss
from headgate.train.learning.material import Lesson
from headgate.train.learning.progressive_objective import (
    ProgressiveObjective,
    losses_N,
    nair_weights_J,
    penalty_term,
    progressive_objective,
    shares_J,
)
from headgate.train.networks.progressive_model import ProgressiveModel
from headgate.train.progressive import ProgressiveConfig
from train.networks.test_progressive_model import member, pictures

NO_EXIT = LossWeights(exit=0.0, distill=0.0, hint=0.0)
LABELS_B = torch.tensor([0, 1, 2, 0, 1])


def objective(
    made: ProgressiveModel, config: ProgressiveConfig, weights: LossWeights = NO_EXIT
) -> ProgressiveObjective:
    made.importance_before = tuple(made.importance_C(folded=True).tolist())
    return progressive_objective(made, config, weights=weights, levels=(16,), teacher=None)


def total(made: ProgressiveModel, config: ProgressiveConfig, *, seed: int = 0) -> Tensor:
    step = objective(made, config)(made, Lesson(pictures(), LABELS_B), random.Random(seed))
    return step.losses.total


def test_weights_are_those_of_the_paper() -> None:
    importance_C = torch.tensor([1.0, 5.0, 2.0, 2.0])
    masks_JC = torch.tensor([[0.0, 1, 0, 0], [0, 1, 1, 1], [1, 1, 1, 1]])
    share_J = shares_J(importance_C, masks_JC)
    assert share_J.tolist() == pytest.approx([0.5, 0.9, 1.0])
    assert nair_weights_J(share_J, w_non=2.0).tolist() == pytest.approx([0.25, 0.01, 1.0])
    assert nair_weights_J(share_J, w_non=0.0).tolist() == [1.0, 1.0, 1.0]


def test_loss_is_the_weighted_sum_over_prefixes_plus_the_penalty() -> None:
    made = member(bottleneck=False)
    config = ProgressiveConfig(penalty=0.7, quantise=False)
    with torch.no_grad():
        importance_C = made.importance_C(folded=True)  # of the maps 1, 2, 4 and 5
        first, second = importance_C[2], importance_C[2] + importance_C[0] + importance_C[3]
        whole = importance_C.sum()
        by_hand = 0.7 * (whole - first) / whole
        weights_J = torch.stack(
            [(1 - first / whole) ** 2, (1 - second / whole) ** 2, whole / whole]
        )
        for prefix, weight in zip((1, 2, 3), weights_J, strict=True):
            logits_BK = made(pictures(), levels=None, prefixes=(prefix,)).logits_BK
            by_hand = by_hand + weight * functional.cross_entropy(logits_BK, LABELS_B)
    torch.testing.assert_close(total(made, config), by_hand)


@pytest.mark.parametrize(("weights_from", "follows"), [("start", False), ("now", True)])
def test_weights_follow_the_importance_only_if_asked_to(weights_from: str, follows: bool) -> None:
    made = member(bottleneck=False)
    step = objective(made, ProgressiveConfig(weights_from=weights_from, quantise=False))
    with torch.no_grad():
        before_J = nair_weights_J(
            shares_J(made.importance_C(folded=True), made.masks_JC), w_non=2.0
        )
        (conv,) = (made_by.convolution for made_by in made.filters)
        conv.weight[4].mul_(3.0)  # the first layer's
        losses_J = torch.stack(
            [
                functional.cross_entropy(
                    made(pictures(), levels=None, prefixes=(prefix,)).logits_BK, LABELS_B
                )
                for prefix in (1, 2, 3)
            ]
        )
        found = step(made, Lesson(pictures(), LABELS_B), random.Random(0)).losses.total
    as_before = float((before_J * losses_J).sum())
    assert (float(found) != pytest.approx(as_before)) == follows


def test_no_gradient_goes_through_weights_that_follow_the_importance() -> None:
    """Else the first layers would be made important to excuse the prefixes."""
    gradients = []
    for weights_from in ("now", "start"):  # the same weights before the first step
        made = member(bottleneck=False)
        config = ProgressiveConfig(weights_from=weights_from, quantise=False)
        torch.autograd.backward(total(made, config))
        (conv,) = (made_by.convolution for made_by in made.filters)
        assert conv.weight.grad is not None
        gradients.append(conv.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("part", ["exit", "rate", "hint", "distill"])
def test_other_losses_count_by_their_weights_and_are_those_of_the_whole(part: str) -> None:
    made, levels = member(), 16
    config = ProgressiveConfig()
    taught_BK = torch.randn(5, 3, generator=torch.Generator().manual_seed(4))
    lesson = Lesson(pictures(), LABELS_B, taught_BK=taught_BK)
    with torch.no_grad():
        plain = objective(made, config)(made, lesson, random.Random(0)).losses.total
        weights = replace(NO_EXIT, **{part: 0.25})
        found = objective(made, config, weights)(made, lesson, random.Random(0)).losses.total
        whole = made(pictures(), levels=levels)
        share_J = shares_J(made.importance_C(folded=True), made.masks_JC)
        weights_J = nair_weights_J(share_J, w_non=config.w_non)
        logits_NBK = made(pictures(), levels=levels, prefixes=(1, 2, 3)).logits_BK.view(3, 5, 3)
        task_N, distill_N = losses_N(logits_NBK, LABELS_B, taught_BK)
    more = {
        "exit": functional.cross_entropy(whole.exit_logits_BK, LABELS_B),
        "rate": whole.rate_bits_B.mean(),
        "hint": hint_loss(whole.restored_BPHW, whole.features_BPHW),
        "distill": (weights_J * (distill_N - task_N)).sum(),  # in the place of the task
    }
    assert abs(float(more[part])) > 1e-3
    torch.testing.assert_close(found - plain, 0.25 * more[part], rtol=1e-4, atol=1e-5)


def test_clio_weights_prefixes_as_it_is_told_and_has_no_penalty() -> None:
    made = member(bottleneck=False)
    config = ProgressiveConfig(
        method="clio", quantise=False, penalty=5.0, prefix_weights=(0.5, 0.0, 0.25)
    )
    with torch.no_grad():
        logits_NBK = made(pictures(), levels=None, prefixes=(1, 3)).logits_BK.view(2, 5, 3)
    task = [functional.cross_entropy(logits_BK, LABELS_B) for logits_BK in logits_NBK]
    torch.testing.assert_close(total(made, config), 0.5 * task[0] + 0.25 * task[1])


def test_penalty_shrinks_the_later_layers_and_leaves_the_first() -> None:
    made = member(bottleneck=False)
    importance_C = made.importance_C(folded=False)
    torch.autograd.backward(penalty_term(importance_C, made.masks_JC, at_start=1.0))
    (conv,) = (made_by.convolution for made_by in made.filters)
    gradient = conv.weight.grad
    assert gradient is not None
    for index in (1, 2, 5):
        torch.testing.assert_close(gradient[index], conv.weight[index].sign())
    assert bool((gradient[4] == 0).all())  # the first layer
    assert bool((gradient[0] == 0).all())  # does not cross


def test_drawn_prefixes_cost_the_whole_sum_on_average() -> None:
    made = member(bottleneck=False)
    with torch.no_grad():
        exact = total(made, ProgressiveConfig(quantise=False))
        config = ProgressiveConfig(quantise=False, prefixes_per_step=1)
        drawn = [float(total(made, config, seed=seed)) for seed in range(400)]
    assert len({round(value, 5) for value in drawn}) == 2
    assert sum(drawn) / 400 == pytest.approx(float(exact), rel=0.02)


def test_a_teacher_is_followed_by_every_prefix() -> None:
    torch.manual_seed(2)
    logits_NBK, taught_BK = torch.randn(3, 5, 4), torch.randn(5, 4)
    _, distill_N = losses_N(logits_NBK, torch.zeros(5, dtype=torch.int64), taught_BK)
    for place in range(3):
        expected = functional.kl_div(
            logits_NBK[place].log_softmax(dim=1),
            taught_BK.log_softmax(dim=1),
            reduction="batchmean",
            log_target=True,
        )
        torch.testing.assert_close(distill_N[place], expected)


def test_answers_of_a_step_are_counted_for_the_whole() -> None:
    made = member(bottleneck=False)
    step = objective(made, ProgressiveConfig(quantise=False))
    result = step(made, Lesson(pictures(), LABELS_B), random.Random(0))
    with torch.no_grad():
        right = made(pictures(), levels=None).logits_BK.argmax(dim=1) == LABELS_B
    assert float(result.accuracy) == pytest.approx(float(right.float().mean()))
