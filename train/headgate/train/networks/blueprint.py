"""How to build a run's networks again: everything that decides their architecture, as one value."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from headgate.profiles.manifest import InputSpec
from headgate.profiles.parse import ADDED
from headgate.train.networks.backbones import Normalise, PlainModel, build_backbone
from headgate.train.networks.progressive_model import ProgressiveModel, build_progressive_model
from headgate.train.networks.slim_head import SlimHead, build_slim_head
from headgate.train.networks.split_model import (
    CutNetwork,
    SplitModel,
    build_split_model,
    cut_network,
)
from headgate.train.networks.splits import SplitPoint


@dataclass(frozen=True, slots=True)
class Blueprint:
    """The architecture of a run; weights are elsewhere."""

    model: str  # a built-in name, or package.module:callable
    width: float  # multiplies the channels of a built-in model
    split: str  # the layer after which the network is cut; "0" is the picture
    resolution_factor: int
    num_classes: int
    num_maps: int  # phi: maps at the split
    levels: tuple[int, ...]  # that training draws from: the rate term has a prior for each
    input: InputSpec
    mean: tuple[float, ...]  # per colour of pictures in 0..1
    std: tuple[float, ...]
    slim_head: float | None = field(default=None, metadata=ADDED)  # share of the head's channels
    plain_cut: bool = field(default=False, metadata=ADDED)  # progressive members have no bottleneck

    @property
    def size_px(self) -> tuple[int, int]:
        return (self.input.height_px, self.input.width_px)

    def example(self) -> Tensor:
        """Return one black picture [1, 3, H, W] of the input's size, to trace with."""
        return torch.zeros(1, 3, *self.size_px)

    def build_backbone(self) -> PlainModel:
        """Return the plain network, fresh: pictures [B, 3, H, W] in 0..1 to logits [B, K]."""
        network = build_backbone(
            self.model, num_classes=self.num_classes, input_px=self.size_px, width=self.width
        )
        return PlainModel(self.build_normalise(), network)

    def build_normalise(self) -> Normalise:
        """Return what every network of the run begins with."""
        return Normalise(self.mean, self.std)

    def build_split_model(self, *, budget: int, plain: PlainModel | None = None) -> SplitModel:
        """Return a member, fresh or around the weights of `plain`, which it shares, not copies."""
        plain = plain or self.build_backbone()
        return build_split_model(
            self._cut(plain),
            resolution_factor=self.resolution_factor,
            budget=budget,
            levels_choices=self.levels,
        )

    def build_progressive_model(
        self, *, budget: int, plain: PlainModel | None = None, num_extra_tails: int = 0
    ) -> ProgressiveModel:
        """Return a progressive member, fresh or around `plain`; its layers are yet to be set."""
        plain = plain or self.build_backbone()
        return build_progressive_model(
            self._cut(plain),
            split=self.split,
            bottleneck=not self.plain_cut,
            resolution_factor=self.resolution_factor,
            budget=budget,
            levels_choices=self.levels,
            num_extra_tails=num_extra_tails,
        )

    def _cut(self, plain: PlainModel) -> CutNetwork:
        return cut_network(
            plain.network,
            split=self.split,
            example_BCHW=self.example(),
            num_classes=self.num_classes,
            mean=self.mean,
            std=self.std,
            make_head=None if self.slim_head is None else self.build_slim_head,
        )

    def build_slim_head(self, whole: SplitPoint, *, signed: bool) -> tuple[SlimHead, int]:
        """Return the fresh slim head of this run's members and its multiply-adds."""
        assert self.slim_head is not None
        return build_slim_head(
            self.model,
            slim=self.slim_head,
            width=self.width,
            num_classes=self.num_classes,
            whole=whole,
            signed=signed,
            example_BCHW=self.example(),
        )
