import math

import pytest
import torch

from headgate.train.learning.losses import (
    LossWeights,
    distill_loss,
    hint_loss,
    prune_loss,
    total_loss,
)
from headgate.train.run.recipe_checks import MAX_DELTA


def test_prune_loss_is_least_where_the_filter_adds_up_to_the_budget() -> None:
    def at(value: float) -> float:
        filter_P = torch.full((128,), value)
        return prune_loss(filter_P, budget=32, delta=4.0, symmetry=1.0).item()

    assert at(0.25) == pytest.approx(2.0)
    assert at(0.2) > 2.0
    assert at(0.3) > 2.0


def test_prune_loss_follows_its_formula() -> None:
    loss = prune_loss(torch.full((4,), 0.75), budget=1, delta=2.0, symmetry=0.5)
    assert loss.item() == pytest.approx(math.exp(1.0) + 0.5 * math.exp(-1.0))


def test_the_steepest_prune_loss_draws_every_map_down_from_a_filter_that_lets_all_through() -> None:
    f_hat_P = torch.full((128,), 3.0, requires_grad=True)
    loss = prune_loss(torch.sigmoid(f_hat_P), budget=1, delta=MAX_DELTA, symmetry=1.0)
    torch.autograd.backward(loss)
    assert math.isfinite(loss.item())
    assert f_hat_P.grad is not None
    assert bool((f_hat_P.grad > 0).all())


def test_descending_the_prune_loss_alone_reaches_the_budget() -> None:
    f_hat_P = torch.linspace(1.0, 3.0, 16).requires_grad_()
    for _ in range(400):
        loss = prune_loss(torch.sigmoid(f_hat_P), budget=4, delta=4.0, symmetry=1.0)
        (grad_P,) = torch.autograd.grad(loss, f_hat_P)
        f_hat_P = (f_hat_P - grad_P).detach().requires_grad_()
    assert torch.sigmoid(f_hat_P).sum().item() == pytest.approx(4.0, abs=0.2)


def test_a_student_that_equals_its_teacher_loses_nothing() -> None:
    logits_BK = torch.randn(5, 10)
    assert distill_loss(logits_BK, logits_BK, temperature=4.0).item() == pytest.approx(0, abs=1e-6)
    assert distill_loss(logits_BK, -logits_BK, temperature=4.0).item() > 0


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_distillation_is_the_divergence_from_the_teacher_in_nats_times_the_squared_temperature(
    temperature: float,
) -> None:
    student_BK, teacher_BK = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    odds = math.exp(2.0 / temperature)
    p = odds / (1 + odds)  # of the teacher's first class; the student gives each a half
    divergence = p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p))
    loss = distill_loss(student_BK, teacher_BK, temperature=temperature).item()
    assert loss == pytest.approx(divergence * temperature**2, rel=1e-5)


def test_a_hint_is_the_share_of_each_maps_variance_that_is_lost_whatever_its_scale() -> None:
    features_BPHW = torch.randn(8, 3, 4, 4) * torch.tensor([1.0, 10.0, 100.0]).view(1, 3, 1, 1)
    mean_BPHW = features_BPHW.mean(dim=(0, 2, 3), keepdim=True).expand_as(features_BPHW)
    assert hint_loss(features_BPHW, features_BPHW).item() == 0
    assert hint_loss(mean_BPHW, features_BPHW).item() == pytest.approx(1.0, abs=1e-3)
    half_BPHW = (features_BPHW + mean_BPHW) / 2
    assert hint_loss(half_BPHW, features_BPHW).item() == pytest.approx(0.25, abs=1e-3)


def test_a_hint_of_maps_that_are_dead_is_finite_and_draws_them_to_rest() -> None:
    dead_BPHW = torch.zeros(2, 3, 4, 4)
    restored_BPHW = torch.full((2, 3, 4, 4), 0.01, requires_grad=True)
    loss = hint_loss(restored_BPHW, dead_BPHW)
    assert loss.item() == pytest.approx(1.0)  # 0.01^2 / 1e-4
    (gradient_BPHW,) = torch.autograd.grad(loss, restored_BPHW)
    assert bool((gradient_BPHW > 0).all())


def test_a_hint_does_not_change_the_features_that_it_is_taken_from() -> None:
    features_BPHW = torch.randn(2, 3, 4, 4, requires_grad=True)
    restored_BPHW = torch.randn(2, 3, 4, 4, requires_grad=True)
    torch.autograd.backward(hint_loss(restored_BPHW, features_BPHW))
    assert features_BPHW.grad is None
    assert restored_BPHW.grad is not None


def test_no_gradient_reaches_the_teacher() -> None:
    teacher_BK = torch.randn(2, 3, requires_grad=True)
    student_BK = torch.randn(2, 3, requires_grad=True)
    torch.autograd.backward(distill_loss(student_BK, teacher_BK, temperature=2.0))
    assert teacher_BK.grad is None
    assert student_BK.grad is not None


@pytest.mark.parametrize("has_teacher", [False, True])
def test_the_total_is_the_weighted_sum_of_its_parts(has_teacher: bool) -> None:
    weights = LossWeights(prune=0.5, rate=0.01, exit=2.0, distill=0.25, hint=3.0)
    logits_BK, teacher_BK = torch.randn(4, 3), torch.randn(4, 3)
    losses = total_loss(
        logits_BK,
        torch.tensor([0, 1, 2, 0]),
        exit_logits_BK=torch.randn(4, 3),
        rate_bits_B=torch.tensor([100.0, 200.0, 300.0, 400.0]),
        filter_P=torch.full((8,), 0.9),
        budget=2,
        weights=weights,
        teacher_BK=teacher_BK if has_teacher else None,
        hint=torch.tensor(2.0),
    )
    assert losses.rate_bits.item() == 250.0
    task = losses.task
    if has_teacher:
        learned = distill_loss(logits_BK, teacher_BK, temperature=weights.temperature)
        assert losses.distill.item() == pytest.approx(learned.item())
        task = 0.75 * losses.task + 0.25 * losses.distill
    expected = task + 2.0 * losses.exit + 0.5 * losses.prune + 2.5 + 6.0
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-6)
