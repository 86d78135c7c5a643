"""The nodes that could train, as a TOML file says them: their pictures, their speed, their links.

The format is shown in examples/nodes.toml.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

from headgate.profiles.errors import UsageError
from headgate.profiles.parse import parse, shown
from headgate.profiles.storage import read_toml
from headgate.train.split_training.greeting import MAX_NAME, is_name

SCHEMA = 1
MAX_NODES = 200
LEAST, MOST = 1e-6, 1e9  # of a node's numbers: beyond them a plan would be of nothing but rounding


@dataclass(frozen=True, slots=True)
class Node:
    """One client of split training, and the link between it and the server."""

    name: str  # as it says it in its HELLO
    pictures: int  # that it trains on in an epoch
    gmacs_per_s: float  # billions of multiply-adds a second, while it trains
    watts: float  # drawn for training while it computes
    mbps_up: float  # of its link to the server
    mbps_down: float
    radio_watts: float = 0.0  # drawn for what crosses, while it does
    idle_watts: float = 0.0  # drawn for training while it waits for others in its epochs
    rtt_ms: float = 0.0
    labels: tuple[str, ...] = ()  # that its pictures show; none: all of the data set's


@dataclass(frozen=True, slots=True)
class Server:
    """The other side of all of them."""

    gmacs_per_s: float
    watts: float = 0.0  # 0: what the server draws is not to be saved


@dataclass(frozen=True, slots=True)
class NodeList:
    """All that a file of nodes says."""

    server: Server
    nodes: tuple[Node, ...]
    schema: int = SCHEMA

    def showing(self, labels: tuple[str, ...]) -> NodeList:
        """Return the same nodes, with all of these labels for those that name none."""
        nodes = tuple(node if node.labels else replace(node, labels=labels) for node in self.nodes)
        return replace(self, nodes=nodes)


def read_nodes(path: Path) -> NodeList:
    """Return the nodes of a file; raises UsageError naming file and place."""
    said = read_toml(path, error=UsageError)
    if said.keys().isdisjoint({"server", "nodes"}):
        raise UsageError(
            f"{path}: says nothing of nodes, expected [server] and [[nodes]]; give a file such as "
            "examples/nodes.toml"
        )
    found = parse(NodeList, said, where=str(path), error=UsageError)
    check_nodes(found, where=str(path))
    return found


def check_nodes(found: NodeList, *, where: str) -> None:
    """Raise UsageError for what no training could be planned with."""
    if found.schema != SCHEMA:
        raise UsageError(
            f"{where}.schema: is {found.schema}, this version reads {SCHEMA}; update Headgate"
        )
    if not 1 <= len(found.nodes) <= MAX_NODES:
        raise UsageError(f"{where}.nodes: has {len(found.nodes)}, expected 1 to {MAX_NODES}")
    _check_numbers(found.server, needed=("gmacs_per_s",), where=f"{where}.server")
    names = [node.name for node in found.nodes]
    for number, node in enumerate(found.nodes):
        at = f"{where}.nodes[{number}]"
        if not is_name(node.name):
            raise UsageError(
                f"{at}.name: found {node.name!r}, expected 1 to {MAX_NAME} printable characters"
            )
        if names.index(node.name) != number:
            raise UsageError(f"{at}.name: {node.name!r} is there twice; give each its own")
        _check_numbers(node, needed=("pictures", "gmacs_per_s", "mbps_up", "mbps_down"), where=at)


def _check_numbers(found: Node | Server, *, needed: tuple[str, ...], where: str) -> None:
    for each in fields(found):
        value = getattr(found, each.name)
        if not isinstance(value, int | float):
            continue
        is_needed = each.name in needed
        low, words = (LEAST, f"{LEAST:g}") if is_needed else (0.0, "0")
        if not low <= value <= MOST:  # NaN fails too
            raise UsageError(
                f"{where}.{each.name}: found {shown(value)}, expected {words} to {MOST:g}"
            )
