"""A member small enough for claims about its maps."""

from collections.abc import Sequence

import torch

from headgate.train.networks.backbones import build_backbone
from headgate.train.networks.split_model import SplitModel, build_split_model, cut_network


def small_member(selected: Sequence[int]) -> SplitModel:
    """Return a LeNet with 6 maps at the split of which these cross; its weights are the same."""
    torch.manual_seed(0)
    network = cut_network(
        build_backbone("lenet", num_classes=2, input_px=16),
        split="features.2",
        example_BCHW=torch.zeros(1, 3, 16, 16),
        num_classes=2,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    )
    made = build_split_model(network, budget=len(selected))
    made.freeze_selection(selected)
    return made
