"""Says where a training computes."""

import torch

from headgate.profiles.errors import UsageError
from headgate.train.recipe import PruneConfig


def compute_device(config: PruneConfig) -> torch.device:
    """Return the GPU, if there is one and the CPU was not asked for; else the CPU."""
    has_cuda = torch.cuda.is_available()
    if config.device == "cuda" and not has_cuda:
        raise UsageError(
            "--device: cuda is not usable here (torch finds no GPU); use --device cpu or auto"
        )
    return torch.device("cuda" if has_cuda and config.device != "cpu" else "cpu")
