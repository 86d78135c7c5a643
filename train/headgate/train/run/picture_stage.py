"""Fine-tunes a copy of the plain network on pictures as offloading devices send them.

JPEG and WebP of low quality look like nothing the plain network has seen. The copy sees every
training picture compressed, each epoch in another format and quality, and learns its label. (What
the plain network says of the clean picture made a worse teacher, see docs/log.md.) The plain
network itself stays as it is.

A few training pictures are held out: neither network was tuned on their compressed form, so export
can ask them which of the two is to answer at a quality, and the validation pictures stay unasked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from headgate.train.folder.checkpoints import Checkpoint
from headgate.train.learning.material import Deal, Lesson, Pictures
from headgate.train.learning.objectives import BackboneObjective, Evaluation, evaluate_backbone
from headgate.train.networks.backbones import PlainModel
from headgate.train.networks.layout import lay_channels_last
from headgate.train.pictures.batches import Augmentation
from headgate.train.pictures.compressed import compress_pictures
from headgate.train.pictures.data import TrainingData
from headgate.train.run.setting import Setting
from headgate.train.run.side_stage import SideStage
from headgate.train.run.stage_models import trained_network
from headgate.train.run.stage_work import Teaching, WeightsFile
from headgate.train.seeds import derive_seed
from headgate.train.stages import Stage

# Shapes: N pictures, C = 3 colours, H height, W width

HELD_OUT_STRIDE = 10  # one in ten training pictures is held out,
MAX_HELD_OUT = 1000  # or fewer of a large data set
NUM_VARIANTS = 4  # compressed forms of each picture; later epochs see them again
MAX_VARIANT_BYTES = 2 << 30  # of all kept forms in memory; what exceeds it is compressed anew


def held_out_pictures(num_pictures: int, *, drawn: bool = True) -> npt.NDArray[np.int64]:
    """Return the places of the training pictures that no network is tuned on, ascending.

    They are the same ones every time. Earlier versions took them at even distances (`drawn` False):
    where ten classes take turns, all of one class, which the tuned network then never saw.
    """
    stride = max(HELD_OUT_STRIDE, -(-num_pictures // MAX_HELD_OUT))
    if not drawn:
        return np.arange(stride - 1, num_pictures, stride)
    order = np.random.default_rng(num_pictures).permutation(num_pictures)
    return np.sort(order[: num_pictures // stride])


class CompressedPictures:
    """Deals out compressed pictures; each epoch has another form of each."""

    def __init__(
        self,
        data: TrainingData,
        *,
        augmentation: Augmentation | None,
        seed: int,
        threads: int = 1,
    ) -> None:
        kept_N = torch.ones(len(data.train_labels_N), dtype=torch.bool)
        kept_N[torch.from_numpy(held_out_pictures(len(kept_N)))] = False
        kept_N = kept_N.to(data.train_labels_N.device)
        self._data = replace(
            data,
            train_pictures_NCHW=data.train_pictures_NCHW[kept_N],
            train_labels_N=data.train_labels_N[kept_N],
        )
        self._augmentation = augmentation
        self._seed = seed
        self._threads = threads
        self._variants: dict[int, Tensor] = {}

    @property
    def num_pictures(self) -> int:
        return len(self._data.train_labels_N)

    def deal(self, deal: Deal) -> Iterator[Lesson]:
        """Yield batches of pictures that were compressed first and augmented then."""
        seen_NCHW = self._variant(deal.epoch % NUM_VARIANTS)
        seen = replace(self._data, train_pictures_NCHW=seen_NCHW)
        return Pictures(seen, self._augmentation).deal(deal)

    def _variant(self, number: int) -> Tensor:
        if number in self._variants:
            return self._variants[number]
        made_NCHW = compressed(
            self._data.train_pictures_NCHW, seed=[self._seed, number], threads=self._threads
        )
        if (len(self._variants) + 1) * made_NCHW.numel() <= MAX_VARIANT_BYTES:
            self._variants[number] = made_NCHW
        return made_NCHW


class PictureStage(SideStage):
    """The stage `pictures`."""

    def __init__(self, stage: Stage, setting: Setting) -> None:
        """Read the plain network twice, once to tune and once to compare with."""
        super().__init__(stage, setting, _read_plain(setting))
        plan = setting.plan
        self._plain = _read_plain(setting).eval()
        threads = plan.config.threads or torch.get_num_threads()
        self._material = CompressedPictures(
            plan.data,
            augmentation=plan.augmentation,
            seed=derive_seed(plan.config.seed, "compressed pictures"),
            threads=threads,
        )
        seed = derive_seed(plan.config.seed, "compressed validation pictures")
        seen_NCHW = compressed(plan.data.val_pictures_NCHW, seed=[seed], threads=threads)
        self._data = replace(plan.data, val_pictures_NCHW=seen_NCHW)

    @property
    def num_pictures(self) -> int:
        return self._material.num_pictures

    def prepare(self) -> Teaching:
        """Return compressed pictures and cross entropy."""
        return Teaching(self._material, BackboneObjective())

    def evaluate(self) -> Evaluation:
        """Measure on validation pictures compressed by the same mix."""
        return evaluate_backbone(self._setting.fabric, self.model, self._data)

    def evaluate_plain(self) -> Evaluation:
        """Measure the plain network on those."""
        return evaluate_backbone(self._setting.fabric, self._plain, self._data)

    def entered(self, state: Checkpoint, weights: WeightsFile) -> Checkpoint:
        """Return the state with the network, and how its held-out pictures were chosen."""
        entered = super().entered(state, weights)
        side = replace(entered.sides[self.stage.id], draws_held_out=True)
        return replace(entered, sides=entered.sides | {self.stage.id: side})


def _read_plain(setting: Setting) -> PlainModel:
    plain = trained_network(setting).to(setting.fabric.device)
    lay_channels_last(plain)
    return plain


def compressed(pictures_NCHW: Tensor, *, seed: list[int], threads: int) -> Tensor:
    """Return pictures as an offloading device would send them, on the device they were on."""
    made_NCHW = compress_pictures(
        pictures_NCHW.cpu().numpy(), draws=np.random.default_rng(seed), threads=threads
    )
    return torch.from_numpy(made_NCHW).to(pictures_NCHW.device)
