"""Each client's own view of the server's layers, where clients differ in what they see.

statistics   batch norm's averages are each client's own: while training a layer sees one client at
             a time, so averages over all would be of pictures that it never sees together
masks        so they are, and each client has a gain for every map, and hidden unit, of the tail: 1
             at first, trained with the tail by this client's batches alone, and drawn to 0 by their
             mean magnitude. Where a gain is near 0 the client neither uses nor changes the weights
             behind it (the masks of AdaSplit, arXiv 2112.01637)

AdaSplit, as its code is described, masks each weight; of averages nothing is said. A gain for each
map costs a client some hundred numbers instead of a copy of the tail, and folds into batch norm's
factors as the averages do: what is exported is a plain network.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

# Shapes: M gains of one client, C maps or units of a layer

VIEWS = ("shared", "statistics", "masks")
_GAINS, _AVERAGE = "gains", "average."


class ClientViews:
    """Views by client's name, of the layers of one server."""

    def __init__(
        self, tail: nn.Module, averages: Sequence[Tensor], *, kind: str, mask_weight: float
    ) -> None:
        """`averages` are all that batch norm keeps; `mask_weight` counts beside the loss."""
        self.is_shared = kind == "shared"
        self._averages = () if self.is_shared else tuple(averages)
        self._fresh = [average.clone() for average in self._averages]
        self._layers = maskable_layers(tail) if kind == "masks" else []
        self._mask_weight = mask_weight
        self._of: dict[str, dict[str, Tensor]] = {}
        self._worn_M: Tensor | None = None
        self._parts: list[slice] = []  # of the gains, by layer
        self._num_gains = 0
        for layer in self._layers:
            part = slice(self._num_gains, self._num_gains + len(layer.weight))
            self._parts.append(part)
            self._num_gains = part.stop
            layer.register_forward_hook(self._hook_of(part))

    @contextmanager
    def worn(self, name: str) -> Iterator[Tensor]:
        """Let the server's layers be as that client sees them; yield its gains [M]."""
        view = self._view(name)
        for number, average in enumerate(self._averages):
            average.copy_(view[f"{_AVERAGE}{number}"])
        self._worn_M = view[_GAINS]
        try:
            yield view[_GAINS]
        finally:
            self._worn_M = None
            for number, average in enumerate(self._averages):
                view[f"{_AVERAGE}{number}"].copy_(average)

    def penalty(self, gains_M: Tensor) -> Tensor | float:
        """Return what is added to the loss."""
        return self._mask_weight * gains_M.abs().mean() if self._num_gains else 0.0

    @torch.no_grad()
    def step(self, gains_M: Tensor, *, rate: float) -> None:
        """Descend the gradient of the last pass."""
        if gains_M.grad is not None:
            gains_M -= rate * gains_M.grad
            gains_M.grad = None

    @contextmanager
    def folded(self, name: str) -> Iterator[None]:
        """Let the weights themselves be as that client sees them, for a while."""
        factors = [t for layer in self._layers for t in (layer.weight, layer.bias) if t is not None]
        kept = [*factors, *self._averages]
        before = [tensor.detach().clone() for tensor in kept]
        view = self._view(name)
        with torch.no_grad():
            for number, average in enumerate(self._averages):
                average.copy_(view[f"{_AVERAGE}{number}"])
            for layer, part in zip(self._layers, self._parts, strict=True):
                for factor in (layer.weight, layer.bias):
                    if factor is not None:
                        factor *= view[_GAINS][part].view(-1, *[1] * (factor.ndim - 1))
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, value in zip(kept, before, strict=True):
                    tensor.copy_(value)

    def keep_only(self, names: Collection[str]) -> None:
        """Forget the views of all other clients."""
        self._of = {name: view for name, view in self._of.items() if name in names}

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Return all views, for a checkpoint."""
        return {
            name: {key: tensor.detach() for key, tensor in view.items()}
            for name, view in self._of.items()
            if not self.is_shared
        }

    @torch.no_grad()
    def restore(self, name: str, key: str, tensor: Tensor) -> None:
        """Put back what `state` told of one client."""
        self._view(name)[key].copy_(tensor)

    def _view(self, name: str) -> dict[str, Tensor]:
        if name not in self._of:
            device = self._fresh[0].device if self._fresh else None
            view = {
                f"{_AVERAGE}{number}": fresh.clone() for number, fresh in enumerate(self._fresh)
            }
            view[_GAINS] = torch.ones(self._num_gains, device=device, requires_grad=True)
            self._of[name] = view
        return self._of[name]

    def _hook_of(self, part: slice) -> Any:
        def hook(_: nn.Module, __: object, output: Tensor) -> Tensor | None:
            if self._worn_M is None:
                return None
            return output * self._worn_M[part].view(-1, *[1] * (output.ndim - 2))

        return hook


Maskable = nn.BatchNorm2d | nn.Conv2d | nn.Linear


def maskable_layers(tail: nn.Module) -> list[Maskable]:
    """Return the layers whose outputs have gains: batch norms, and hidden linear layers.

    A tail without batch norm has them on its convolutions. The last layer has none: its outputs are
    the classes.
    """
    layers = [layer for layer in tail.modules() if isinstance(layer, Maskable)]
    has_norms = any(isinstance(layer, nn.BatchNorm2d) for layer in layers)
    maps = nn.BatchNorm2d if has_norms else nn.Conv2d
    return [layer for layer in layers[:-1] if isinstance(layer, maps | nn.Linear)]
