"""Which maps a smaller member starts with: mixtures of those of the member before, or some of them.

principal   mixtures of all of them, from which they can be restored with the least loss
            (`mixing`); the other four ways rank them, and the first ones stay:
filter      the paper's (arXiv 2311.05739): a filter drawn at random, which then learns for an
            epoch which maps to keep
importance  what the loss would gain if a map stood still: gradient times deviation from the
            mean, summed over pixels, its size summed over pictures (Taylor, arXiv 1611.06440)
nair        the norm of the convolution that makes the map, from the weights alone
weights     how far a map moves the restored features, from the weights alone
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

from headgate.train.learning.material import Lesson
from headgate.train.networks.bottleneck import Bottleneck
from headgate.train.networks.split_model import SplitModel
from headgate.train.recipe import SELECTIONS

# Shapes: B batch, P all phi maps, C maps that cross, h x w in the code, K classes

NUM_PICTURES = 1024  # that `importance` looks at
BATCH = 64


def map_scores_P(method: str, model: SplitModel, lessons: Iterable[Lesson]) -> Tensor | None:
    """Return a score for each map, higher is better; None if the filter is to find out."""
    assert method in SELECTIONS, method
    if method == "filter":
        return None
    assert isinstance(model.bottleneck, Bottleneck)
    if method == "nair":
        norm_P: Tensor = model.bottleneck.encoder.weight.detach().flatten(1).norm(dim=1)
        return norm_P
    if method == "weights":
        return model.bottleneck.importance_P()
    return taylor_P(model, lessons)


def taylor_P(model: SplitModel, lessons: Iterable[Lesson]) -> Tensor:
    """Return how much the task loss depends on each map that crosses now; 0 for the others.

    The model must be a member with its selection frozen; nothing of it is changed.
    """
    was_training = model.training
    model.eval()
    bottleneck = model.bottleneck
    score_C = torch.zeros(bottleneck.budget, device=bottleneck.selected_C.device)
    for lesson in lessons:
        with torch.no_grad():
            features_BPHW = lesson.x_BCHW if lesson.at_split else model.features(lesson.x_BCHW)
            code_BChw = bottleneck.encode(features_BPHW)
        code_BChw.requires_grad_(True)
        logits_BK = model.tail(bottleneck.decode(code_BChw))
        loss = functional.cross_entropy(logits_BK, lesson.labels_B, reduction="sum")
        (gradient_BChw,) = torch.autograd.grad(loss, code_BChw)
        code_BChw = code_BChw.detach()
        deviation_BChw = code_BChw - code_BChw.mean(dim=(0, 2, 3), keepdim=True)
        score_C += (gradient_BChw * deviation_BChw).sum(dim=(2, 3)).abs().sum(dim=0)
    model.train(was_training)
    score_P = torch.zeros(bottleneck.channels, device=score_C.device)
    score_P[bottleneck.selected_C] = score_C
    return score_P
