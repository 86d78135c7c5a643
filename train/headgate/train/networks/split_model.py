"""One member while it is trained: normalise, head, bottleneck, quantiser, tail, and early exit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, fx, nn

from headgate.train.networks.backbones import Normalise
from headgate.train.networks.bottleneck import Bottleneck
from headgate.train.networks.crossing import Crossing
from headgate.train.networks.link_loss import Grid, lossy
from headgate.train.networks.quantiser import CodeRange, quantise_straight_through
from headgate.train.networks.rate import DEFAULT_LEVELS, FactorisedPrior
from headgate.train.networks.splits import SplitPoint, find_and_cut

# Shapes: B batch, P maps at the split, C maps that cross, H x W there, h x w in the code, K classes

EXIT_SHARE = 0.03  # of the head's multiply-adds, for the exit's first layer
EXIT_MAP_PX = 8  # the exit looks at maps no larger than this
EXIT_CHANNELS = (8, 64)  # least and most
RATED_PICTURES = 32  # of a training batch, which is shuffled: the rate term looks at the first


class MakeHead(Protocol):
    """Makes a head for a split, and counts its multiply-adds for one picture."""

    def __call__(self, whole: SplitPoint, *, signed: bool) -> tuple[nn.Module, int]: ...


class SplitOutput(NamedTuple):
    """What a member computes for a batch; a tuple, which wrappers of modules can take apart."""

    logits_BK: Tensor
    exit_logits_BK: Tensor
    code_BCHW: Tensor  # 0..1, before quantisation; ascending by index of the map
    rate_bits_B: Tensor  # zeros where nothing is quantised; of RATED_PICTURES while training
    features_BPHW: Tensor  # at the split, as the head made them
    restored_BPHW: Tensor  # the same, as the edge has them


class ExitHead(nn.Module):
    """The early exit: a small classifier on the features at the split, run on the device.

    Its input is detached while training, so it never costs the edge's answer any accuracy.
    """

    def __init__(
        self, channels: int, *, size_px: tuple[int, int], num_classes: int, head_macs: int
    ) -> None:
        super().__init__()
        pooling = max(1, math.ceil(max(size_px) / EXIT_MAP_PX))
        pooling = min(pooling, *size_px)
        height, width = ((px // pooling + 1) // 2 for px in size_px)
        macs_per_channel = height * width * 9 * channels
        least, most = EXIT_CHANNELS
        hidden = min(most, max(least, round(EXIT_SHARE * head_macs / macs_per_channel)))
        self.layers = nn.Sequential(
            nn.AvgPool2d(pooling) if pooling > 1 else nn.Identity(),
            nn.Conv2d(channels, hidden, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(hidden * height * width, num_classes),
        )

    def forward(self, x_BPHW: Tensor) -> Tensor:
        logits_BK: Tensor = self.layers(x_BPHW)
        return logits_BK


class SplitModel(nn.Module):
    """A backbone cut in two with a bottleneck between; `budget` and `selected` are its member's.

    Export reads the parts: `normalise`, `head`, `bottleneck` (`encoder`, `encoder_norm`, `f_hat`,
    `decoder`, `decoder_norm`, `signed`, `selected`), `code_range`, `tail`, `exit_head`.
    """

    def __init__(
        self,
        *,
        normalise: Normalise,
        head: nn.Module,
        bottleneck: Crossing,
        tail: fx.GraphModule,
        exit_head: ExitHead,
        levels_choices: Sequence[int] = DEFAULT_LEVELS,
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.head = head
        self.bottleneck = bottleneck
        self.code_range = CodeRange(bottleneck.channels)
        self.prior = FactorisedPrior(bottleneck.channels, levels_choices=levels_choices)
        self.tail = tail
        self.exit_head = exit_head
        self.link_loss = 0.0  # while training: the largest share of maps, or bits, that is lost
        self.head_is_frozen = False
        self._frozen: list[nn.Module] = []  # a list, so that they are not registered twice

    @property
    def budget(self) -> int:
        return self.bottleneck.budget

    @property
    def selected(self) -> tuple[int, ...] | None:
        """The frozen indices of the maps that cross, ascending; None while f still decides."""
        return self.bottleneck.selected

    @property
    def ranges_follow(self) -> bool:
        """True while the ranges of the maps that cross are to be held but follow the codes yet."""
        ranges = self.code_range
        return ranges.will_hold and not ranges.is_held(self.bottleneck.selected_C)

    def freeze_selection(self, indices: Sequence[int] | None = None) -> None:
        """Fix the maps that cross: those given, or those that the filter selects now."""
        self.bottleneck.freeze_selection(indices)

    def freeze_parts(self, *, late_tail: bool) -> None:
        """Keep the head, and with `late_tail` the later half of the tail's layers, as they are.

        Their weights are not trained, and batch norm's averages in them do not move: a step
        computes them as device and edge will.
        """
        self.head_is_frozen = True
        self._frozen = [self.head, *(_late_layers(self.tail) if late_tail else ())]
        for part in self._frozen:
            part.requires_grad_(False)
            part.eval()

    def train(self, mode: bool = True) -> SplitModel:
        """Set the mode of all parts but the frozen ones."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def features(self, x_BCHW: Tensor) -> Tensor:
        """Return the features [B, P, H, W] at the split of pictures with values in 0..1."""
        features_BPHW: Tensor = self.head(self.normalise(x_BCHW))
        return features_BPHW

    def forward(self, x_BCHW: Tensor, *, levels: int | None, at_split: bool = False) -> SplitOutput:
        """Run pictures with values in 0..1; `levels` of the quantiser, or None for none.

        With `at_split` the input is what `features` returned. While training, the ranges and
        priors of the maps follow the batch.
        """
        features_BPHW = x_BCHW if at_split else self.features(x_BCHW)
        exit_logits_BK = self.exit_head(features_BPHW.detach())
        self.bottleneck.update_selection()
        code_BCHW = self.bottleneck.encode(features_BPHW)
        received_BCHW, rate_bits_B = self.transmit(code_BCHW, levels)
        restored_BPHW = self.bottleneck.decode(received_BCHW)
        logits_BK = self.tail(restored_BPHW)
        return SplitOutput(
            logits_BK, exit_logits_BK, code_BCHW, rate_bits_B, features_BPHW, restored_BPHW
        )

    def transmit(self, code_BCHW: Tensor, levels: int | None) -> tuple[Tensor, Tensor]:
        """Return what of a code arrives, and the bits per picture that it costs."""
        selected_C = self.bottleneck.selected_C
        if self.training:
            self.code_range.observe(code_BCHW, selected_C)
        share = self.link_loss if self.training else 0.0
        if levels is None:
            free_B = torch.zeros(code_BCHW.shape[0], device=code_BCHW.device)
            return (lossy(code_BCHW, share=share) if share else code_BCHW), free_B
        low_C, span_C = self.code_range.of(selected_C)
        quantised = quantise_straight_through(code_BCHW, low_C=low_C, span_C=span_C, levels=levels)
        position_BCHW = quantised.position_BCHW
        if self.training:  # an unbiased estimate of the batch's mean, at a share of its cost
            position_BCHW = position_BCHW[:RATED_PICTURES]
        rate_bits_B = self.prior.bits(position_BCHW, levels=levels, selected_C=selected_C)
        if not share:
            return quantised.value_BCHW, rate_bits_B
        grid = Grid(low_C, span_C, levels)
        return lossy(quantised.value_BCHW, share=share, grid=grid), rate_bits_B

    @torch.no_grad()
    def warm_start(self, x_BCHW: Tensor) -> None:
        """Start the fresh bottleneck near the backbone's accuracy, from a batch of pictures."""
        was_training = self.training
        self.eval()
        self.bottleneck.warm_start(self.features(x_BCHW))
        self.train(was_training)


