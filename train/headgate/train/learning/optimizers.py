"""The optimizer of every training: SGD with momentum."""

from collections.abc import Iterable

from torch import nn
from torch.optim import SGD

from headgate.train.recipe import PruneConfig


def make_sgd(parameters: Iterable[nn.Parameter], config: PruneConfig) -> SGD:
    """Return SGD with momentum; weight decay is for convolutions and linear layers' weights only.

    Decay would draw the filter, and the scales of batch norm, to values that mean something.
    """
    trained = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return SGD(groups, lr=config.lr, momentum=config.momentum)
