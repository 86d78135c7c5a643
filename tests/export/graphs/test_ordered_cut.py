"""Claims about headgate.export.graphs.ordered_cut: renumbered maps, and where they cannot be."""

import pytest
import torch
from torch import Tensor, nn

from headgate.export.graphs.ordered_cut import ordered_exit, ordered_head, ordered_tail
from headgate.train.networks.backbones import build_backbone
from headgate.train.networks.split_model import ExitHead
from headgate.train.networks.splits import cut

PICTURES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))


def halves(
    model: str, split: str, *, width: float = 0.125
) -> tuple[torch.fx.GraphModule, torch.fx.GraphModule]:
    """Return both halves of a network whose batch norms are no identity."""
    torch.manual_seed(5)
    backbone = build_backbone(model, num_classes=3, input_px=(32, 32), width=width)
    for layer in backbone.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for held in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                assert held is not None
                held.data.uniform_(0.5, 1.5)
    return cut(backbone.eval(), split, PICTURES)


def shuffled(num: int) -> list[int]:
    return torch.randperm(num, generator=torch.Generator().manual_seed(1)).tolist()


def maps_of(head: nn.Module) -> Tensor:
    with torch.no_grad():
        maps: Tensor = head(PICTURES)
    return maps


@pytest.mark.parametrize(
    ("model", "split", "folds"),
    [
        # Whether the head can make its maps in another order, and whether the tail can read them.
        ("vgg11", "features.7", (True, True)),  # pooling behind it; a convolution before it
        ("vgg11", "features.4", (True, True)),  # a convolution; a batch norm
        ("lenet", "features.2", (True, True)),
        ("mobilenet_v2", "features.4.main.2", (True, False)),  # a convolution of each map alone
        ("mobilenet_v2", "features.4", (True, False)),  # a batch norm; a block that adds its maps
        ("mobilenet_v2", "features.2", (False, False)),  # a sum; a block that adds its maps
        ("mobilenet_v2", "features.3", (False, True)),  # a sum; a block that does not
        ("resnet18", "stages.0", (False, True)),  # a sum; two convolutions
        ("mobilenet_v2", "0", (False, True)),  # the picture; a convolution
    ],
)
def test_halves_answer_as_before_with_maps_in_another_order_where_that_can_be(
    model: str, split: str, folds: tuple[bool, bool]
) -> None:
    head, tail = halves(model, split)
    natural = maps_of(head)
    order = shuffled(natural.shape[1])
    other_head, other_tail = ordered_head(head, order), ordered_tail(tail, order)
    assert (other_head is not None, other_tail is not None) == folds
    if other_head is not None:
        torch.testing.assert_close(maps_of(other_head), natural[:, order])
    if other_tail is not None:
        with torch.no_grad():
            torch.testing.assert_close(other_tail(natural[:, order]), tail(natural))
    assert torch.equal(maps_of(head), natural)  # the trained one is as it was


def test_a_layer_that_is_run_twice_is_not_renumbered() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            twice: Tensor = self.layer(self.layer(x))
            return twice

    traced = torch.fx.symbolic_trace(Twice())
    assert ordered_head(traced, [2, 0, 1]) is None
    assert ordered_tail(traced, [2, 0, 1]) is None


def test_a_norm_without_weights_still_holds_what_is_in_an_order() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, affine=False)

        def forward(self, x: Tensor) -> Tensor:
            twice: Tensor = self.norm(self.layer(self.norm(x)))
            return twice

    assert ordered_head(torch.fx.symbolic_trace(Twice()), [2, 0, 1]) is None


def test_slopes_of_their_own_keep_maps_in_their_order() -> None:
    sloped = nn.Sequential(nn.Conv2d(3, 3, 1), nn.PReLU(3))
    assert ordered_head(torch.fx.symbolic_trace(sloped), [2, 0, 1]) is None
    plain = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
    assert ordered_head(torch.fx.symbolic_trace(plain), [2, 0, 1]) is not None


def test_a_tail_that_begins_in_place_is_renumbered_behind_its_copy() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 1), nn.Flatten()
    ).eval()
    picture, order = torch.rand(1, 3, 4, 4), shuffled(4)
    head, tail = cut(network, "root.0", picture)
    ordered = ordered_tail(tail, order)
    assert ordered is not None
    with torch.no_grad():
        maps = head(picture)
        torch.testing.assert_close(ordered(maps[:, order]), tail(maps))


def test_the_early_exit_reads_renumbered_maps() -> None:
    torch.manual_seed(5)
    early_exit = ExitHead(6, size_px=(8, 8), num_classes=3, head_macs=10_000).eval()
    maps, order = torch.rand(2, 6, 8, 8), shuffled(6)
    ordered = ordered_exit(early_exit, order)
    with torch.no_grad():
        torch.testing.assert_close(ordered(maps[:, order]), early_exit(maps))