@dataclass(frozen=True, slots=True)
class CutNetwork:
    """A network cut in two at its split, and what a bottleneck between them has to know."""

    normalise: Normalise
    whole_head: fx.GraphModule  # the network's own
    head: nn.Module  # the same, or what stands in for it
    head_macs: int
    tail: fx.GraphModule
    channels: int
    size_px: tuple[int, int]
    signed: bool
    num_classes: int

    def make_exit_head(self) -> ExitHead:
        """Return a fresh early exit."""
        return ExitHead(
            self.channels,
            size_px=self.size_px,
            num_classes=self.num_classes,
            head_macs=self.head_macs,
        )


def cut_network(
    backbone: nn.Module,
    *,
    split: str | int,
    example_BCHW: Tensor,
    num_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    make_head: MakeHead | None = None,
) -> CutNetwork:
    """Cut `backbone`, whose weights are shared, not copied; `example_BCHW` gives the input's size.

    `make_head` puts another head in the place of the backbone's own.
    """
    point, own_head, tail = find_and_cut(backbone, split, example_BCHW)
    channels, height, width = point.shape
    signed = can_be_negative(own_head, example_BCHW)
    head: nn.Module = own_head
    head_macs = point.head_macs
    if make_head is not None:
        head, head_macs = make_head(point, signed=signed)
    return CutNetwork(
        normalise=Normalise(mean, std),
        whole_head=own_head,
        head=head,
        head_macs=head_macs,
        tail=tail,
        channels=channels,
        size_px=(height, width),
        signed=signed,
        num_classes=num_classes,
    )


def build_split_model(
    network: CutNetwork,
    *,
    resolution_factor: int = 1,
    budget: int | None = None,
    levels_choices: Sequence[int] = DEFAULT_LEVELS,
) -> SplitModel:
    """Put a fresh bottleneck between head and tail; `budget` None means all maps, phi."""
    bottleneck = Bottleneck(
        network.channels,
        size_px=network.size_px,
        resolution_factor=resolution_factor,
        budget=budget,
        signed=network.signed,
    )
    return SplitModel(
        normalise=network.normalise,
        head=network.head,
        bottleneck=bottleneck,
        tail=network.tail,
        exit_head=network.make_exit_head(),
        levels_choices=levels_choices,
    )


def _late_layers(tail: fx.GraphModule) -> list[nn.Module]:
    """Return the later half of the layers that have parameters, in the order of computation."""
    names = dict.fromkeys(str(n.target) for n in tail.graph.nodes if n.op == "call_module")
    layers = [tail.get_submodule(name) for name in names]
    layers = [layer for layer in layers if next(layer.parameters(), None) is not None]
    return layers[len(layers) // 2 :]


@torch.no_grad()
def can_be_negative(head: fx.GraphModule, example_BCHW: Tensor) -> bool:
    """Tell whether features at the split can be negative, by trying noise of a fixed seed.

    Behind a ReLU none is; behind a convolution, a batch norm or an addition some are.
    """
    noise = torch.randn(example_BCHW.shape[1:], generator=torch.Generator().manual_seed(0))
    was_training = head.training
    head.eval()
    features_BPHW = head(noise[None].to(example_BCHW.device))
    head.train(was_training)
    return bool((features_BPHW < 0).any())
