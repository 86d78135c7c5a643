"""Finds where a network can be cut in two, says what each cut costs, and cuts it.

`tracing` makes a graph of the network, `split_names` says what a split is called.

The head is everything that the crossing tensor is computed from; if anything else of it is needed
behind the cut (a shortcut around it, a weight used on both sides), the split is refused.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from headgate.profiles.errors import UsageError
from headgate.train.networks.backbones import first_line
from headgate.train.networks.layout import Half
from headgate.train.networks.split_names import cut_names
from headgate.train.networks.tracing import mode_kept, output_node, trace

# Shapes: B batch, C channels, H height, W width (h, w at the split), K classes

CROSSED, NO_MAPS = "more than one tensor crosses it", "its output has shape"  # reasons begin so


@dataclass(frozen=True, slots=True)
class SplitPoint:
    """One place where a network might be cut; shapes and counts are for one picture."""

    index: int
    name: str
    shape: tuple[int, ...]  # without the batch axis; [C, h, w] wherever `valid`
    nbytes: int  # of that tensor, uncompressed
    head_macs: int
    tail_macs: int
    valid: bool
    reason: str  # why it is not valid; empty if it is
    aliases: tuple[str, ...] = ()  # other names of the same tensor, which `cut` knows too


def list_splits(model: nn.Module, example_BCHW: Tensor) -> list[SplitPoint]:
    """List every split of `model` in the order of computation; number 0 is the picture.

    `example_BCHW` is any batch of the input's size: it is run once through the network in
    evaluation mode. Splits that `cut` would refuse are listed too, with the reason.
    """
    return [point for point, _ in _find_splits(model, trace(model), example_BCHW)]


def find_split(model: nn.Module, split: str | int, example_BCHW: Tensor) -> SplitPoint:
    """Return the split of that name or number, or refuse one that cannot be cut."""
    return _choose_valid(_find_splits(model, trace(model), example_BCHW), split)[0]


def cut(
    model: nn.Module, split: str | int, example_BCHW: Tensor
) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Cut `model` after a named or numbered split into (head, tail), which share its weights.

    Layers keep their names in both halves. The split 0 gives a head that returns its input.
    """
    _, head, tail = find_and_cut(model, split, example_BCHW)
    return head, tail


def find_and_cut(
    model: nn.Module, split: str | int, example_BCHW: Tensor
) -> tuple[SplitPoint, fx.GraphModule, fx.GraphModule]:
    """Do what `find_split` and `cut` do, at one look: to trace a network is most of either."""
    graph = trace(model)
    point, node = _choose_valid(_find_splits(model, graph, example_BCHW), split)
    head, tail = _build_halves(model, graph, node)
    if _overwrites_input(head, tail, example_BCHW):
        with tail.graph.inserting_after(features := next(iter(tail.graph.nodes))):
            copied = tail.graph.call_method("clone", (features,))
        features.replace_all_uses_with(copied, delete_user_cb=lambda user: user is not copied)
        tail.recompile()
    return point, head, tail


def _choose_valid(
    found: list[tuple[SplitPoint, fx.Node]], split: str | int
) -> tuple[SplitPoint, fx.Node]:
    point, node = _choose(found, split)
    if not point.valid:
        raise UsageError(
            f"split {point.name!r}: {point.reason}; {_valid_names(point for point, _ in found)}"
        )
    return point, node


def _choose(
    found: list[tuple[SplitPoint, fx.Node]], split: str | int
) -> tuple[SplitPoint, fx.Node]:
    wanted = str(split)
    for point, node in found:
        if wanted == (str(point.index) if wanted.isdecimal() else point.name):
            return point, node
    for point, node in found:
        if wanted in point.aliases:
            return point, node
    raise UsageError(
        f"split {wanted!r}: the model has no such layer; {_valid_names(p for p, _ in found)}"
    )


def _valid_names(points: Iterable[SplitPoint]) -> str:
    return f"valid splits: {', '.join(point.name for point in points if point.valid)}"


def _find_splits(
    model: nn.Module, graph: fx.Graph, example_BCHW: Tensor
) -> list[tuple[SplitPoint, fx.Node]]:
    costs = _Costs(model, graph)
    with mode_kept(model), torch.no_grad():
        model.eval()
        try:
            with every_multiply_counted(), costs.counter:
                costs.run(example_BCHW)
        except Exception as error:  # the model's own code again
            raise UsageError(
                f"model {type(model).__name__}: it fails on an input of shape "
                f"{tuple(example_BCHW.shape)}: {first_line(error)}; check the input size"
            ) from error
    num_pictures = example_BCHW.shape[0]
    total_macs = sum(costs.macs.values())
    found: list[tuple[SplitPoint, fx.Node]] = []
    all_names = cut_names(graph)
    state = {node: _state(model, node) for node in graph.nodes}
    for node, names in all_names.items():
        head = _ancestors(node)
        head_macs = sum(costs.macs[member] for member in head)
        shape = costs.shapes[node]
        reason = _why_not(state, graph, node, head, shape, all_names)
        point = SplitPoint(
            index=len(found),
            name=names[0],
            shape=shape,
            nbytes=math.prod(shape) * costs.item_bytes[node],
            head_macs=head_macs // num_pictures,
            tail_macs=(total_macs - head_macs) // num_pictures,
            valid=not reason,
            reason=reason,
            aliases=tuple(names[1:]),
        )
        found.append((point, node))
    return found


