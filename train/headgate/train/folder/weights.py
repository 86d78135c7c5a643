"""Files of weights in a run folder: a member's holds only what the plain network's does not.

A member with a frozen head has the head's weights in common with the plain network, and with
every other member of the run. They are stored once, in the plain network's file, under its names:
`network.X` there is `head.X` or `tail.X` here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

_HALVES = ("head.", "tail.")
_PLAIN = "network."


def without_shared(
    weights: Mapping[str, Tensor], shared: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the weights that `shared`, a plain network's, does not hold bit for bit."""
    return {
        name: tensor
        for name, tensor in weights.items()
        if not _same(tensor, shared.get(_shared_name(name)))
    }


def with_shared(
    own: Mapping[str, Tensor], shared: Mapping[str, Tensor], *, names: Iterable[str]
) -> dict[str, Tensor]:
    """Return all of `names` that there are, from `own` or else from a plain network's weights."""
    found = dict(own)
    for name in names:
        if name not in found and _shared_name(name) in shared:
            found[name] = shared[_shared_name(name)]
    return found


def _shared_name(name: str) -> str:
    for half in _HALVES:
        if name.startswith(half):
            return _PLAIN + name.removeprefix(half)
    return name


def _same(tensor: Tensor, other: Tensor | None) -> bool:
    return (
        other is not None
        and tensor.dtype == other.dtype
        and tensor.shape == other.shape
        and torch.equal(tensor.detach().cpu(), other.cpu())
    )
