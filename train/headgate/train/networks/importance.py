"""How important each map is by NAIR: the sum of the absolute weights of the filter that makes it.

The filter is found by walking back from the split through what treats every map alone (batch norm,
activation, pooling) to a convolution. Where two maps are added, the filter that makes the sum is
both filters side by side over both inputs, so their sums add up; a shortcut is followed to the
convolution that made what it carries.

Batch norm rescales a filter, so weights alone say nothing behind one: a filter of twice the size
makes the same map. With `folded` each filter counts as it is once batch norm is folded into it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from headgate.profiles.errors import UsageError

# Shapes: P maps that a filter makes

EACH_MAP_ALONE = (  # layers that do to a map what they do whatever the others are
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Hardswish,
    nn.Hardtanh,
    nn.Sigmoid,
    nn.Tanh,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.Identity,
    nn.Dropout,
    nn.Dropout2d,
)
_EACH_MAP_ALONE_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    torch.relu,
    torch.sigmoid,
    torch.tanh,
    functional.relu,
    functional.relu6,
    functional.leaky_relu,
    functional.elu,
    functional.gelu,
    functional.silu,
    functional.hardswish,
    functional.max_pool2d,
    functional.avg_pool2d,
    functional.adaptive_avg_pool2d,
    functional.dropout,
)
_ADDITIONS: tuple[Callable[..., Any], ...] = (operator.add, operator.iadd, torch.add)


@dataclass(frozen=True, slots=True)
class MakingFilter:
    """A convolution that makes maps, and the batch norms behind it, the last one first."""

    convolution: nn.Conv2d
    norms: tuple[nn.BatchNorm2d, ...]

    def size_P(self, *, folded: bool) -> Tensor:
        """Return the sum of absolute weights for each map; gradients pass."""
        size_P = self.convolution.weight.abs().flatten(1).sum(dim=1)
        for norm in self.norms if folded else ():
            assert norm.running_var is not None
            deviation_P = (norm.running_var.detach() + norm.eps).sqrt()
            scale_P = 1.0 / deviation_P if norm.weight is None else norm.weight.abs() / deviation_P
            size_P = size_P * scale_P
        return size_P


def importance_P(filters: tuple[MakingFilter, ...], *, folded: bool) -> Tensor:
    """Return the importance of each map: the sum over all filters that make a part of it."""
    return torch.stack([made.size_P(folded=folded) for made in filters]).sum(dim=0)


def making_filters(head: fx.GraphModule, *, split: str) -> tuple[MakingFilter, ...]:
    """Return the filters that make the maps a head ends with, or refuse where none does."""
    output = next(node for node in reversed(head.graph.nodes) if node.op == "output")
    (last,) = output.all_input_nodes
    return _walk(head, last, split=split)


def _walk(head: fx.GraphModule, node: fx.Node, *, split: str) -> tuple[MakingFilter, ...]:
    norms: list[nn.BatchNorm2d] = []
    while True:
        if node.op == "placeholder":
            raise _refusal(split, "no convolution makes its maps, they are the picture's own")
        module = head.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.Conv2d):
            return (MakingFilter(module, tuple(norms)),)
        if node.op == "call_function" and node.target in _ADDITIONS:
            found: tuple[MakingFilter, ...] = ()
            for source in node.all_input_nodes:
                for made in _walk(head, source, split=split):
                    found += (MakingFilter(made.convolution, (*norms, *made.norms)),)
            return found
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            norms.append(module)
        elif not (
            isinstance(module, EACH_MAP_ALONE)
            or (node.op == "call_function" and node.target in _EACH_MAP_ALONE_FUNCTIONS)
        ):
            raise _refusal(split, f"{node.target} stands between it and a convolution")
        node = node.all_input_nodes[0]


def _refusal(split: str, reason: str) -> UsageError:
    return UsageError(
        f"split {split!r}: the importance of its maps cannot be computed, {reason}; split behind "
        "a convolution (batch norm, activation, pooling or an addition may follow it), or let a "
        "bottleneck's own filters be ordered (without --no-bottleneck)"
    )