class _Costs(fx.Interpreter):
    """Runs a traced network once, within `counter`, and notes shape and costs of every node."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(model, graph=graph)
        self.counter = FlopCounterMode(display=False)
        self.macs: dict[fx.Node, int] = {}
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}
        self.item_bytes: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        before = self.counter.get_total_flops()
        result = super().run_node(n)
        self.macs[n] = (self.counter.get_total_flops() - before) // 2
        is_tensor = isinstance(result, Tensor)
        self.shapes[n] = tuple(result.shape[1:]) if is_tensor else ()
        self.item_bytes[n] = result.element_size() if is_tensor else 0
        return result


@contextlib.contextmanager
def every_multiply_counted() -> Iterator[None]:
    """Keep torch from fusing what its counter would then not know: attention, whole encoders."""
    was_fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_fast)


def _ancestors(node: fx.Node) -> set[fx.Node]:
    """Return `node` and all it is computed from."""
    found = {node}
    waiting = [node]
    while waiting:
        for source in waiting.pop().all_input_nodes:
            if source not in found:
                found.add(source)
                waiting.append(source)
    return found


def _why_not(
    state: dict[fx.Node, set[int]],
    graph: fx.Graph,
    node: fx.Node,
    head: set[fx.Node],
    shape: tuple[int, ...],
    names: dict[fx.Node, list[str]],
) -> str:
    """Say why the network cannot be cut after `node`; empty if it can."""
    crossing = [
        source
        for source in graph.nodes
        if source in head and source is not node and source.op != "get_attr"
        if not head.issuperset(source.users)
    ]
    if crossing:
        others = ", ".join(names.get(source, [source.name])[0] for source in crossing)
        return f"{CROSSED} (also {others})"
    tail = [member for member in graph.nodes if member not in head]
    if node not in _ancestors(output_node(graph)) or all(member.op == "output" for member in tail):
        return "nothing is computed behind it"
    if len(shape) != 3:
        return f"{NO_MAPS} {shape}, expected feature maps (C, h, w)"
    in_head = set().union(*(state[member] for member in head))
    if any(not in_head.isdisjoint(state[member]) for member in tail):
        return "a weight is used on both sides of it"
    return ""


def _state(model: nn.Module, node: fx.Node) -> set[int]:
    """Return the identities of the parameters and buffers that `node` uses."""
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        return {id(held) for held in (*module.parameters(), *module.buffers())}
    if node.op == "get_attr":
        owner, _, attribute = str(node.target).rpartition(".")
        return {id(getattr(model.get_submodule(owner), attribute))}
    return set()


def _build_halves(
    model: nn.Module, graph: fx.Graph, node: fx.Node
) -> tuple[fx.GraphModule, fx.GraphModule]:
    head_nodes = _ancestors(node)
    head, tail = fx.Graph(), fx.Graph()
    in_head: dict[fx.Node, fx.Node] = {}
    in_tail = {node: tail.placeholder("features")}
    for source in graph.nodes:
        if source in head_nodes:
            in_head[source] = head.node_copy(source, in_head.__getitem__)
        if source.op == "output":
            tail.output(in_tail[source.args[0]])
        elif source not in head_nodes or (source.op == "get_attr" and source is not node):
            in_tail[source] = tail.node_copy(source, in_tail.__getitem__)
    head.output(in_head[node])
    return Half(model, head, "Head"), Half(model, tail, "Tail")


@torch.no_grad()
def _overwrites_input(head: fx.GraphModule, tail: fx.GraphModule, example_BCHW: Tensor) -> bool:
    """Say whether a tail begins in place: what it is given is kept, and looked at afterwards."""
    features = next(iter(tail.graph.nodes))
    first = [tail.get_submodule(str(n.target)) for n in features.users if n.op == "call_module"]
    if any(getattr(layer, "inplace", False) for layer in first):  # a dropout, only in training
        return True
    with mode_kept(head), mode_kept(tail):
        features_BPHW = head.eval()(example_BCHW).clone()
        before = features_BPHW._version  # counts writes, also those through a view
        tail.eval()(features_BPHW)
    return bool(features_BPHW._version != before)
