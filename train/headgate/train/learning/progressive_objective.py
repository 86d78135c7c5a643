"""What a step of a progressive member minimises: a weighted sum over prefixes, and a penalty.

NAIR, for J layers in order of importance, R_j the share of the importance in the first j of them:

    loss = sum over j of w_j L_j + penalty * (1 - R_1) * (all importance now / at the start)
    w_J = 1 and w_j = (1 - R_j) ^ w_non for j < J

The penalty is the summed importance of all layers but the first. It is in units of all importance
at the start, so that one weight suits any network, and the gradient is that of the plain sum.

The shares R are those before the training: then the loss stays the same while the penalty moves
importance to the first layer. Shares of each step (`weights_from`) would take that layer's weight
from it as it grows. No gradient goes through the weights either way.

CLIO has no penalty, and for weights the chances that the link carries just that prefix.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from headgate.train.learning.loop import StepResult
from headgate.train.learning.losses import Losses, LossWeights, hint_loss
from headgate.train.learning.material import Lesson
from headgate.train.learning.objectives import share_right, teachers_answers, weights_now
from headgate.train.networks.backbones import PlainModel
from headgate.train.networks.progressive_model import ProgressiveModel
from headgate.train.progressive import ProgressiveConfig

# Shapes: B batch, K classes, C maps that cross, J layers, N prefixes of a step


def shares_J(importance_C: Tensor, masks_JC: Tensor) -> Tensor:
    """Return the share R of the importance that each prefix has; the last is 1."""
    return (masks_JC * importance_C).sum(dim=1) / importance_C.sum()


def nair_weights_J(shares_J: Tensor, *, w_non: float) -> Tensor:
    """Return how much the loss of each prefix counts."""
    weights_J = (1.0 - shares_J).clamp(min=0.0) ** w_non
    return torch.cat([weights_J[:-1], torch.ones_like(weights_J[-1:])])


def penalty_term(importance_C: Tensor, masks_JC: Tensor, *, at_start: float) -> Tensor:
    """Return the importance of all layers but the first, in units of all importance at start."""
    return ((1.0 - masks_JC[0]) * importance_C).sum() / at_start


def losses_N(
    logits_NBK: Tensor, labels_B: Tensor, taught_BK: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return each prefix's cross entropy, and its divergence from the teacher (0 without one)."""
    num, batch, _ = logits_NBK.shape
    task_NB = functional.cross_entropy(
        logits_NBK.flatten(0, 1).float(), labels_B.repeat(num), reduction="none"
    ).view(num, batch)
    task_N = task_NB.mean(dim=1)
    if taught_BK is None:
        return task_N, torch.zeros_like(task_N)
    log_student_NBK = torch.log_softmax(logits_NBK.float(), dim=2)
    log_taught_BK = torch.log_softmax(taught_BK.detach().float(), dim=1)
    kl_NBK = log_taught_BK.exp() * (log_taught_BK - log_student_NBK)
    return task_N, kl_NBK.sum(dim=2).mean(dim=1)


def progressive_objective(
    model: ProgressiveModel,
    config: ProgressiveConfig,
    *,
    weights: LossWeights,
    levels: tuple[int, ...],
    teacher: PlainModel | None,
) -> ProgressiveObjective:
    """Return the objective of a member; the importance before its training is the unit."""
    device = model.masks_JC.device
    fixed_weights_J = None
    if config.method == "clio":
        fixed_weights_J = torch.tensor(config.prefix_weights, device=device)
    elif config.weights_from == "start":
        before_C = torch.tensor(model.worth_before or model.importance_before, device=device)
        shares = shares_J(before_C, model.masks_JC)
        fixed_weights_J = nair_weights_J(shares, w_non=config.w_non)
    return ProgressiveObjective(
        module=model,
        config=config,
        weights=weights,
        levels=levels,
        importance_at_start=sum(model.importance_before),
        fixed_weights_J=fixed_weights_J,
        teacher=teacher,
    )


@dataclass(frozen=True, slots=True)
class ProgressiveObjective:
    """All losses of a progressive member; `module` is the member, the model called may wrap it.

    With `prefixes_per_step` so many prefixes are drawn beside the whole, and count for those left
    out: the expectation is that of the whole sum.
    """

    module: ProgressiveModel
    config: ProgressiveConfig
    weights: LossWeights
    levels: tuple[int, ...]
    importance_at_start: float
    fixed_weights_J: Tensor | None = None  # on the training device; None: those of each step
    teacher: PlainModel | None = None

    def __call__(self, model: nn.Module, lesson: Lesson, choices: random.Random) -> StepResult:
        levels = choices.choice(self.levels) if self.config.quantise else None
        prefixes, factor = self._draw(choices)
        out = model(lesson.x_BCHW, levels=levels, at_split=lesson.at_split, prefixes=prefixes)
        num, labels_B = len(prefixes), lesson.labels_B
        logits_NBK = out.logits_BK.view(num, len(labels_B), -1)
        taught_BK = teachers_answers(lesson, teacher=self.teacher, weights=self.weights)
        share = 0.0 if taught_BK is None else self.weights.distill
        task_N, distill_N = losses_N(logits_NBK, labels_B, taught_BK)
        learned_N = (1.0 - share) * task_N + share * distill_N
        importance_C = self.module.importance_C(folded=self.config.importance == "folded")
        weights_J = self._weights_J(importance_C.detach())
        weighted_N = torch.stack([weights_J[prefix - 1] for prefix in prefixes]) * learned_N
        total = weighted_N[-1] + factor * weighted_N[:-1].sum()
        penalty = torch.zeros_like(total)
        if self.config.method == "nair" and self.config.penalty > 0:
            penalty = penalty_term(
                importance_C, self.module.masks_JC, at_start=self.importance_at_start
            )
            total = total + self.config.penalty * penalty
        exit_task = functional.cross_entropy(out.exit_logits_BK, labels_B)
        weights = weights_now(self.weights, self.module)
        rate_bits = out.rate_bits_B.mean()
        total = total + weights.exit * exit_task + weights.rate * rate_bits
        if weights.hint > 0:
            whole_BPHW = out.restored_BPHW.chunk(num)[-1]
            total = total + weights.hint * hint_loss(whole_BPHW, out.features_BPHW)
        losses = Losses(
            total=total,
            task=task_N[-1],
            prune=penalty,
            rate_bits=rate_bits,
            exit=exit_task,
            distill=distill_N[-1],
        )
        return StepResult(losses, share_right(logits_NBK[-1], labels_B))

    def _draw(self, choices: random.Random) -> tuple[tuple[int, ...], float]:
        """Return the prefixes of a step, the whole last, and what those before it count for."""
        whole = self.module.num_layers
        number = self.config.prefixes_per_step
        if number is None or number >= whole - 1:
            return tuple(range(1, whole + 1)), 1.0
        drawn = sorted(choices.sample(range(1, whole), number))
        return (*drawn, whole), (whole - 1) / number

    def _weights_J(self, importance_C: Tensor) -> Tensor:
        if self.fixed_weights_J is not None:
            return self.fixed_weights_J
        shares = shares_J(importance_C, self.module.masks_JC)
        return nair_weights_J(shares, w_non=self.config.w_non)
