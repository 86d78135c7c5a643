"""The losses of a member: task, prune (arXiv 2311.05739), rate, early exit and distillation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# Shapes: B batch, K classes, P all phi maps of the bottleneck, H x W at the split

MIN_VARIANCE = 1e-4  # of a map's features: a dead one must not be divided by zero


@dataclass(frozen=True, slots=True)
class LossWeights:
    """How much each part counts beside the task loss."""

    prune: float = 0.1  # eps of the paper
    delta: float = 4.0  # steepness of the prune loss, for (sum f - B) / phi
    symmetry: float = 1.0  # lambda of the paper: 0 punishes only too many maps, 1 too few as much
    rate: float = 0.0  # per bit and picture
    exit: float = 1.0  # the exit's input is detached, so this is but its learning rate
    distill: float = 0.5  # share of the task loss that the teacher takes over, if there is one
    # At 4 a member of 4 maps had 54 % after 2 epochs, at 1 it had 59 (VGG11, CIFAR-10, 6,000
    # pictures): the T^2 makes the gradient of a student far from its teacher too large.
    temperature: float = 1.0
    hint: float = 0.0  # of the features' variance that the bottleneck loses


@dataclass(frozen=True, slots=True)
class Losses:
    """One batch's losses, each a scalar: `total` is what to descend, the rest is for the log."""

    total: Tensor
    task: Tensor
    prune: Tensor
    rate_bits: Tensor  # mean bits per picture
    exit: Tensor
    distill: Tensor


def prune_loss(filter_P: Tensor, *, budget: int, delta: float, symmetry: float) -> Tensor:
    """Return exp(delta s) + symmetry exp(-delta s) with s = (sum f - budget) / phi.

    The paper has no 1 / phi: there the sum is up to 124 too large, and exp overflows at delta 1.
    Here s is within -1 to 1, and exp as large as it is for `delta`, see `recipe_checks.MAX_DELTA`.
    """
    excess = (filter_P.float().sum() - budget) / filter_P.shape[0]
    exponent = delta * excess
    return torch.exp(exponent) + symmetry * torch.exp(-exponent)


def distill_loss(student_BK: Tensor, teacher_BK: Tensor, *, temperature: float) -> Tensor:
    """Return the mean KL(teacher || student) over the batch, in nats, scaled by T^2.

    Both arguments are logits. The T^2 keeps the gradient size independent of the
    temperature, so one learning rate serves every budget.
    """
    log_student_BK = torch.log_softmax(student_BK / temperature, dim=1)
    teacher_prob_BK = torch.softmax(teacher_BK.detach() / temperature, dim=1)
    kl = functional.kl_div(log_student_BK, teacher_prob_BK, reduction="batchmean")
    return kl * temperature**2


def hint_loss(restored_BPHW: Tensor, features_BPHW: Tensor) -> Tensor:
    """Return the share of the features' variance that is not restored, a mean over the maps.

    The plain network's own features teach the bottleneck what its tail is used to (a "hint",
    arXiv 1412.6550); the gradient is that of the restored ones.
    """
    features_BPHW = features_BPHW.detach().float()
    error_P = (restored_BPHW.float() - features_BPHW).square().mean(dim=(0, 2, 3))
    return (error_P / (features_BPHW.var(dim=(0, 2, 3), correction=0) + MIN_VARIANCE)).mean()


def total_loss(
    logits_BK: Tensor,
    labels_B: Tensor,
    *,
    exit_logits_BK: Tensor,
    rate_bits_B: Tensor,
    filter_P: Tensor,
    budget: int,
    weights: LossWeights,
    teacher_BK: Tensor | None = None,
    hint: Tensor | None = None,
) -> Losses:
    """Add up what a member is trained for; `teacher_BK` are logits, `hint` is `hint_loss`."""
    task = functional.cross_entropy(logits_BK, labels_B)
    exit_task = functional.cross_entropy(exit_logits_BK, labels_B)
    prune = prune_loss(filter_P, budget=budget, delta=weights.delta, symmetry=weights.symmetry)
    rate_bits = rate_bits_B.mean()
    distill = torch.zeros_like(task)
    learned = task
    if teacher_BK is not None:
        distill = distill_loss(logits_BK, teacher_BK, temperature=weights.temperature)
        learned = (1.0 - weights.distill) * task + weights.distill * distill
    total = learned + weights.exit * exit_task + weights.prune * prune + weights.rate * rate_bits
    if hint is not None:
        total = total + weights.hint * hint
    return Losses(total, task, prune, rate_bits, exit_task, distill)
