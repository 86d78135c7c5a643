"""What crosses, as torch holds it: float32, float16, or integers on a grid for each map.

The grid spans what a map holds in this batch. Codes take all of 0 .. 2^bits - 1 between their least
and largest value. Gradients need their zero (most of a gradient is near it), so their grid has an
odd number of points around it, up to the largest magnitude.

Error feedback: what rounding did to a map, on average over the batch, is added to the map of the
next batch. Other pictures stand in the next batch, so an error of one pixel means nothing there;
the mean of a map does, because what the layers before learn from a gradient, and batch norm from a
code, are sums over the batch. So these sums are right in the long run, however coarse the grid.

What has no place in few bits crosses as float32, for that batch alone, and owes nothing: a number
that is not finite, so that the other side can refuse the step, or one beyond the reach of float16.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headgate.train.split_training.settings import PLAIN_BITS

# Shapes: B batch, C maps that cross, P all phi maps, h x w in the code

HALF_BITS = 16
MIN_STEP = 1e-30  # of a map that is constant


@dataclass(frozen=True, slots=True, eq=False)
class Parcel:
    """A tensor on its way; see PackedTensor for what values on a grid stand for."""

    values: Tensor
    bits: int = 0
    low_C: Tensor | None = None
    step_C: Tensor | None = None

    def to(self, device: torch.device) -> Parcel:
        if self.low_C is None or self.step_C is None:
            return Parcel(self.values.to(device))
        return Parcel(
            self.values.to(device), self.bits, self.low_C.to(device), self.step_C.to(device)
        )

    def copied(self) -> Parcel:
        """Return the same in memory of its own."""
        low_C = None if self.low_C is None else self.low_C.clone()
        step_C = None if self.step_C is None else self.step_C.clone()
        return Parcel(self.values.clone(), self.bits, low_C, step_C)

    def open(self) -> Tensor:
        """Return the numbers, float32."""
        if self.low_C is None or self.step_C is None:
            return self.values.float()
        return self.low_C.view(-1, 1, 1) + self.values.float() * self.step_C.view(-1, 1, 1)

    def open_maps(self) -> Tensor:
        """Return maps [B, C, h, w] in the order in memory that `as_floats` gave the pictures.

        They cross in C order, and networks compute faster, and in other last digits, in this one.
        """
        return self.open().contiguous(memory_format=torch.channels_last)


Payload = Parcel | bytes


class Packer:
    """Packs the maps of one direction; `carried_P` is the rounding error still owed."""

    def __init__(self, channels: int, *, bits: int, centred: bool, device: torch.device) -> None:
        """`centred` is for gradients: their zero stays zero."""
        self._bits = bits
        self._centred = centred
        self.carried_P = torch.zeros(channels, device=device)

    @torch.no_grad()
    def pack(self, x_BCHW: Tensor, *, selected_C: Tensor) -> Parcel:
        """Return the maps as they cross, in C order."""
        x_BCHW = x_BCHW.detach().float().contiguous()
        if self._bits == PLAIN_BITS:
            return Parcel(x_BCHW)
        owed_BCHW = x_BCHW + self.carried_P[selected_C].view(-1, 1, 1)
        is_half = self._bits == HALF_BITS
        parcel = Parcel(owed_BCHW.half()) if is_half else self._on_grid(owed_BCHW)
        error_C = (owed_BCHW - parcel.open()).mean(dim=(0, 2, 3))
        if not bool(torch.isfinite(error_C).all()):
            return Parcel(x_BCHW)
        self.carried_P[selected_C] = error_C
        return parcel

    def _on_grid(self, x_BCHW: Tensor) -> Parcel:
        last = 2**self._bits - 1
        if self._centred:
            each_side = last // 2  # of the zero: the last integer of all is not used
            reach_C = x_BCHW.abs().amax(dim=(0, 2, 3))
            step_C = (reach_C / each_side).clamp(min=MIN_STEP)
            low_C = -each_side * step_C
        else:
            low_C, high_C = torch.aminmax(x_BCHW.transpose(0, 1).flatten(1), dim=1)
            step_C = ((high_C - low_C) / last).clamp(min=MIN_STEP)
        position_BCHW = (x_BCHW - low_C.view(-1, 1, 1)) / step_C.view(-1, 1, 1)
        values_BCHW = position_BCHW.round().clamp(0, last).to(torch.uint8)
        return Parcel(values_BCHW, self._bits, low_C, step_C)
