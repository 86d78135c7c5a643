"""Networks as users bring them: sound ones, and ones with a fault each."""

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """A sound network of two convolutions; the others below are this one with a fault."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.second = nn.Conv2d(4, 4, 3)
        self.last = nn.Linear(4, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.middle(self.second(self.first(x))).mean((2, 3)))
        return logits

    def middle(self, x: Tensor) -> Tensor:
        return x.relu()


class Dropping(Network):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.dropout = nn.Dropout()
        self.norm = nn.BatchNorm2d(4)

    def middle(self, x: Tensor) -> Tensor:
        kept: Tensor = self.norm(self.dropout(x))
        return kept


class OfTheBatch(Network):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)

    def middle(self, x: Tensor) -> Tensor:
        normal: Tensor = self.norm(x)
        return normal


class Noisy(Network):
    def middle(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


class Softmax(Network):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(1)


class Frozen(Network):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.requires_grad_(False)


class InPlace(Network):
    def middle(self, x: Tensor) -> Tensor:
        return x.sigmoid().mul_(2).relu()


class Drawn(Network):
    """Holds numbers drawn by chance that are not saved."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.register_buffer("drawn_1C11", torch.rand(1, 4, 1, 1), persistent=False)

    def middle(self, x: Tensor) -> Tensor:
        return x * self.get_buffer("drawn_1C11")


class PerMap(Network):
    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.second(self.first(x))
        return maps


class Unwritable(Network):
    def middle(self, x: Tensor) -> Tensor:
        return torch.digamma(1 + x.relu())


class OneByOne(Network):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).view(1, -1)


class TooMany(Network):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes + 1)


def lazy(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(num_classes))


def double(num_classes: int) -> nn.Module:
    return Network(num_classes).double()


class Biased(nn.Module):
    """A sound network of any width whose own code reads buffers, on both sides of the split."""

    shift_1C11: Tensor
    bias_1C11: Tensor

    def __init__(self, num_classes: int, width: float) -> None:
        super().__init__()
        channels = round(8 * width)
        self.first = nn.Conv2d(3, channels, 3)
        self.relu = nn.ReLU()
        self.second = nn.Conv2d(channels, 8, 3)
        self.last = nn.Linear(8, num_classes)
        self.register_buffer("shift_1C11", torch.full((1, 3, 1, 1), 0.5))
        self.register_buffer("bias_1C11", torch.ones(1, 8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        maps = self.second(self.relu(self.first(x + self.shift_1C11))) + self.bias_1C11
        logits: Tensor = self.last(maps.mean((2, 3)))
        return logits
