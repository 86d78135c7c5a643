"""What the places are called where a traced network might be cut.

A split is named after the layer whose output crosses: a leaf module (`features.7`), a block
(`stages.0.1`, the output of the whole residual block), or `0`, the picture itself. A layer that
runs more than once has a name per run: `relu`, `relu#2`. A layer whose whole name is a number
(`nn.Sequential` at the top) is called `root.3`, because bare numbers are positions in the list of
splits.
"""

from __future__ import annotations

from collections import Counter

from torch import fx, nn

PICTURE = "0"


def cut_names(graph: fx.Graph) -> dict[fx.Node, list[str]]:
    """Name the nodes one may cut after, in the order of computation; best name first.

    Where a block's result is that of its last layer, both names mean one tensor: the
    block's comes first unless it is a mere container.
    """
    runs: Counter[str] = Counter()
    leaves: dict[fx.Node, str] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            runs[str(node.target)] += 1
            run = runs[str(node.target)]
            leaves[node] = _readable(str(node.target)) + (f"#{run}" if run > 1 else "")
    blocks = _block_results(graph)
    names: dict[fx.Node, list[str]] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            names[node] = [PICTURE]
        leaf = [leaves[node]] if node in leaves else []
        containers = [name for name, is_container in blocks.get(node, []) if is_container]
        whole = [name for name, is_container in blocks.get(node, []) if not is_container]
        if leaf or containers or whole:
            names[node] = whole + leaf + containers
    return names


def _block_results(graph: fx.Graph) -> dict[fx.Node, list[tuple[str, bool]]]:
    """Map a node to the blocks it is the result of, innermost first, and whether mere containers.

    A block called more than once has several results, hence no name to cut after.
    """
    inside: dict[str, list[fx.Node]] = {}
    is_container: dict[str, bool] = {}
    for node in graph.nodes:
        for name, (path, kind) in node.meta.get("nn_module_stack", {}).items():
            if path and path != node.target:
                inside.setdefault(name, []).append(node)
                is_container[name] = kind in (nn.Sequential, nn.ModuleList)
    results: dict[fx.Node, list[tuple[str, bool]]] = {}
    for name, nodes in reversed(inside.items()):
        members = set(nodes)
        leaving = [node for node in nodes if not members.issuperset(node.users)]
        if len(leaving) == 1:
            results.setdefault(leaving[0], []).append((_readable(name), is_container[name]))
    return results


def _readable(target: str) -> str:
    return f"root.{target}" if target.isdecimal() else target
