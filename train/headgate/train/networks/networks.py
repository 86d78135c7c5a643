"""The architectures that come with Headgate: VGG11, ResNet-18, MobileNetV2 and LeNet-5.

They take a normalised float picture [B, 3, H, W] and return logits [B, K]. Every activation is a
module of its own, called once, so that each is a layer to name as a split. With `small_input`
stems stride no picture down before anything was learned from it.
"""

from __future__ import annotations

from torch import Tensor, nn

# Shapes: B batch, C channels, H height, W width, K classes


class Vgg11(nn.Module):
    """VGG11 with batch norm; `features.7` is the second pooling (128 maps of 8 x 8 at 32 px).

    A global average pool and one linear layer replace the three wide ones: at 32 px those
    only see one value repeated 49 times, and carry 28 million parameters to do it.
    """

    PLAN = (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0)  # 0 is a pooling

    def __init__(self, *, num_classes: int, width: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for planned in self.PLAN:
            if planned == 0:
                layers.append(nn.MaxPool2d(2))
                continue
            out_channels = scaled(planned, width)
            layers += conv_norm_relu(channels, out_channels)
            channels = out_channels
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(channels, num_classes)
        initialise(self)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits_BK: Tensor = self.classifier(self.flatten(self.pool(self.features(x_BCHW))))
        return logits_BK


class LeNet(nn.Module):
    """LeNet-5 with ReLU and max pooling; its first linear layer follows the input size."""

    def __init__(self, *, num_classes: int, size_px: tuple[int, int], width: float) -> None:
        super().__init__()
        first, second = scaled(6, width), scaled(16, width)
        self.features = nn.Sequential(
            nn.Conv2d(3, first, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        height, breadth = (((px - 4) // 2 - 4) // 2 for px in size_px)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Linear(second * height * breadth, scaled(120, width)),
            nn.ReLU(),
            nn.Linear(scaled(120, width), scaled(84, width)),
            nn.ReLU(),
            nn.Linear(scaled(84, width), num_classes),
        )
        initialise(self)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits_BK: Tensor = self.classifier(self.flatten(self.features(x_BCHW)))
        return logits_BK


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut; cut after the block, never inside it."""

    def __init__(self, channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *conv_norm_relu(channels, out_channels, stride=stride),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )
        self.relu = nn.ReLU()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out_BCHW: Tensor = self.relu(self.main(x_BCHW) + self.shortcut(x_BCHW))
        return out_BCHW


class ResNet18(nn.Module):
    """ResNet-18; up to 64 px the stem is one 3 x 3 convolution that keeps the size."""

    def __init__(self, *, num_classes: int, small_input: bool, width: float) -> None:
        super().__init__()
        channels = scaled(64, width)
        if small_input:
            self.stem = nn.Sequential(*conv_norm_relu(3, channels))
        else:
            self.stem = nn.Sequential(
                nn.Conv2d(3, channels, 7, 2, 3, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
                nn.MaxPool2d(3, 2, 1),
            )
        stages: list[nn.Module] = []
        for planned, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            out_channels = scaled(planned, width)
            first = ResidualBlock(channels, out_channels, stride=stride)
            second = ResidualBlock(out_channels, out_channels, stride=1)
            stages.append(nn.Sequential(first, second))
            channels = out_channels
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(channels, num_classes)
        initialise(self)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.stages(self.stem(x_BCHW))
        logits_BK: Tensor = self.classifier(self.flatten(self.pool(x_BCHW)))
        return logits_BK


class InvertedResidual(nn.Module):
    """MobileNetV2's block: widen with 1 x 1, filter each map with 3 x 3, narrow linearly."""

    def __init__(self, channels: int, out_channels: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU6()]
        layers += [
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU6(),
            nn.Conv2d(inner, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        ]
        self.main = nn.Sequential(*layers)
        self.has_shortcut = stride == 1 and channels == out_channels

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out_BCHW: Tensor = self.main(x_BCHW)
        return x_BCHW + out_BCHW if self.has_shortcut else out_BCHW


class MobileNetV2(nn.Module):
    """MobileNetV2; up to 64 px the stem and the first narrowing block keep the size."""

    PLAN = (  # expansion, channels, blocks, stride of the first block
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(self, *, num_classes: int, small_input: bool, width: float) -> None:
        super().__init__()
        channels = scaled(32, width)
        stem_stride = 1 if small_input else 2
        layers: list[nn.Module] = [
            nn.Sequential(
                nn.Conv2d(3, channels, 3, stem_stride, 1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU6(),
            )
        ]
        for expansion, planned, num_blocks, first_stride in self.PLAN:
            out_channels = scaled(planned, width)
            if small_input and planned == 24:
                first_stride = 1
            for block in range(num_blocks):
                stride = first_stride if block == 0 else 1
                layers.append(
                    InvertedResidual(channels, out_channels, stride=stride, expansion=expansion)
                )
                channels = out_channels
        last = max(1280, scaled(1280, width)) if width > 1.0 else scaled(1280, width)
        layers.append(
            nn.Sequential(
                nn.Conv2d(channels, last, 1, bias=False), nn.BatchNorm2d(last), nn.ReLU6()
            )
        )
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(last, num_classes)
        initialise(self)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        pooled_BC: Tensor = self.flatten(self.pool(self.features(x_BCHW)))
        logits_BK: Tensor = self.classifier(self.dropout(pooled_BC))
        return logits_BK


def scaled(channels: int, width: float) -> int:
    """Scale a planned number of channels by the width multiplier, to a multiple of 4, at least 4.

    Multiples of 4 keep vector units busy; widths below four channels are not worth training.
    A count that is planned below that (LeNet's 6) is kept when the width is 1.
    """
    if width == 1.0:
        return channels
    return max(4, round(channels * width / 4) * 4)


def conv_norm_relu(channels: int, out_channels: int, *, stride: int = 1) -> list[nn.Module]:
    """Return a 3 x 3 convolution, batch norm and ReLU, each a layer that can be named."""
    return [
        nn.Conv2d(channels, out_channels, 3, stride, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    ]


def initialise(network: nn.Module) -> None:
    """Draw convolutions as He et al. do (fan out, ReLU) and linear layers small."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            nn.init.zeros_(module.bias)
