"""A network that answers differently once it is exported: what the parity gate exists for."""

import torch
from torch import Tensor, fx, nn


@fx.wrap
def drift(x_BCHW: Tensor) -> Tensor:
    """Scale features by 1.2, but only inside an exported graph."""
    return x_BCHW * 1.2 if torch.compiler.is_exporting() else x_BCHW


class Drifting(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(4, num_classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        features_BCHW = drift(self.relu(self.conv(x_BCHW)))
        logits_BK: Tensor = self.classifier(self.flatten(self.pool(features_BCHW)))
        return logits_BK


def build(num_classes: int) -> nn.Module:
    return Drifting(num_classes)
