"""Claims about the importance of maps: which filters make them, and how much each counts."""

import pytest
import torch
from torch import fx, nn
from torch.nn import functional

from headgate.profiles.errors import UsageError
from headgate.train.networks.importance import importance_P, making_filters


def head_of(*layers: nn.Module) -> fx.GraphModule:
    return fx.symbolic_trace(nn.Sequential(*layers))


def convolution(channels: int, out_channels: int, *, seed: int = 1) -> nn.Conv2d:
    torch.manual_seed(seed)
    return nn.Conv2d(channels, out_channels, 3, padding=1)


class Shortcut(nn.Module):
    """A residual block, the picture widened before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution(3, 4, seed=2)
        self.main = convolution(4, 4, seed=3)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        x_BCHW = self.stem(x_BCHW)
        summed_BCHW: torch.Tensor = self.relu(x_BCHW + self.norm(self.main(x_BCHW)))
        return summed_BCHW


class Product(nn.Module):
    """A map scaled by another: no one filter makes it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = convolution(3, 4)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        made_BCHW: torch.Tensor = self.conv(x_BCHW)
        return made_BCHW * torch.sigmoid(made_BCHW)


class Functions(nn.Module):
    """Activation and pooling as functions, behind a batch norm without weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = convolution(3, 4)
        self.norm = nn.BatchNorm2d(4, affine=False)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return functional.max_pool2d(functional.relu(self.norm(self.conv(x_BCHW))), 2)


def test_functions_and_a_batch_norm_without_weights_are_walked_through() -> None:
    network = Functions()
    assert network.norm.running_var is not None
    network.norm.running_var.fill_(4.0)
    filters = making_filters(fx.symbolic_trace(network), split="pool")
    plain_P = network.conv.weight.abs().sum(dim=(1, 2, 3))
    torch.testing.assert_close(importance_P(filters, folded=False), plain_P)
    torch.testing.assert_close(importance_P(filters, folded=True), plain_P / 2.0)


def test_importance_is_the_sum_of_absolute_weights_behind_activation_and_pooling() -> None:
    conv = convolution(3, 2)
    with torch.no_grad():
        conv.weight.fill_(-0.5)
        conv.weight[1] = 0.25
    head = head_of(conv, nn.ReLU(), nn.MaxPool2d(2))
    found_P = importance_P(making_filters(head, split="here"), folded=True)
    assert found_P.tolist() == [27 * 0.5, 27 * 0.25]


def test_folded_importance_counts_the_scale_of_batch_norm_and_plain_does_not() -> None:
    conv, norm = convolution(3, 2), nn.BatchNorm2d(2, eps=0.0)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([3.0, -1.0]))
        assert norm.running_var is not None
        norm.running_var.copy_(torch.tensor([4.0, 1.0]))
    filters = making_filters(head_of(conv, norm, nn.ReLU()), split="here")
    plain_P = conv.weight.abs().sum(dim=(1, 2, 3))
    torch.testing.assert_close(importance_P(filters, folded=False), plain_P)
    torch.testing.assert_close(
        importance_P(filters, folded=True), plain_P * torch.tensor([1.5, 1.0])
    )


def test_folded_importance_is_the_same_for_a_filter_that_batch_norm_scales_back() -> None:
    torch.manual_seed(5)
    conv, norm = convolution(3, 2), nn.BatchNorm2d(2, momentum=1.0)
    filters = making_filters(head_of(conv, norm), split="here")
    x_BCHW = torch.randn(16, 3, 8, 8)
    norm(conv(x_BCHW))
    before_P = importance_P(filters, folded=True).detach()
    with torch.no_grad():
        conv.weight.mul_(10)
        assert conv.bias is not None
        conv.bias.mul_(10)
    norm(conv(x_BCHW))
    torch.testing.assert_close(importance_P(filters, folded=True), before_P, rtol=1e-3, atol=0)


def test_an_added_map_counts_the_filters_of_both_sides() -> None:
    block = Shortcut()
    filters = making_filters(fx.symbolic_trace(block), split="here")
    assert {id(made.convolution) for made in filters} == {id(block.stem), id(block.main)}
    expected_P = sum(c.weight.abs().sum(dim=(1, 2, 3)) for c in (block.stem, block.main))
    torch.testing.assert_close(importance_P(filters, folded=False), expected_P)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (head_of(nn.Identity()), "no convolution makes its maps, they are the picture's own"),
        (head_of(nn.ReLU(), nn.MaxPool2d(2)), "no convolution makes its maps"),
        (fx.symbolic_trace(Product()), "stands between it and a convolution"),
        (head_of(convolution(3, 4), nn.PixelShuffle(2)), "stands between it and a convolution"),
    ],
)
def test_maps_that_no_filter_makes_are_refused(head: fx.GraphModule, reason: str) -> None:
    with pytest.raises(
        UsageError, match=r"split 'here': the importance .* cannot be computed"
    ) as e:
        making_filters(head, split="here")
    assert reason in str(e.value)
