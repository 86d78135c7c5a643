"""Claims about files of nodes: the example is one, and what is in it."""

from __future__ import annotations

from pathlib import Path

from headgate.train.pact.nodes import read_nodes

EXAMPLE = Path(__file__).parents[3] / "examples" / "nodes.toml"


def test_the_example_is_a_file_of_nodes() -> None:
    found = read_nodes(EXAMPLE)
    assert [node.name for node in found.nodes] == ["door", "gate", "field", "office"]
    assert found.nodes[0].idle_watts == 0.0
    assert found.server.watts == 0.0


def test_nodes_that_name_no_labels_show_all_that_there_are() -> None:
    found = read_nodes(EXAMPLE).showing(("cat", "dog"))
    assert {node.labels for node in found.nodes} == {("cat", "dog")}
