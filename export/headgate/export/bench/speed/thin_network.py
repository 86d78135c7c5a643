"""A network for measuring networks: the maps of the paper's split, and little to compute.

VGG11 on 32 px has 128 maps of 8 x 8 after its second pooling, and so has this; but what is before
and behind them is so small that many clients can share a few cores and still fill a link. Choose it
with `--model headgate.export.bench.speed.thin_network:ThinNetwork --split features.5`.
"""

from __future__ import annotations

from torch import Tensor, nn

# Shapes: B batch, C channels, H x W, K classes


class ThinNetwork(nn.Module):
    """Two convolutions and poolings before the split, one convolution behind it."""

    def __init__(self, *, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 128, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(128, 16, 1),
            nn.ReLU(),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(16, num_classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits_BK: Tensor = self.classifier(self.flatten(self.pool(self.features(x_BCHW))))
        return logits_BK
