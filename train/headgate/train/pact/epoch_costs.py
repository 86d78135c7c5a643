"""What an epoch of split training costs: time and energy, from what nodes and network need.

One batch of a client is under way at a time, so its computing, its link and the server's answer
follow each other; clients work side by side, and the server takes their batches in turn:

    t_i = pictures_i (3 head / speed_i + up / rate_up_i + down / rate_down_i + 3 tail / speed_0)
          + batches_i rtt_i + halves
    t   = max(max_i t_i, sum_i pictures_i 3 tail / speed_0)

A training step costs about three forward passes: one, and for its gradients twice as much again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from headgate.train.pact.nodes import Node, Server

PASSES = 3  # forward passes that a training step is worth


@dataclass(frozen=True, slots=True)
class BudgetCosts:
    """What one picture costs with so many maps crossing."""

    budget: int
    client_macs: int  # forward
    server_macs: int
    bytes_up: float
    bytes_down: float


@dataclass(frozen=True, slots=True)
class NetworkCosts:
    """What training a network costs by budget, and what crosses once for each client's epoch."""

    budgets: tuple[BudgetCosts, ...]  # ascending
    batch_size: int
    half_bytes_up: int
    half_bytes_down: int

    def of(self, budget: int) -> BudgetCosts:
        return next(each for each in self.budgets if each.budget == budget)


@dataclass(frozen=True, slots=True)
class EpochCost:
    """Of one epoch: wall time, energy of all sides, bytes of both directions."""

    time_s: float
    energy_j: float
    num_bytes: float


def epoch_cost(
    nodes: Sequence[Node], server: Server, network: NetworkCosts, *, budget: int
) -> EpochCost:
    """Return what it costs to train on all pictures of these nodes once."""
    costs = network.of(budget)
    answer_s = PASSES * costs.server_macs / (server.gmacs_per_s * 1e9)
    served_s = sum(node.pictures for node in nodes) * answer_s
    busy = [_busy(node, costs, network) for node in nodes]
    ends_s = [
        compute_s + radio_s + waits_s + node.pictures * answer_s
        for node, (compute_s, radio_s, waits_s) in zip(nodes, busy, strict=True)
    ]
    time_s = max(*ends_s, served_s)
    energy_j = served_s * server.watts
    for node, (compute_s, radio_s, _) in zip(nodes, busy, strict=True):
        energy_j += node.watts * compute_s + node.radio_watts * radio_s
        energy_j += node.idle_watts * (time_s - compute_s - radio_s)
    halves = len(nodes) * (network.half_bytes_up + network.half_bytes_down)
    crossing = sum(node.pictures for node in nodes) * (costs.bytes_up + costs.bytes_down)
    return EpochCost(time_s, energy_j, crossing + halves)


def _busy(node: Node, costs: BudgetCosts, network: NetworkCosts) -> tuple[float, float, float]:
    """Return the seconds of a node's epoch: computing, on the link, and of round trips."""
    compute_s = node.pictures * PASSES * costs.client_macs / (node.gmacs_per_s * 1e9)
    up = node.pictures * costs.bytes_up + network.half_bytes_up
    down = node.pictures * costs.bytes_down + network.half_bytes_down
    radio_s = 8e-6 * (up / node.mbps_up + down / node.mbps_down)
    return compute_s, radio_s, ceil(node.pictures / network.batch_size) * node.rtt_ms / 1000
