"""Measures how fast this machine trains its half of a network, for the file of nodes."""

from __future__ import annotations

import time

import torch
from torch.nn import functional

from headgate.train.networks.split_model import SplitModel
from headgate.train.pact.epoch_costs import PASSES
from headgate.train.pact.network_costs import forward_macs
from headgate.train.run.plan import Plan
from headgate.train.split_training.halves import precision_of

MEASURED_S = 3.0
WARM_UP = 3  # steps


def measure_speed(plan: Plan, *, side: str, budget: int, device: torch.device) -> float:
    """Return the billions of multiply-adds a second with which `side` takes steps.

    `side` is "client" or "server". A step counts as three forward passes, as plans count it.
    """
    model = plan.blueprint.build_split_model(budget=budget)
    model.freeze_selection()
    macs = dict(
        zip(("client", "server"), forward_macs(model, plan.blueprint.example()), strict=True)
    )
    model.to(device).train()
    batch_size = plan.config.batch_size
    x_BCHW = plan.blueprint.example().to(device).expand(batch_size, -1, -1, -1)
    code_BCHW = model.bottleneck.encode(model.features(x_BCHW)).detach()
    num_steps, began_s, spent_s = -WARM_UP, 0.0, 0.0
    while spent_s < MEASURED_S:
        if num_steps == 0:
            began_s = _now_s(device)
        with precision_of(plan.config, device):
            loss = _client_loss(model, x_BCHW) if side == "client" else _loss(model, code_BCHW)
        torch.autograd.backward(loss)
        num_steps += 1
        spent_s = _now_s(device) - began_s if num_steps > 0 else 0.0
    return PASSES * macs[side] * batch_size * num_steps / spent_s / 1e9


def _client_loss(model: SplitModel, x_BCHW: torch.Tensor) -> torch.Tensor:
    features_BPHW = model.features(x_BCHW)
    exit_logits_BK = model.exit_head(features_BPHW.detach())
    return _cross_entropy(exit_logits_BK) + model.bottleneck.encode(features_BPHW).float().mean()


def _loss(model: SplitModel, code_BCHW: torch.Tensor) -> torch.Tensor:
    received_BCHW = code_BCHW.clone().requires_grad_()
    return _cross_entropy(model.tail(model.bottleneck.decode(received_BCHW)))


def _cross_entropy(logits_BK: torch.Tensor) -> torch.Tensor:
    labels_B = torch.zeros(len(logits_BK), dtype=torch.int64, device=logits_BK.device)
    return functional.cross_entropy(logits_BK.float(), labels_B)


def _now_s(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
