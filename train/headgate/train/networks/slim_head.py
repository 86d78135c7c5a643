"""A narrower head: the layers before the split with fewer channels, widened again at the split.

The device pays for the head, and most of that goes with the square of its channels. A slim head is
the same architecture at a share of its width, followed by one 1 x 1 convolution with batch norm
that gives as many maps as the tail (and the bottleneck, and the early exit) expect.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, fx, nn

from headgate.profiles.errors import UsageError
from headgate.train.networks.backbones import build_backbone
from headgate.train.networks.split_names import PICTURE
from headgate.train.networks.splits import SplitPoint, find_and_cut

# Shapes: B batch, P maps at the split, S maps of the slim layers, H x W


class SlimHead(nn.Module):
    """Slim layers and the convolution that widens their maps."""

    def __init__(
        self, trunk: fx.GraphModule, *, slim_maps: int, num_maps: int, signed: bool
    ) -> None:
        """`signed` says that the maps it imitates can be negative: then no ReLU follows."""
        super().__init__()
        self.trunk = trunk
        self.widen = nn.Sequential(
            nn.Conv2d(slim_maps, num_maps, 1, bias=False),
            nn.BatchNorm2d(num_maps),
            nn.Identity() if signed else nn.ReLU(),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        features_BPHW: Tensor = self.widen(self.trunk(x_BCHW))
        return features_BPHW

    @torch.no_grad()
    def start_from(self, head: nn.Module) -> None:
        """Take the first channels of each layer's trained weights: better than fresh ones.

        Layers have the same names in both, and the same channels are kept in every layer, so what
        one layer gives is what the next was trained to take. Batch norm adapts to what is missing.
        """
        wide = head.state_dict()
        for name, narrow in self.trunk.state_dict().items():
            if name in wide and narrow.ndim and narrow.ndim == wide[name].ndim:
                narrow.copy_(wide[name][tuple(slice(size) for size in narrow.shape)])


def build_slim_head(
    model: str,
    *,
    slim: float,
    width: float,
    num_classes: int,
    whole: SplitPoint,
    signed: bool,
    example_BCHW: Tensor,
) -> tuple[SlimHead, int]:
    """Return a fresh slim head for the split `whole` and its multiply-adds for one picture.

    `slim` is the share of the channels, above 0 and below 1; `width` that of the whole network.
    """
    option = f"--slim-head {slim:g}"
    if whole.name == PICTURE:
        raise UsageError(f"{option}: the network is cut at the picture; there is no head to slim")
    size_px = (example_BCHW.shape[2], example_BCHW.shape[3])
    try:
        narrow = build_backbone(
            model, num_classes=num_classes, input_px=size_px, width=width * slim
        )
        point, trunk, _ = find_and_cut(narrow, whole.name, example_BCHW)
    except UsageError as reason:
        what = str(reason).partition(";")[0]  # its remedy is for another option
        raise UsageError(
            f"{option}: {model} cannot be built that narrow ({what}); let it take `width`, which "
            "multiplies its channels as in built-in networks, or leave --slim-head out"
        ) from None
    if point.shape[1:] != whole.shape[1:]:
        raise UsageError(
            f"{option}: maps at {whole.name} are {point.shape[1:]} in the slim network and "
            f"{whole.shape[1:]} in the whole one; `width` must change channels only"
        )
    head = SlimHead(trunk, slim_maps=point.shape[0], num_maps=whole.shape[0], signed=signed)
    macs = point.head_macs + point.shape[0] * prod(whole.shape)
    if macs >= whole.head_macs:
        raise UsageError(
            f"{option}: the slim head takes {macs:,} multiply-adds, the whole one "
            f"{whole.head_macs:,}; give a smaller share, or leave it out"
        )
    return head, macs
