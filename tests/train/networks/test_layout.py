import torch
from torch import Tensor, nn

from headgate.train.networks.backbones import Normalise, PlainModel
from headgate.train.networks.layout import lay_channels_last
from headgate.train.networks.splits import cut

PICTURE = torch.rand(2, 3, 6, 5, generator=torch.Generator().manual_seed(0))


class Viewing(nn.Module):
    """Flattens its maps by `view`, as many networks do before their first linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.second = nn.Conv2d(4, 4, 2)
        self.last = nn.Linear(4 * 3 * 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x))
        out: Tensor = self.last(x.view(x.size(0), -1))
        return out


def test_maps_that_lie_channels_last_can_be_viewed_in_a_network_and_in_its_halves() -> None:
    plain = PlainModel(Normalise((0, 0, 0), (1, 1, 1)), Viewing())
    expected_BK = plain(PICTURE)
    head, tail = cut(plain.network, "first", PICTURE)
    lay_channels_last(plain)
    picture_BCHW = PICTURE.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(plain(picture_BCHW), expected_BK)
    torch.testing.assert_close(tail(head(picture_BCHW)), expected_BK)
    plain(picture_BCHW).sum().backward()


def test_weights_of_any_number_of_axes_are_laid_as_they_can_be() -> None:
    network = Viewing()
    network.shares = nn.Parameter(torch.ones(1, 2, 3, 1, 1))
    lay_channels_last(network)
    assert network.first.weight.is_contiguous(memory_format=torch.channels_last)
    assert network.shares.is_contiguous()
