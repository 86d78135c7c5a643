"""Estimates how many bits a code costs, so that training can make it cheaper.

Each map has a prior over its integers, one per number of levels: counts, followed by an
exponential average over batches. A prior trained by gradient at the network's rate did nothing
(tried); counts are right from the first batch. The cost of a value is the code length
-log2 p of its integer; between two integers it is interpolated, which is where the
gradient comes from: it pulls a feature towards the neighbour that is cheaper to send.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Shapes: B batch, C channels that cross, H height, W width, P all phi channels, L levels

DEFAULT_LEVELS = (256, 64, 16, 8, 4)
PSEUDO_COUNT = 0.05  # what an integer counts that was never seen: about 16 bits in a batch of 2^12


class FactorisedPrior(nn.Module):
    """One prior per map and number of levels; maps and pixels are taken as independent."""

    def __init__(
        self,
        channels: int,
        *,
        levels_choices: Sequence[int] = DEFAULT_LEVELS,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        self.momentum = momentum
        self.levels_choices = tuple(levels_choices)
        for levels in self.levels_choices:
            self.register_buffer(_name(levels), torch.zeros(channels, levels))

    def counts_PL(self, levels: int) -> Tensor:  # noqa: N802 (the shape belongs to the result)
        """Return the averaged counts per batch of all maps."""
        assert levels in self.levels_choices, f"no prior for {levels} levels"
        counts_PL: Tensor = self.get_buffer(_name(levels))
        return counts_PL

    def bits(self, position_BCHW: Tensor, *, levels: int, selected_C: Tensor) -> Tensor:
        """Return the bits per picture [B] of codes at grid positions 0 .. levels - 1.

        While training, the batch is counted first: a prior that has never seen
        the batch would call everything in it expensive.
        """
        num_channels = position_BCHW.shape[1]
        position_BCHW = position_BCHW.float()
        offset_C = levels * torch.arange(num_channels, device=position_BCHW.device)
        offset_C11 = offset_C.view(-1, 1, 1)
        fixed_BCHW = position_BCHW.detach()
        if self.training:
            symbols = fixed_BCHW.round().long().add_(offset_C11)
            self._count(symbols, levels=levels, selected_C=selected_C)
        length_CL = self._code_length_CL(levels, selected_C)
        # Cell k lies between the integers k and k + 1; the last integer ends the last cell.
        cell_BCHW = fixed_BCHW.long().clamp_(max=levels - 2)
        slope_CL = length_CL.diff(dim=1, append=length_CL[:, -1:])
        where_BCHW = cell_BCHW + offset_C11
        left_BCHW = length_CL.flatten()[where_BCHW]
        slope_BCHW = slope_CL.flatten()[where_BCHW]
        bits_BCHW = left_BCHW + slope_BCHW * (position_BCHW - cell_BCHW)
        return bits_BCHW.sum(dim=(1, 2, 3))

    def _code_length_CL(self, levels: int, selected_C: Tensor) -> Tensor:  # noqa: N802
        counts_CL = self.counts_PL(levels)[selected_C] + PSEUDO_COUNT
        return torch.log2(counts_CL.sum(dim=1, keepdim=True) / counts_CL)

    @torch.no_grad()
    def _count(self, symbols: Tensor, *, levels: int, selected_C: Tensor) -> None:
        num_bins = selected_C.shape[0] * levels
        new_CL = torch.zeros(num_bins, device=symbols.device)
        ones = torch.ones((), device=symbols.device).expand(symbols.numel())
        new_CL.scatter_add_(0, symbols.flatten(), ones)
        counts_PL = self.counts_PL(levels)
        old_CL = counts_PL[selected_C]
        new_CL = new_CL.view_as(old_CL)
        first_C1 = old_CL.sum(dim=1, keepdim=True) == 0
        mixed_CL = torch.where(first_C1, new_CL, torch.lerp(old_CL, new_CL, self.momentum))
        counts_PL[selected_C] = mixed_CL


def _name(levels: int) -> str:
    return f"counts_{levels}"
