"""The quantiser of training: profiles' arithmetic in torch, with a straight-through gradient.

Each feature map has a range [low, low + span], followed by averages over batches: the mean
plus and minus three deviations, but never wider than what was seen. Such a range costs two
reductions per batch where percentiles would cost a sort, and it is where export's calibration
starts. The number of levels is an argument of each call, so that one member serves every bit depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Shapes: B batch, C channels that cross, H height, W width, P all phi channels

RANGE_DEVIATIONS = 3.0
OBSERVED_PICTURES = 32  # of a batch: enough for a range, and a quarter of the time
MIN_SPAN = 1e-3  # a map that is constant would divide by zero


@dataclass(frozen=True, slots=True)
class Quantised:
    """What the quantiser makes of features: where each lies on the grid, and what it stands for."""

    position_BCHW: Tensor  # 0 .. levels - 1, before rounding: the rate term needs its gradient
    value_BCHW: Tensor  # dequantised; gradient as if there were no rounding


def quantise(x_BCHW: Tensor, *, low_C: Tensor, span_C: Tensor, levels: int) -> Tensor:
    """Return the integers [B, C, H, W] as uint8, exactly as profiles' `quantise` does."""
    position_BCHW = grid_position(x_BCHW, low_C=low_C, span_C=span_C, levels=levels)
    return torch.round(position_BCHW).to(torch.uint8)


def dequantise(q_BCHW: Tensor, *, low_C: Tensor, span_C: Tensor, levels: int) -> Tensor:
    """Return the features that the integers stand for, exactly as profiles' `dequantise` does."""
    step_C = span_C / (levels - 1)
    return low_C.view(-1, 1, 1) + q_BCHW.float() * step_C.view(-1, 1, 1)


def grid_position(x_BCHW: Tensor, *, low_C: Tensor, span_C: Tensor, levels: int) -> Tensor:
    """Return where features lie on the grid, 0 .. levels - 1, clipped but not rounded.

    Clipped features get no gradient.
    """
    unit_BCHW = (x_BCHW - low_C.view(-1, 1, 1)) / span_C.view(-1, 1, 1)
    return unit_BCHW.clamp(0.0, 1.0) * (levels - 1)


def quantise_straight_through(
    x_BCHW: Tensor, *, low_C: Tensor, span_C: Tensor, levels: int
) -> Quantised:
    """Quantise and dequantise; the gradient passes the rounding as if it were not there."""
    position_BCHW = grid_position(x_BCHW, low_C=low_C, span_C=span_C, levels=levels)
    rounded_BCHW = position_BCHW + (position_BCHW.detach().round() - position_BCHW.detach())
    value_BCHW = dequantise(rounded_BCHW, low_C=low_C, span_C=span_C, levels=levels)
    return Quantised(position_BCHW, value_BCHW)


class CodeRange(nn.Module):
    """Follows the range of each of the bottleneck's phi maps, while training.

    Ranges of maps that do not cross stay as they were. `hold_after` ends it: a rate term makes
    codes narrower to save bits, and a range that followed would take back what it saved, the
    quicker the narrower they are (tried: 4e-3 per bit took 20 points of accuracy so).
    """

    low_P: Tensor
    span_P: Tensor
    num_batches_P: Tensor

    def __init__(self, channels: int, *, momentum: float = 0.05) -> None:
        super().__init__()
        self.momentum = momentum
        self._follow_batches: int | None = None  # None: for ever
        self.register_buffer("low_P", torch.zeros(channels))
        self.register_buffer("span_P", torch.ones(channels))
        self.register_buffer("num_batches_P", torch.zeros(channels))

    def of(self, selected_C: Tensor) -> tuple[Tensor, Tensor]:
        """Return (low, span) of the selected maps."""
        return self.low_P[selected_C], self.span_P[selected_C]

    def begin_anew(self, selected_C: Tensor) -> None:
        """Take the next batch's ranges of these maps as they are: they are other maps now."""
        self.num_batches_P[selected_C] = 0.0

    def hold_after(self, num_batches: int) -> None:
        """Begin to follow anew, and stop after so many training batches.

        How many there were is part of the state: a resumed training goes on from there.
        """
        self._follow_batches = num_batches
        self.num_batches_P.zero_()

    @property
    def will_hold(self) -> bool:
        return self._follow_batches is not None

    def is_held(self, selected_C: Tensor) -> bool:
        """Tell whether the ranges of these maps stay as they are from now on."""
        follow = self._follow_batches
        return follow is not None and bool((self.num_batches_P[selected_C] >= follow).all())

    @torch.no_grad()
    def observe(self, x_BCHW: Tensor, selected_C: Tensor) -> None:
        """Move the ranges of the selected maps towards those of this batch.

        The first batches count as a plain average, so that no start value lingers.
        """
        if self.is_held(selected_C):
            return
        x_BCHW = x_BCHW[:OBSERVED_PICTURES].detach().float()
        var_C, mean_C = torch.var_mean(x_BCHW, dim=(0, 2, 3), correction=0)
        reach_C = RANGE_DEVIATIONS * var_C.sqrt()
        low_C = torch.maximum(mean_C - reach_C, x_BCHW.amin(dim=(0, 2, 3)))
        high_C = torch.minimum(mean_C + reach_C, x_BCHW.amax(dim=(0, 2, 3)))
        span_C = (high_C - low_C).clamp(min=MIN_SPAN)
        seen_C = self.num_batches_P[selected_C]
        weight_C = (1.0 / (seen_C + 1.0)).clamp(min=self.momentum)
        old_low_C, old_span_C = self.of(selected_C)
        self.low_P[selected_C] = torch.lerp(old_low_C, low_C, weight_C)
        self.span_P[selected_C] = torch.lerp(old_span_C, span_C, weight_C)
        self.num_batches_P[selected_C] = seen_C + 1.0
