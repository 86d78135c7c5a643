"""Lets a member start with mixtures of the maps before it; what it learns from the pictures."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

from headgate.train.learning.material import Lesson
from headgate.train.networks.bottleneck import Bottleneck
from headgate.train.networks.mixtures import Mixtures, mix, principal_mixtures
from headgate.train.networks.split_model import SplitModel

# Shapes: B batch, P maps at the split, C maps that cross, h x w in the code, N = B * h * w

FITTED_PIXELS = 1 << 16  # of code: pictures with so many are kept, to fit norms and decoder to


def start_with_mixtures(model: SplitModel, budget: int, lessons: Iterable[Lesson]) -> Mixtures:
    """Put the best `budget` mixtures in the place of the maps that cross, and return them.

    `model` must be a member with a bottleneck and its selection frozen. Ranges of its code are to
    be followed anew.
    """
    assert isinstance(model.bottleneck, Bottleneck)
    covariance_CC, sensitivity_CC, features_BPHW = _look(model, model.bottleneck, lessons)
    mixtures = principal_mixtures(covariance_CC, sensitivity_CC, num_mixtures=budget)
    mix(model.bottleneck, mixtures, features_BPHW)
    model.code_range.begin_anew(model.bottleneck.selected_C)
    return mixtures


def _look(
    model: SplitModel, bottleneck: Bottleneck, lessons: Iterable[Lesson]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the code's covariance before its sigmoid, the loss's sensitivity, and features.

    Sensitivity is the mean outer product [C, C] of the gradients of the task loss, by pixels.
    """
    was_training = model.training
    model.eval()
    sum_C = torch.zeros(bottleneck.budget, dtype=torch.float64)
    products_CC = torch.zeros(bottleneck.budget, bottleneck.budget, dtype=torch.float64)
    sensitivity_CC = torch.zeros_like(products_CC)
    kept: list[Tensor] = []
    num_pixels = 0
    for lesson in lessons:
        with torch.no_grad():
            features_BPHW = lesson.x_BCHW if lesson.at_split else model.features(lesson.x_BCHW)
            code_BChw = bottleneck.squeeze(features_BPHW)
        code_BChw.requires_grad_(True)
        logits_BK = model.tail(bottleneck.decode(torch.sigmoid(code_BChw)))
        loss = functional.cross_entropy(logits_BK, lesson.labels_B, reduction="sum")
        (gradient_BChw,) = torch.autograd.grad(loss, code_BChw)
        code_NC, gradient_NC = _pixels(code_BChw.detach()), _pixels(gradient_BChw)
        sum_C += code_NC.sum(dim=0)
        products_CC += code_NC.T @ code_NC
        sensitivity_CC += gradient_NC.T @ gradient_NC
        if num_pixels < FITTED_PIXELS:
            kept.append(features_BPHW)
        num_pixels += len(code_NC)
    model.train(was_training)
    mean_C = sum_C / num_pixels
    covariance_CC = products_CC / num_pixels - torch.outer(mean_C, mean_C)
    return covariance_CC, sensitivity_CC / num_pixels, torch.cat(kept)


def _pixels(x_BChw: Tensor) -> Tensor:
    """Return [N, C], float64 on the processor."""
    return x_BChw.double().cpu().transpose(1, 3).flatten(0, 2)
