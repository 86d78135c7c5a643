"""Measures what training a network takes: multiply-adds of both sides, and bytes as they cross."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from headgate.train.networks.split_model import SplitModel
from headgate.train.networks.splits import every_multiply_counted
from headgate.train.pact.epoch_costs import BudgetCosts, NetworkCosts
from headgate.train.run.plan import Plan
from headgate.train.split_training.epoch_record import DepruneEpoch
from headgate.train.split_training.halves import pack_half


def network_costs(
    plan: Plan, epochs: Mapping[int, DepruneEpoch], *, half_returns: bool
) -> NetworkCosts:
    """Return the costs of each budget of which an epoch of one client is known, by its budget.

    `half_returns` says that the client is given a half with each GO.
    """
    half_bytes = 0
    costs = []
    for budget, done in sorted(epochs.items()):
        model = plan.blueprint.build_split_model(budget=budget)
        model.freeze_selection()
        half_bytes = max(half_bytes, len(pack_half(model)))
        client_macs, server_macs = forward_macs(model, plan.blueprint.example())
        costs.append(
            BudgetCosts(
                budget,
                client_macs=client_macs,
                server_macs=server_macs,
                bytes_up=(done.bytes_up - half_bytes) / done.num_pictures,
                bytes_down=(done.bytes_down - half_bytes * half_returns) / done.num_pictures,
            )
        )
    return NetworkCosts(
        tuple(costs),
        batch_size=plan.config.batch_size,
        half_bytes_up=half_bytes,
        half_bytes_down=half_bytes if half_returns else 0,
    )


@torch.no_grad()
def forward_macs(model: SplitModel, x_1CHW: Tensor) -> tuple[int, int]:
    """Return the multiply-adds of the client's half and of the server's, for one picture."""
    model.eval()
    with every_multiply_counted():
        with FlopCounterMode(display=False) as client:
            features_1PHW = model.features(x_1CHW)
            model.exit_head(features_1PHW)
            code_1CHW = model.bottleneck.encode(features_1PHW)
        with FlopCounterMode(display=False) as server:
            model.tail(model.bottleneck.decode(code_1CHW))
    return client.get_total_flops() // 2, server.get_total_flops() // 2
