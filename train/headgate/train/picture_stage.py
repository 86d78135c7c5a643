"""Fine-tunes a copy of the plain network on pictures as offloading devices send them.

JPEG and WebP of low quality look like nothing the plain network has seen. The copy sees every
training picture compressed, each epoch in another format and quality, and learns its label and
what the plain network says of the clean picture. The plain network itself stays as it is.

A few training pictures are held out: neither network was tuned on their compressed form, so export
can ask them which of the two is to answer at a quality, and the validation pictures stay unasked.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from headgate.train.backbones import PlainModel
from headgate.train.compressed import compress_pictures
from headgate.train.data import Augmentation, TrainingData, as_floats, batches
from headgate.train.loop import Objective, StepResult, derive_seed
from headgate.train.losses import Losses, distill_loss
from headgate.train.material import Deal, Lesson, Material
from headgate.train.objectives import Evaluation, evaluate_backbone, share_right
from headgate.train.shared_head import augmentation_of
from headgate.train.side_stage import Setting
from headgate.train.stage_models import BACKBONE, trained_network

# Shapes: N pictures, B batch, C = 3 colours, H height, W width, K classes

HELD_OUT_STRIDE = 10  # every tenth training picture is held out,
MAX_HELD_OUT = 1000  # or fewer of a large data set
NUM_VARIANTS = 4  # compressed forms of each picture; later epochs see them again
MAX_VARIANT_BYTES = 2 << 30  # of all kept forms in memory; what exceeds it is compressed anew
TEMPERATURE = 4.0


def held_out_pictures(num_pictures: int) -> npt.NDArray[np.int64]:
    """Return the places of the training pictures that no network is tuned on, spread over all."""
    stride = max(HELD_OUT_STRIDE, -(-num_pictures // MAX_HELD_OUT))
    return np.arange(stride - 1, num_pictures, stride)


class CompressedPictures:
    """Deals out compressed pictures, with what a teacher says of the clean ones."""

    def __init__(
        self,
        data: TrainingData,
        *,
        augmentation: Augmentation | None,
        seed: int,
        teach: Callable[[Tensor], Tensor] | None,
        threads: int = 1,
    ) -> None:
        """`teach` takes clean pictures [B, 3, H, W] in 0..1 and returns logits [B, K]."""
        kept_N = torch.ones(len(data.train_labels_N), dtype=torch.bool)
        kept_N[torch.from_numpy(held_out_pictures(len(kept_N)))] = False
        kept_N = kept_N.to(data.train_labels_N.device)
        self._clean_NCHW = data.train_pictures_NCHW[kept_N]
        self._labels_N = data.train_labels_N[kept_N]
        self._augmentation = augmentation
        self._seed = seed
        self._teach = teach
        self._threads = threads
        self._variants: dict[int, Tensor] = {}

    @property
    def num_pictures(self) -> int:
        return len(self._labels_N)

    def deal(self, deal: Deal) -> Iterator[Lesson]:
        """Yield batches of compressed pictures, moved and mirrored as their clean ones are."""
        pairs = zip(
            self._batches(self._variant(deal.epoch % NUM_VARIANTS), deal),
            self._batches(self._clean_NCHW, deal),
            strict=True,
        )
        for (seen_BCHW, labels_B), (clean_BCHW, _) in islice(pairs, deal.first_step, None):
            taught_BK = None if self._teach is None else self._teach(as_floats(clean_BCHW))
            yield Lesson(as_floats(seen_BCHW), labels_B, taught_BK=taught_BK)

    def _batches(self, pictures_NCHW: Tensor, deal: Deal) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in batches(
            pictures_NCHW,
            self._labels_N,
            batch_size=deal.batch_size,
            seed=deal.seed,
            epoch=deal.epoch,
            rank=deal.rank,
            world_size=deal.world_size,
            augmentation=self._augmentation,
        ):
            yield batch.pictures_BCHW, batch.labels_B

    def _variant(self, number: int) -> Tensor:
        if number in self._variants:
            return self._variants[number]
        made_NCHW = compressed(self._clean_NCHW, seed=[self._seed, number], threads=self._threads)
        if (len(self._variants) + 1) * made_NCHW.numel() <= MAX_VARIANT_BYTES:
            self._variants[number] = made_NCHW
        return made_NCHW


@dataclass(frozen=True, slots=True)
class TuningObjective:
    """Cross entropy, `distill` of which gives way to the teacher's answers where there are any."""

    distill: float

    def __call__(self, model: nn.Module, lesson: Lesson, choices: random.Random) -> StepResult:
        logits_BK = model(lesson.x_BCHW)
        task = functional.cross_entropy(logits_BK, lesson.labels_B)
        nothing = torch.zeros_like(task)
        total, distill = task, nothing
        if lesson.taught_BK is not None:
            distill = distill_loss(logits_BK, lesson.taught_BK, temperature=TEMPERATURE)
            total = (1 - self.distill) * task + self.distill * distill
        losses = Losses(total, task, nothing, nothing, nothing, distill)
        return StepResult(losses, share_right(logits_BK, lesson.labels_B))


class PictureStage:
    """The stage `pictures`; a SideStage."""

    def __init__(self, setting: Setting) -> None:
        """Read the plain network twice: once to tune, once to teach. Compress what measures."""
        fabric, plan = setting.fabric, setting.plan
        self._fabric = fabric
        self._plain = self._read(setting).eval()
        self._plain.requires_grad_(False)
        self._model = self._read(setting)
        share = plan.config.distill_share
        threads = plan.config.threads or torch.get_num_threads()
        self._material = CompressedPictures(
            plan.data,
            augmentation=augmentation_of(plan),
            seed=derive_seed(plan.config.seed, "compressed pictures"),
            teach=self._teach if share > 0 else None,
            threads=threads,
        )
        seed = derive_seed(plan.config.seed, "compressed validation pictures")
        seen_NCHW = compressed(plan.data.val_pictures_NCHW, seed=[seed], threads=threads)
        self._data = replace(plan.data, val_pictures_NCHW=seen_NCHW)
        self._objective = TuningObjective(share)

    @property
    def model(self) -> nn.Module:
        return self._model

    @property
    def material(self) -> Material:
        return self._material

    @property
    def num_pictures(self) -> int:
        return self._material.num_pictures

    @property
    def objective(self) -> Objective:
        return self._objective

    @property
    def macs(self) -> tuple[int, int]:
        return (0, 0)

    def evaluate(self) -> Evaluation:
        """Measure on validation pictures compressed by the same mix."""
        return evaluate_backbone(self._fabric, self._model, self._data)

    def evaluate_plain(self) -> Evaluation:
        """Measure the plain network on those."""
        return evaluate_backbone(self._fabric, self._plain, self._data)

    @torch.no_grad()
    def _teach(self, x_BCHW: Tensor) -> Tensor:
        with self._fabric.autocast():
            taught_BK: Tensor = self._plain(x_BCHW)
        return taught_BK.float()

    def _read(self, setting: Setting) -> PlainModel:
        plain = trained_network(setting.plan, setting.finished[BACKBONE], folder=setting.folder)
        return plain.to(setting.fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def compressed(pictures_NCHW: Tensor, *, seed: list[int], threads: int) -> Tensor:
    """Return pictures as an offloading device would send them, on the device they were on."""
    made_NCHW = compress_pictures(
        pictures_NCHW.cpu().numpy(), draws=np.random.default_rng(seed), threads=threads
    )
    return torch.from_numpy(made_NCHW).to(pictures_NCHW.device)
