"""What crosses at the split: which maps, how they are made of the features and turned back to them.

There are two ways: the bottleneck, which learns its own few maps, and the plain cut, where the
features themselves cross. Both select maps by index and hand them on in ascending order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from headgate.profiles.errors import UsageError

# Shapes: B batch, P all phi maps, C the maps that cross, H x W at the split, h x w in the code


class Crossing(nn.Module, ABC):
    """The maps that cross, `budget` of `channels`: selected by a filter, then frozen for good."""

    selected_C: Tensor

    def __init__(self, channels: int, *, size_px: tuple[int, int], resolution_factor: int) -> None:
        super().__init__()
        self.channels = channels
        self.size_px = size_px
        self.resolution_factor = resolution_factor
        self.register_buffer("selected_C", torch.arange(channels), persistent=False)
        self.budget = channels
        self.selected: tuple[int, ...] | None = None  # frozen indices, ascending

    @property
    @abstractmethod
    def code_shape(self) -> tuple[int, int, int]:
        """The shape (C, h, w) of what crosses."""

    @property
    @abstractmethod
    def filter_P(self) -> Tensor:
        """How much each map is wanted: the largest are selected."""

    @abstractmethod
    def encode(self, x_BPHW: Tensor) -> Tensor:
        """Return the code [B, C, h, w] of the selected maps, ascending by index."""

    @abstractmethod
    def decode(self, code_BCHW: Tensor) -> Tensor:
        """Restore features [B, P, H, W] from the selected maps of the code."""

    @abstractmethod
    def warm_start(self, features_BPHW: Tensor) -> None:
        """Take from a batch of trained features what spares training."""

    def set_budget(self, budget: int) -> None:
        """Let `budget` maps cross from now on; their selection follows the filter again."""
        if not 1 <= budget <= self.channels:
            raise UsageError(
                f"--budgets: found {budget}, but the split has {self.channels} feature maps; "
                f"expected 1 to {self.channels}"
            )
        self.budget = budget
        self.selected = None
        self.update_selection()

    def update_selection(self) -> None:
        """Select the maps with the largest f, equal ones by lower index, unless frozen."""
        if self.selected is None:
            order_P = torch.sort(self.filter_P.detach(), descending=True, stable=True).indices
            self.selected_C = order_P[: self.budget].sort().values

    def freeze_selection(self, indices: Sequence[int] | None = None) -> None:
        """Fix the maps that cross: those given, or those that f selects now."""
        self.selected = None
        self.update_selection()
        chosen = self.selected_C.tolist() if indices is None else sorted(indices)
        if len(set(chosen)) != self.budget or not set(chosen) <= set(range(self.channels)):
            raise UsageError(
                f"selection {list(chosen)}: expected {self.budget} different maps out of "
                f"0 to {self.channels - 1}; take the list that was stored with the member"
            )
        self.selected = tuple(chosen)
        self.selected_C = torch.tensor(chosen, device=self.selected_C.device)

    def forward(self, x_BPHW: Tensor) -> Tensor:
        self.update_selection()
        return self.decode(self.encode(x_BPHW))


class PlainCut(Crossing):
    """No bottleneck: the features at the split cross as they are; what is not sent is zero.

    Features may be negative, and are not within 0..1: their ranges are those that were followed
    while training.
    """

    def __init__(
        self, channels: int, *, size_px: tuple[int, int], budget: int | None = None
    ) -> None:
        super().__init__(channels, size_px=size_px, resolution_factor=1)
        self.set_budget(channels if budget is None else budget)

    @property
    def code_shape(self) -> tuple[int, int, int]:
        return (self.budget, *self.size_px)

    @property
    def filter_P(self) -> Tensor:
        return torch.ones(self.channels, device=self.selected_C.device)

    def encode(self, x_BPHW: Tensor) -> Tensor:
        return x_BPHW if self.budget == self.channels else x_BPHW[:, self.selected_C]

    def decode(self, code_BCHW: Tensor) -> Tensor:
        if self.budget == self.channels:
            return code_BCHW
        whole_BPHW = code_BCHW.new_zeros(code_BCHW.shape[0], self.channels, *self.size_px)
        return whole_BPHW.index_copy(1, self.selected_C, code_BCHW)

    def warm_start(self, features_BPHW: Tensor) -> None:
        """Do nothing: there is nothing between head and tail that could be warm."""
