"""A member that answers from any prefix of its layers: zeros stand for the maps that did not come.

One tail serves all prefixes. While training, the prefixes of a batch are stacked behind one another
and go through the tail as one large batch: that is exact, takes one pass where a loop takes one for
each, and batch norm sees in training what it averages for later, all prefixes mixed. (A loop would
normalise each prefix by its own statistics, which no evaluation can.)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from headgate.train.networks.bottleneck import Bottleneck, CentredBottleneck
from headgate.train.networks.crossing import Crossing, PlainCut
from headgate.train.networks.importance import MakingFilter, importance_P, making_filters
from headgate.train.networks.quantiser import OBSERVED_PICTURES
from headgate.train.networks.rate import DEFAULT_LEVELS
from headgate.train.networks.split_model import CutNetwork, SplitModel, SplitOutput
from headgate.train.progressive import check_order

# Shapes: B batch, N prefixes, J layers, P maps at the split, C maps that cross, h x w in the code

_OWN = ("tails.", "bottleneck.centre_P")  # what a member without layers does not have


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """In which order the maps that cross are sent, and how many make a layer."""

    order: tuple[int, ...]  # indices of maps, a permutation of those selected
    layers: tuple[int, ...]  # maps of each layer


class ProgressiveModel(SplitModel):
    """A SplitModel whose maps come in layers, the most important first."""

    masks_JC: Tensor

    def __init__(
        self, *, filters: tuple[MakingFilter, ...], num_extra_tails: int = 0, **parts: Any
    ) -> None:
        """Take the parts of a SplitModel; `filters` make the maps that cross.

        With extra tails there is one for each prefix but the whole, which has `tail`.
        """
        super().__init__(**parts)
        self.filters = filters
        self.tails = nn.ModuleList(copy.deepcopy(self.tail) for _ in range(num_extra_tails))
        self.layer_plan: LayerPlan | None = None
        self.importance_before: tuple[float, ...] = ()  # its training, of the maps that cross
        self.worth_before: tuple[float, ...] = ()  # the same of mixtures
        self.register_buffer("masks_JC", torch.ones(1, self.budget), persistent=False)

    @property
    def num_layers(self) -> int:
        return len(self.masks_JC)

    @property
    def many_tails(self) -> bool:
        return len(self.tails) > 0

    def set_layers(self, plan: LayerPlan) -> None:
        """Fix the order and the layers; the selection must be frozen."""
        assert self.selected is not None
        check_order(plan.order, self.selected, where="the member's layers")
        assert sum(plan.layers) == self.budget, "layers hold all maps"
        place = {index: place for place, index in enumerate(plan.order)}
        rank_C = torch.tensor([place[index] for index in self.selected])
        ends_J = torch.tensor(list(accumulate(plan.layers)))
        masks_JC = (rank_C[None, :] < ends_J[:, None]).float()
        self.masks_JC = masks_JC.to(self.masks_JC.device)
        self.layer_plan = plan
        assert not self.tails or len(self.tails) == len(plan.layers) - 1

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights of a member that has no layers; every tail begins as its tail."""
        own = {name: value for name, value in self.state_dict().items() if name.startswith(_OWN)}
        self.load_state_dict(own | dict(weights))
        for tail in self.tails:
            tail.load_state_dict(self.tail.state_dict())

    def importance_C(self, *, folded: bool) -> Tensor:
        """Return the importance of the maps that cross, ascending by index; gradients pass."""
        return importance_P(self.filters, folded=folded)[self.bottleneck.selected_C]

    def forward(
        self,
        x_BCHW: Tensor,
        *,
        levels: int | None,
        at_split: bool = False,
        prefixes: Sequence[int] | None = None,
    ) -> SplitOutput:
        """Run pictures, or features `at_split`, as a SplitModel does: with all layers.

        With `prefixes`, numbers of layers from 1, the logits and the restored features are those of
        each prefix, stacked: the first prefix of all pictures, then the second.
        """
        if prefixes is None:
            return super().forward(x_BCHW, levels=levels, at_split=at_split)
        features_BPHW = x_BCHW if at_split else self.features(x_BCHW)
        exit_logits_BK = self.exit_head(features_BPHW.detach())
        code_BCHW = self.bottleneck.encode(features_BPHW)
        received_BCHW, rate_bits_B = self.transmit(code_BCHW, levels)
        restored_XPHW = self.bottleneck.decode(self._stacked(received_BCHW, prefixes))
        return SplitOutput(
            self._answers(restored_XPHW, prefixes),
            exit_logits_BK,
            code_BCHW,
            rate_bits_B,
            features_BPHW,
            restored_XPHW,
        )

    def _stacked(self, received_BCHW: Tensor, prefixes: Sequence[int]) -> Tensor:
        """Return [N * B, C, h, w]: the code once for each prefix, with zeros for what is absent."""
        masks_NC = torch.stack([self.masks_JC[prefix - 1] for prefix in prefixes])
        masks_N1C11 = masks_NC.to(received_BCHW.dtype)[:, None, :, None, None]
        stacked_XCHW = (received_BCHW[None] * masks_N1C11).flatten(0, 1)
        return stacked_XCHW.contiguous(memory_format=torch.channels_last)

    def _answers(self, restored_XPHW: Tensor, prefixes: Sequence[int]) -> Tensor:
        if not self.tails:
            logits_XK: Tensor = self.tail(restored_XPHW)
            return logits_XK
        tails = [*self.tails, self.tail]
        parts = restored_XPHW.chunk(len(prefixes))
        return torch.cat(
            [tails[prefix - 1](part) for prefix, part in zip(prefixes, parts, strict=True)]
        )

    @torch.no_grad()
    def settle(self, x_BCHW: Tensor, *, trained_ranges: bool) -> None:
        """Take means and ranges from a batch of pictures, before any training.

        `trained_ranges` says that a member before has followed the ranges of its code already.
        """
        was_training = self.training
        self.eval()
        features_BPHW = self.features(x_BCHW)
        selected_C = self.bottleneck.selected_C
        if isinstance(self.bottleneck, CentredBottleneck):
            self.bottleneck.centre_on(features_BPHW)
            if trained_ranges:
                self.code_range.low_P[selected_C] -= self.bottleneck.centre_C
        if not trained_ranges:
            code_BCHW = self.bottleneck.encode(features_BPHW)
            for begin in range(0, len(code_BCHW), OBSERVED_PICTURES):
                self.code_range.observe(code_BCHW[begin:], selected_C)
        self.train(was_training)


