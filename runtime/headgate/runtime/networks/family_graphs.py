"""The graphs of a family by their role, each held to the inputs and outputs that its role has."""

import contextlib
from collections.abc import Iterator

from headgate.profiles.errors import FamilyError
from headgate.profiles.family import Family
from headgate.profiles.manifest import Member
from headgate.runtime.networks.graphs import EngineOptions, Graph, GraphRunError
from headgate.runtime.networks.scales import SCALE_INPUTS

HEAD_OUTPUTS = ("features", "exit_probabilities")
TAIL_OUTPUTS = ("probabilities",)


def head_graph(family: Family, member: Member, options: EngineOptions) -> Graph:
    """Load what the device runs for a member: a picture in, integers and the exit's answer out."""
    graph = Graph(family.file(member.head), options=options)
    graph.require(inputs={"picture", *SCALE_INPUTS}, outputs=set(HEAD_OUTPUTS))
    return graph


def tail_graph(family: Family, member: Member, options: EngineOptions) -> Graph:
    """Load what the edge runs for a member: integers in, the answer out."""
    graph = Graph(family.file(member.tail), options=options)
    graph.require(inputs={"features", *SCALE_INPUTS}, outputs=set(TAIL_OUTPUTS))
    return graph


def whole_network(family: Family, name: str, options: EngineOptions) -> Graph:
    """Load a graph that answers pictures by itself; `name` is its path in the family folder."""
    graph = Graph(family.file(name), options=options)
    graph.require(inputs={"picture"}, outputs=set(TAIL_OUTPUTS))
    return graph


@contextlib.contextmanager
def blaming_the_family(family: Family) -> Iterator[None]:
    """Say of a graph that fails on blank input that the family, and not a frame, is to blame."""
    try:
        yield
    except GraphRunError as reason:
        raise FamilyError(
            f"{family.path}: {reason}; its graphs do not take what family.json says, or the "
            "machine lacks memory for them; export the family again"
        ) from None
