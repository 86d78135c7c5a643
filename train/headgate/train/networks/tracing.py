"""Trace a network with torch.fx into one graph that holds in training and in evaluation.

The user's own modules are traced through, so that it can be cut inside them. One that cannot be
(its code branches on shapes, or asks whether it is training, as stochastic depth does) is taken
whole instead, as torch's own layers are: it runs as it was written, and is cut after, not inside.
Only what stands in the network's own `forward` has no module around it to be taken whole.

Buffers are read when the graph runs, not when it is traced: weights are loaded after that. Tensors
that the code makes anew each time (`torch.tensor([1.0, 2.0])`) become constants of the graph; torch
keeps them on the network, under names that go on counting unless they are taken off again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

from headgate.profiles.errors import UsageError
from headgate.train.networks.backbones import first_line

_CONSTANT = "_tensor_constant"


def trace(model: nn.Module) -> fx.Graph:
    """Trace twice, as if training and as if not: torch.fx would freeze what depends on it."""
    place = f"model {type(model).__name__}"
    whole: set[str] = set()
    with mode_kept(model):
        while True:
            graph, constants = _trace_once(model, whole, training=True)
            eval_graph, eval_constants = _trace_once(model, whole, training=False)
            if str(graph) == str(eval_graph):
                break
            asking = _asking(graph, eval_graph)
            if "" in asking or asking <= whole:
                raise UsageError(
                    f"{place}: its own code asks whether it is training, which a cut would freeze; "
                    "use modules for that, such as nn.Dropout in place of functional dropout, or "
                    "put that part of forward() into a module of its own"
                )
            whole |= asking
    if not all(torch.equal(made, eval_constants[name]) for name, made in constants.items()):
        raise UsageError(
            f"{place}: its own code makes a tensor that is another one each time, which a cut "
            "would freeze; keep it as a buffer (register_buffer), or make it of the picture's"
        )
    _check_sides(graph, place=place)
    return graph


@contextlib.contextmanager
def mode_kept(model: nn.Module) -> Iterator[None]:
    """Restore which modules were training, one by one: users freeze parts of their networks."""
    training = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, was_training in training.items():
            module.training = was_training


def output_node(graph: fx.Graph) -> fx.Node:
    """Return the node that holds what the graph returns."""
    output: fx.Node = next(node for node in reversed(graph.nodes) if node.op == "output")
    return output


class _Tracer(fx.Tracer):
    """Takes the modules of `whole` as they are; notes the innermost one that cannot be traced."""

    proxy_buffer_attributes = True

    def __init__(self, whole: set[str]) -> None:
        super().__init__()
        self._whole = whole
        self.failed: str | None = None

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name in self._whole or super().is_leaf_module(
            m, module_qualified_name
        )

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            name = self.path_of_module(m)
            if self.failed is None and not self.is_leaf_module(m, name):
                self.failed = name
            raise


def _trace_once(
    model: nn.Module, whole: set[str], *, training: bool
) -> tuple[fx.Graph, dict[str, Tensor]]:
    """Return a graph and its constants; adds to `whole` what cannot be traced through."""
    model.train(training)
    while True:
        for name in [name for name in vars(model) if name.startswith(_CONSTANT)]:
            delattr(model, name)
        tracer = _Tracer(whole)
        try:
            with _as_it_was(model):
                graph = tracer.trace(model)
                constants = {n: held for n, held in vars(model).items() if n.startswith(_CONSTANT)}
        except Exception as error:  # the model's own code runs here: it may raise anything
            if tracer.failed is not None:
                whole.add(tracer.failed)
                continue
            raise UsageError(
                f"model {type(model).__name__}: torch.fx cannot trace it: {first_line(error)}; "
                "avoid control flow in its forward() that depends on tensors or their shapes, or "
                "put that part into a module of its own"
            ) from error
        vars(model).update(constants)
        return graph, constants


@contextlib.contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Undo what the code writes to its modules: while it is traced those are stand-ins."""
    before = [
        (held, dict(held)) for module in model.modules() for held in (vars(module), module._buffers)
    ]
    try:
        yield
    finally:
        for held, was in before:
            held.clear()
            held.update(was)


def _asking(graph: fx.Graph, eval_graph: fx.Graph) -> set[str]:
    """Return the modules whose own code does something else in training; "" is the network."""
    ours, theirs = _own_code(graph), _own_code(eval_graph)
    return {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}


def _own_code(graph: fx.Graph) -> dict[str, list[str]]:
    """Return what each module's own code does, without the modules in it."""
    found: dict[str, list[str]] = {}
    for node in graph.nodes:
        paths = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
        if node.op == "call_module" and paths[-1:] == [node.target]:
            paths.pop()
        given = fx.node.map_arg((node.args, node.kwargs), lambda _: "tensor")
        found.setdefault(paths[-1] if paths else "", []).append(f"{node.target} {given}")
    return found


def _check_sides(graph: fx.Graph, *, place: str) -> None:
    num_inputs = sum(node.op == "placeholder" for node in graph.nodes)
    if num_inputs != 1:
        raise UsageError(f"{place}: it takes {num_inputs} inputs, expected one picture; wrap it")
    if not isinstance(output_node(graph).args[0], fx.Node):
        raise UsageError(f"{place}: it returns several values, expected one of logits; wrap it")
