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

    def counts_PL(self, levels: int) -> Tensor:
        """Return the averaged counts per batch of all maps."""
        assert levels in self.levels_choices, f"no prior for {levels} levels"
        counts_PL: Tensor = self.get_buffer(_name(levels))
        return counts_PL

    def bits(self, position_BCHW: Tensor, *, levels: int, selected_C: Tensor) -> Tensor:
        """Return the bits per picture [B] of codes at grid positions 0 .. levels - 1.

        While training, the batch is counted first: a prior that has never seen
        the batch would call everything in it expensive.
        """
        position_BCHW = position_BCHW.float()
        fixed_BCHW = position_BCHW.detach()
        first = torch.arange(position_BCHW.shape[1], device=fixed_BCHW.device, dtype=torch.int32)
        first_C11 = (first * levels).view(-1, 1, 1)  # row c of a table [C, L], flattened
        if self.training:
            nearest_BCHW = fixed_BCHW.round().int().clamp_(0, levels - 1)
            self._count(nearest_BCHW + first_C11, levels, selected_C)
        length_CL = self._code_length_CL(levels, selected_C)
        slope_CL = length_CL.diff(dim=1, append=length_CL[:, -1:])
        base_CL = length_CL - slope_CL * torch.arange(levels, device=length_CL.device)
        # Cell k lies between the integers k and k + 1; the last integer ends the last cell.
        # The lower bound is for NaN, which is any integer: the bits are to be NaN then, no crash.
        cell_BCHW = fixed_BCHW.int().clamp_(0, levels - 2) + first_C11
        bits_BCHW = torch.addcmul(
            _look_up(base_CL, cell_BCHW), _look_up(slope_CL, cell_BCHW), position_BCHW
        )
        return bits_BCHW.sum(dim=(1, 2, 3))

    def _code_length_CL(self, levels: int, selected_C: Tensor) -> Tensor:
        counts_CL = self.counts_PL(levels)[selected_C] + PSEUDO_COUNT
        return torch.log2(counts_CL.sum(dim=1, keepdim=True) / counts_CL)

    @torch.no_grad()
    def _count(self, where_BCHW: Tensor, levels: int, selected_C: Tensor) -> None:
        counts_PL = self.counts_PL(levels)
        old_CL = counts_PL[selected_C]
        new = torch.bincount(where_BCHW.flatten(), minlength=old_CL.numel())
        new_CL = new.view_as(old_CL).to(old_CL.dtype)
        is_first_C1 = old_CL.sum(dim=1, keepdim=True) == 0
        mixed_CL = torch.lerp(old_CL, new_CL, self.momentum)
        counts_PL[selected_C] = torch.where(is_first_C1, new_CL, mixed_CL)


def _look_up(table_CL: Tensor, where_BCHW: Tensor) -> Tensor:
    # index_select on a flat table takes a quarter of the time of table[where] (tried, CPU).
    return table_CL.flatten().index_select(0, where_BCHW.flatten()).view(where_BCHW.shape)


def _name(levels: int) -> str:
    return f"counts_{levels}"
