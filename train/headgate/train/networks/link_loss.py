"""What a bad link does to a code: whole maps that never come, and bits that come wrong.

Training with it makes a member robust; `headgate bench link-loss` measures how robust. Losses are
independent: each map of each picture, or each bit of each number, at a given share.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headgate.train.networks.quantiser import dequantise, quantise

# Shapes: B batch, C maps that cross, h x w in the code


@dataclass(frozen=True, slots=True)
class Grid:
    """The values that a code's numbers are rounded to."""

    low_C: Tensor
    span_C: Tensor
    levels: int


def lose_maps(code_BCHW: Tensor, share_B: Tensor) -> Tensor:
    """Return the code with each map lost, that is zero, by the chance of its picture."""
    draw_BC = torch.rand(code_BCHW.shape[:2], device=code_BCHW.device)
    kept_BC = draw_BC >= share_B.view(-1, 1)
    return code_BCHW * kept_BC[:, :, None, None].to(code_BCHW.dtype)


def flip_bits(code_BCHW: Tensor, share_B: Tensor, grid: Grid) -> Tensor:
    """Return a quantised code with each bit of each integer flipped by the chance of its picture.

    An integer has as few bits as its levels allow; one beyond the last level is read as the last.
    Numbers that stay right keep their gradient.
    """
    levels = grid.levels
    sent_BCHW = quantise(
        code_BCHW.detach(), low_C=grid.low_C, span_C=grid.span_C, levels=levels
    ).int()
    flipped_BCHW = torch.zeros_like(sent_BCHW)
    for bit in range((levels - 1).bit_length()):
        hit_BCHW = torch.rand(code_BCHW.shape, device=code_BCHW.device) < share_B.view(-1, 1, 1, 1)
        flipped_BCHW += hit_BCHW.int() << bit
    read_BCHW = (sent_BCHW ^ flipped_BCHW).clamp(max=levels - 1)
    value_BCHW = dequantise(read_BCHW, low_C=grid.low_C, span_C=grid.span_C, levels=levels)
    return torch.where(read_BCHW == sent_BCHW, code_BCHW, value_BCHW.to(code_BCHW.dtype))


def lossy(code_BCHW: Tensor, *, share: float, grid: Grid | None = None) -> Tensor:
    """Return what a bad link leaves of a batch while training.

    Each picture draws how bad its link is, up to `share`; half of them lose maps, the others get
    wrong bits, for which the code must be quantised: without a `grid` all lose maps.
    """
    num, device = code_BCHW.shape[0], code_BCHW.device
    share_B = share * torch.rand(num, device=device)
    if grid is None:
        return lose_maps(code_BCHW, share_B)
    has_lost_B = torch.rand(num, device=device) < 0.5
    left_BCHW = lose_maps(code_BCHW, share_B * has_lost_B)
    return flip_bits(left_BCHW, share_B * ~has_lost_B, grid)
