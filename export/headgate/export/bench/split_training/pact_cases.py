"""Draws nodes, accuracies and times to plan for, each case a function of its seed alone."""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import exp, inf, log

from headgate.train.pact.choices import everyone
from headgate.train.pact.nodes import Node, NodeList, Server
from headgate.train.pact.pilot_file import Pilot
from headgate.train.pact.planner import Wanted, solution_of

MOST_NODES = 12
EPOCHS = (4, 30)  # of all nodes and maps: what they reach is asked for
HURRY = (0.1, 2.0)  # of the time that this takes
NO_HURRY = 1 / 3  # of the cases have all the time there is


@dataclass(frozen=True, slots=True)
class PactCase:
    """Nodes, and what they are to reach together."""

    nodes: NodeList
    wanted: Wanted


def draw_case(pilot: Pilot, *, seed: int) -> PactCase:
    """Draw 2 to 12 nodes that share the pictures of the pilot, from single boards to desktops."""
    draw = random.Random(seed)
    num_pictures = max(each.num_pictures for run in pilot.trained for each in run.epochs)
    shares = [exp(draw.gauss(0.0, 0.7)) for _ in range(draw.randint(2, MOST_NODES))]
    nodes = tuple(
        _node(draw, f"node{number}", pictures=max(2, round(num_pictures * share / sum(shares))))
        for number, share in enumerate(shares, start=1)
    )
    found = NodeList(Server(gmacs_per_s=200.0, watts=draw.choice((0.0, 30.0))), nodes)
    largest = everyone(found, pilot.costs)[-1]
    plain = solution_of([largest] * draw.randint(*EPOCHS), pilot.curve)
    hurried_s = plain.time_s * _log_uniform(draw, *HURRY)
    deadline_s = inf if draw.random() < NO_HURRY else hurried_s
    return PactCase(found, Wanted(plain.accuracy, deadline_s))


def _node(draw: random.Random, name: str, *, pictures: int) -> Node:
    speed, up = _log_uniform(draw, 0.5, 100.0), _log_uniform(draw, 0.5, 100.0)
    return Node(
        name,
        pictures,
        gmacs_per_s=speed,
        watts=3.0 * speed**0.6 * exp(draw.gauss(0.0, 0.5)),  # quick ones need less per step
        mbps_up=up,
        mbps_down=up * draw.uniform(1.0, 4.0),
        radio_watts=_log_uniform(draw, 0.3, 3.0),
        idle_watts=draw.choice((0.0, 1.0)),
        rtt_ms=_log_uniform(draw, 1.0, 80.0),
    )


def _log_uniform(draw: random.Random, low: float, high: float) -> float:
    return exp(draw.uniform(log(low), log(high)))
