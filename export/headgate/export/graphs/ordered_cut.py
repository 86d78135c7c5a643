"""Fold the order of sending into the layers beside a plain cut, where they let it.

Maps can be renumbered for nothing where a convolution makes them and nothing but layers that treat
each map alone (batch norm, activation, pooling) lies between it and the cut: its filters are put in
another order, and with them the batch norms behind it. On the edge's side the convolutions that
read the maps take their channels in that order. Where the maps are a sum, or are read by one, the
order would have to be carried into every branch; there they are picked at run time instead, which
copies them once (`crossing_graphs`).

Shapes: P feature maps at the cut.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import fx, nn

from headgate.train.networks.importance import EACH_MAP_ALONE
from headgate.train.networks.split_model import ExitHead

# A slope for each map (PReLU) would have to be put in order too; a batch norm is.
_KEEPS_ORDER = (*(kind for kind in EACH_MAP_ALONE if kind is not nn.PReLU), nn.BatchNorm2d)


def ordered_head(head: nn.Module, order: Sequence[int]) -> fx.GraphModule | None:
    """Return a copy of the head that makes its maps in this order; None if it cannot."""
    if not isinstance(head, fx.GraphModule):
        return None
    (node,) = next(n for n in reversed(head.graph.nodes) if n.op == "output").all_input_nodes
    renumbered: list[str] = []
    while True:
        module = _only_use(head, node)
        if module is None:
            return None
        renumbered.append(str(node.target))
        if isinstance(module, nn.Conv2d) and module.groups == 1:
            break
        if not isinstance(module, _KEEPS_ORDER):
            return None
        (node,) = node.all_input_nodes
    ordered = copy.deepcopy(head)
    for name in renumbered:
        _put_in_order(ordered.get_submodule(name), order)
    return ordered


def ordered_exit(early_exit: ExitHead, order: Sequence[int]) -> ExitHead:
    """Return a copy of the early exit that takes maps in this order."""
    ordered = copy.deepcopy(early_exit)
    first = next(layer for layer in ordered.layers if isinstance(layer, nn.Conv2d))
    _read_in_order(first, order)
    return ordered


def ordered_tail(tail: fx.GraphModule, order: Sequence[int]) -> fx.GraphModule | None:
    """Return a copy of the tail that takes its maps in this order; None if it cannot."""
    start = next(node for node in tail.graph.nodes if node.op == "placeholder")
    readers: list[str] = []
    between: list[str] = []
    waiting = list(start.users)
    while waiting:
        node = waiting.pop()
        module = _only_use(tail, node, num_users=None)
        if node.target == "clone":
            waiting += list(node.users)
        elif isinstance(module, nn.Conv2d) and module.groups == 1:
            readers.append(str(node.target))
        elif isinstance(module, _KEEPS_ORDER):
            between.append(str(node.target))
            waiting += list(node.users)
        else:
            return None
    ordered = copy.deepcopy(tail)
    for name in between:
        _put_in_order(ordered.get_submodule(name), order)
    for name in readers:
        reader = ordered.get_submodule(name)
        assert isinstance(reader, nn.Conv2d)
        _read_in_order(reader, order)
    return ordered


def _only_use(
    graph: fx.GraphModule, node: fx.Node, *, num_users: int | None = 1
) -> nn.Module | None:
    """Return the layer that a node runs, if what it holds is used nowhere else.

    `num_users` is how many may read what it gives.
    """
    if node.op != "call_module" or (num_users is not None and len(node.users) != num_users):
        return None
    module = graph.get_submodule(str(node.target))
    run = [n for n in graph.graph.nodes if n.op == "call_module"]
    num_runs = sum(graph.get_submodule(str(n.target)) is module for n in run)
    holds_nothing = not module.state_dict()
    return module if num_runs == 1 or holds_nothing else None


@torch.no_grad()
def _put_in_order(layer: nn.Module, order: Sequence[int]) -> None:
    """Give a layer's maps out in this order."""
    if isinstance(layer, nn.Conv2d):
        layer.weight.copy_(layer.weight[list(order)])
    elif isinstance(layer, nn.BatchNorm2d):
        for held in (layer.weight, layer.running_mean, layer.running_var):
            if held is not None:
                held.copy_(held[list(order)])
    else:
        return
    if layer.bias is not None:
        layer.bias.copy_(layer.bias[list(order)])


@torch.no_grad()
def _read_in_order(layer: nn.Conv2d, order: Sequence[int]) -> None:
    """Take a layer's input maps in this order."""
    layer.weight.copy_(layer.weight[:, list(order)])
