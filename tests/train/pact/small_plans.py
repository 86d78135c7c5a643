"""Nodes, costs and curves that tests plan with."""

from __future__ import annotations

from typing import Any

from headgate.train.pact.epoch_costs import BudgetCosts, NetworkCosts
from headgate.train.pact.learning_curve import LearningCurve
from headgate.train.pact.nodes import Node, NodeList, Server

NETWORK = NetworkCosts(
    (
        BudgetCosts(4, client_macs=3_000_000, server_macs=8_000_000, bytes_up=1e3, bytes_down=1e3),
        BudgetCosts(32, client_macs=3_000_000, server_macs=8_000_000, bytes_up=8e3, bytes_down=8e3),
    ),
    batch_size=32,
    half_bytes_up=30_000,
    half_bytes_down=30_000,
)
CURVE = LearningCurve(
    (4, 32),
    floors=(0.02, 0.0),
    shares=(0.7, 1.0),
    later_shares=(0.85, 1.0),
    scale=15.0,
    exponent=1 / 3,
    repeats=30.0,
    crowding=0.2,
    rms_error=0.015,
)


def node(name: str, **changes: Any) -> Node:
    """Return a node like a small computer on a wireless link, but for the changes."""
    usual: dict[str, Any] = {
        "pictures": 2000,
        "gmacs_per_s": 2.0,
        "watts": 4.0,
        "mbps_up": 10.0,
        "mbps_down": 20.0,
        "radio_watts": 1.0,
    }
    return Node(name, **{**usual, **changes})


def nodes(*found: Node) -> NodeList:
    return NodeList(Server(gmacs_per_s=200.0, watts=20.0), found)


# A file of nodes that have 16 pictures each.
NODES = """
[server]
gmacs_per_s = 100.0

[[nodes]]
name = "ann"
pictures = 16
gmacs_per_s = 1.0
watts = 4.0
mbps_up = 5.0
mbps_down = 5.0
radio_watts = 1.0

[[nodes]]
name = "bo"
pictures = 16
gmacs_per_s = 30.0
watts = 60.0
mbps_up = 50.0
mbps_down = 50.0
"""

# A slow and thrifty one, a quick one that costs, and one on a slow link.
THREE = nodes(
    node("pi"),
    node("pc", gmacs_per_s=50.0, watts=80.0, mbps_up=100.0, mbps_down=100.0),
    node("field", mbps_up=1.0, mbps_down=2.0, radio_watts=2.5),
)