def build_progressive_model(
    network: CutNetwork,
    *,
    split: str,
    bottleneck: bool,
    resolution_factor: int,
    budget: int,
    levels_choices: Sequence[int] = DEFAULT_LEVELS,
    num_extra_tails: int = 0,
) -> ProgressiveModel:
    """Return a progressive member, its layers yet to be set.

    With a bottleneck its encoder's filters make the maps; without, those of the head.
    """
    crossing: Crossing
    if bottleneck:
        crossing = CentredBottleneck(
            network.channels,
            size_px=network.size_px,
            resolution_factor=resolution_factor,
            budget=budget,
            signed=network.signed,
        )
        filters = filters_of_bottleneck(crossing)
    else:
        crossing = PlainCut(network.channels, size_px=network.size_px, budget=budget)
        filters = making_filters(network.whole_head, split=split)
    return ProgressiveModel(
        filters=filters,
        num_extra_tails=num_extra_tails,
        normalise=network.normalise,
        head=network.head,
        bottleneck=crossing,
        tail=network.tail,
        exit_head=network.make_exit_head(),
        levels_choices=levels_choices,
    )


def filters_of_bottleneck(bottleneck: Bottleneck) -> tuple[MakingFilter, ...]:
    """Return the filters that make a bottleneck's code."""
    return (MakingFilter(bottleneck.encoder, (bottleneck.encoder_norm,)),)
