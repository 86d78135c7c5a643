"""What a step minimises, for the plain network and for a member, and how good each of them is."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional

from headgate.train.learning.feature_cache import FeatureCache
from headgate.train.learning.loop import StepResult, sum_over_processes
from headgate.train.learning.losses import Losses, LossWeights, hint_loss, total_loss
from headgate.train.learning.material import Lesson
from headgate.train.networks.backbones import PlainModel
from headgate.train.networks.split_model import SplitModel, SplitOutput
from headgate.train.pictures.batches import as_floats, val_batches
from headgate.train.pictures.data import TrainingData

# Shapes: B batch, C channels, H height, W width, K classes, L numbers of levels, S sums

EVALUATION_BATCH = 256


@dataclass(frozen=True, slots=True)
class BackboneObjective:
    """Cross entropy, and nothing else."""

    def __call__(self, model: nn.Module, lesson: Lesson, choices: random.Random) -> StepResult:
        logits_BK = model(lesson.x_BCHW)
        task = functional.cross_entropy(logits_BK, lesson.labels_B)
        nothing = torch.zeros_like(task)
        losses = Losses(
            total=task,
            task=task,
            prune=nothing,
            rate_bits=nothing,
            exit=nothing,
            distill=nothing,
        )
        return StepResult(losses, share_right(logits_BK, lesson.labels_B))


@dataclass(frozen=True, slots=True)
class MemberObjective:
    """All of a member's losses, at a number of levels drawn for each batch.

    `module` is the member itself, whose filter is read; the model that is called may be wrapped.
    """

    module: SplitModel
    weights: LossWeights
    levels: tuple[int, ...]
    teacher: PlainModel | None = None

    def __call__(self, model: nn.Module, lesson: Lesson, choices: random.Random) -> StepResult:
        levels = choices.choice(self.levels)
        out = model(lesson.x_BCHW, levels=levels, at_split=lesson.at_split)
        losses = total_loss(
            out.logits_BK,
            lesson.labels_B,
            exit_logits_BK=out.exit_logits_BK,
            rate_bits_B=out.rate_bits_B,
            filter_P=self.module.bottleneck.filter_P,
            budget=self.module.bottleneck.budget,
            weights=weights_now(self.weights, self.module),
            teacher_BK=teachers_answers(lesson, teacher=self.teacher, weights=self.weights),
            hint=self._hint(out),
        )
        return StepResult(losses, share_right(out.logits_BK, lesson.labels_B))

    def _hint(self, out: SplitOutput) -> Tensor | None:
        if self.weights.hint == 0:
            return None
        return hint_loss(out.restored_BPHW, out.features_BPHW)


def weights_now(weights: LossWeights, module: SplitModel) -> LossWeights:
    """Return the weights; bits count only once the ranges they are counted in are held."""
    if weights.rate == 0 or not module.ranges_follow:
        return weights
    return replace(weights, rate=0.0)


@torch.no_grad()
def teachers_answers(
    lesson: Lesson, *, teacher: PlainModel | None, weights: LossWeights
) -> Tensor | None:
    """Return a teacher's logits [B, K] for a lesson; None where nothing is learnt from one."""
    if weights.distill == 0:
        return None
    if lesson.taught_BK is not None:
        return lesson.taught_BK
    if teacher is None:
        return None
    taught_BK: Tensor = teacher(lesson.x_BCHW)
    return taught_BK


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Means over the validation pictures; accuracies 0..1."""

    accuracy: float
    exit_accuracy: float = 0.0
    rate_bits: float = 0.0  # per picture; 0 when nothing is quantised


@torch.no_grad()
def evaluate_backbone(fabric: Fabric, model: nn.Module, data: TrainingData) -> Evaluation:
    """Measure the plain network on the validation pictures, in float32."""
    model.eval()
    right = torch.zeros((), device=fabric.device)
    for x_BCHW, labels_B in _pictures(fabric, data):
        right += _num_right(model(x_BCHW), labels_B)
    return Evaluation(accuracy=_per_picture(fabric, right, data)[0])


@torch.no_grad()
def evaluate_member(
    fabric: Fabric,
    model: SplitModel,
    data: TrainingData,
    *,
    levels: Sequence[int | None],
    cache: FeatureCache | None = None,
) -> list[Evaluation]:
    """Measure a member in float32, quantised to each of `levels` values; None is not at all.

    The head runs once for all of them, or not at all if `cache` holds what it makes.
    """
    model.eval()
    sums_LS = torch.zeros(len(levels), 3, device=fabric.device)
    for features_BPHW, labels_B in val_features(fabric, model, data, cache=cache):
        for place, number in enumerate(levels):
            out = model(features_BPHW, levels=number, at_split=True)
            sums_LS[place] += torch.stack(
                [
                    _num_right(out.logits_BK, labels_B),
                    _num_right(out.exit_logits_BK, labels_B),
                    out.rate_bits_B.sum(),
                ]
            )
    shares = _per_picture(fabric, sums_LS, data)
    return [Evaluation(*shares[3 * place : 3 * place + 3]) for place in range(len(levels))]


def _pictures(fabric: Fabric, data: TrainingData) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield this process's share of the validation pictures [B, 3, H, W], 0..1, and labels [B]."""
    for batch in val_batches(
        data.val_pictures_NCHW,
        data.val_labels_N,
        batch_size=EVALUATION_BATCH,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
    ):
        yield as_floats(batch.pictures_BCHW), batch.labels_B


def val_features(
    fabric: Fabric, model: SplitModel, data: TrainingData, *, cache: FeatureCache | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the features at the split of this process's share, and labels."""
    if cache is None:
        for x_BCHW, labels_B in _pictures(fabric, data):
            yield model.features(x_BCHW), labels_B
        return
    for lesson in cache.validation(
        batch_size=EVALUATION_BATCH, rank=fabric.global_rank, world_size=fabric.world_size
    ):
        yield lesson.x_BCHW, lesson.labels_B


def _per_picture(fabric: Fabric, sums_S: Tensor, data: TrainingData) -> list[float]:
    total = sum_over_processes(fabric, sums_S).reshape(-1)
    return [float(value) / len(data.val_labels_N) for value in total.tolist()]


def share_right(logits_BK: Tensor, labels_B: Tensor) -> Tensor:
    """Return the share of right answers, a scalar."""
    return (logits_BK.detach().argmax(dim=1) == labels_B).float().mean()


def _num_right(logits_BK: Tensor, labels_B: Tensor) -> Tensor:
    return (logits_BK.argmax(dim=1) == labels_B).float().sum()
