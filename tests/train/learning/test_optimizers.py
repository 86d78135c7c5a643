"""Claims about the optimizer: what decays, and what is trained at all."""

import torch

from headgate.train.learning.optimizers import make_sgd
from headgate.train.networks.bottleneck import Bottleneck
from headgate.train.recipe import PruneConfig


def test_kernels_decay_and_neither_the_filter_nor_batch_norm_does() -> None:
    bottleneck = Bottleneck(4, size_px=(4, 4))
    config = PruneConfig(lr=0.5, momentum=0.0, weight_decay=0.1)
    optimizer = make_sgd(bottleneck.parameters(), config)
    before = {name: p.detach().clone() for name, p in bottleneck.named_parameters()}
    for parameter in bottleneck.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in bottleneck.named_parameters():
        factor = 0.95 if name in ("encoder.weight", "decoder.weight") else 1.0
        torch.testing.assert_close(parameter.detach(), factor * before[name], msg=name)


def test_frozen_weights_are_not_the_optimizers() -> None:
    bottleneck = Bottleneck(4, size_px=(4, 4))
    bottleneck.encoder.requires_grad_(False)
    optimizer = make_sgd(bottleneck.parameters(), PruneConfig())
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert all(parameter is not bottleneck.encoder.weight for parameter in held)
    assert len(held) == len(list(bottleneck.parameters())) - 1
