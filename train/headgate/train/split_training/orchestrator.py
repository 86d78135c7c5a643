"""Whose batches cross: the orchestrator of AdaSplit (arXiv 2112.01637).

Where clients differ, a server learns more from those that it is still wrong about. It is a bandit's
problem: which clients to hear next, by what they last cost, without forgetting the others. The
paper plays it out an iteration at a time; over a network that would be a question and an answer for
each, from clients that have nothing else to say. So the game is played ahead for an epoch, with
losses as they were last measured, and each client is told how often it would have been chosen.

The bandit is discounted UCB (Garivier and Moulines 2011): of each iteration the clients with the
largest

    L_i / S_i + sqrt(2 ln(S) / S_i)

where S_i counts how often client i was chosen, L_i adds up its losses then, both discounted by
`DISCOUNT` per iteration, and S is the sum of all S_i.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log, sqrt

DISCOUNT = 0.87  # gamma of the paper
ITERATIONS = 200  # of an epoch


def crossing_shares(losses: Mapping[str, float | None], *, share: float) -> dict[str, float]:
    """Return which part of its batches each client sends in the coming epoch, 0..1.

    `losses` are mean cross entropies of the server, None where a client has not sent any batch: it
    counts as much as the worst. The shares' mean is `share`, but each client sends something.
    """
    known = [loss for loss in losses.values() if loss is not None]
    worst = max(known, default=1.0)
    loss_of = {name: worst if loss is None else loss for name, loss in losses.items()}
    times = dict.fromkeys(loss_of, 0)
    counts = dict.fromkeys(loss_of, 0.0)
    owed = 0.0
    for _ in range(ITERATIONS):
        owed += share * len(loss_of)
        num_chosen = int(owed)
        owed -= num_chosen
        total = sum(counts.values())
        worth = {name: _worth(loss_of[name], counts[name], total=total) for name in loss_of}
        chosen = sorted(worth, key=lambda name: (-worth[name], times[name], name))[:num_chosen]
        for name in counts:
            counts[name] *= DISCOUNT
        for name in chosen:
            counts[name] += 1.0
            times[name] += 1
    return {name: max(1, number) / ITERATIONS for name, number in times.items()}


def _worth(loss: float, count: float, *, total: float) -> float:
    """Return the upper bound of a client's loss: its mean does not change while it is played."""
    if count == 0.0:
        return float("inf")
    return loss + sqrt(2.0 * log(max(1.0, total)) / count)
