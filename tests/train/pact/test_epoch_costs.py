"""Claims about what an epoch costs: by hand for one node, and how several share the server."""

from __future__ import annotations

import pytest

from headgate.train.pact.epoch_costs import epoch_cost
from headgate.train.pact.nodes import Server
from train.pact.small_plans import NETWORK, THREE, node


def test_an_epoch_of_one_node_is_its_computing_its_link_and_the_server_in_turn() -> None:
    pi = node("pi", pictures=100, rtt_ms=50.0)
    found = epoch_cost([pi], Server(gmacs_per_s=24.0, watts=10.0), NETWORK, budget=4)
    compute_s = 100 * 3 * 3e6 / 2e9
    up_s, down_s = 8 * (100 * 1e3 + 30_000) / 10e6, 8 * (100 * 1e3 + 30_000) / 20e6
    served_s = 100 * 3 * 8e6 / 24e9
    round_trips_s = 4 * 0.050  # batches of 32
    assert found.time_s == pytest.approx(compute_s + up_s + down_s + served_s + round_trips_s)
    assert found.energy_j == pytest.approx(4 * compute_s + 1 * (up_s + down_s) + 10 * served_s)
    assert found.num_bytes == 100 * 2e3 + 60_000


def test_nodes_train_side_by_side_and_the_slowest_ends_the_epoch() -> None:
    each = [epoch_cost([n], THREE.server, NETWORK, budget=32) for n in THREE.nodes]
    found = epoch_cost(THREE.nodes, THREE.server, NETWORK, budget=32)
    assert found.time_s == max(one.time_s for one in each)
    assert found.energy_j == pytest.approx(sum(one.energy_j for one in each))
    assert found.num_bytes == sum(one.num_bytes for one in each)


def test_a_slow_server_is_what_many_nodes_wait_for() -> None:
    server = Server(gmacs_per_s=1.0)
    found = epoch_cost(THREE.nodes, server, NETWORK, budget=4)
    assert found.time_s == pytest.approx(6000 * 3 * 8e6 / 1e9)


def test_who_waits_for_others_draws_what_it_draws_when_idle() -> None:
    quick = node("quick", gmacs_per_s=1000.0, watts=0.0, radio_watts=0.0, idle_watts=3.0)
    slow = node("slow", watts=0.0, radio_watts=0.0)
    server = Server(gmacs_per_s=1e6)
    found = epoch_cost([quick, slow], server, NETWORK, budget=4)
    alone = epoch_cost([quick], server, NETWORK, budget=4)
    waits_s = found.time_s - alone.time_s
    assert found.energy_j - alone.energy_j == pytest.approx(3 * waits_s)
