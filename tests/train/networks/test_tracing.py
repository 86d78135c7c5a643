"""Claims about what torch.fx alone would freeze, refuse, or see through to no end."""

import pytest
import torch
from torch import Tensor, nn

from headgate.profiles.errors import UsageError
from headgate.train.networks.splits import cut, list_splits
from headgate.train.networks.tracing import trace

PICTURE = torch.rand(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))


class DropPath(nn.Module):
    """Stochastic depth as timm and torchvision have it: it asks whether it is training."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(0.5)


class Padding(nn.Module):
    """Its code branches on the size of its maps."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, (0, 0, 0, 1)) if x.shape[2] % 2 else x


class Residual(nn.Module):
    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 1)
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        deeper: Tensor = self.branch(self.layer(x))
        return deeper + x[:, :, : deeper.shape[2]].mean()


def around(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), *layers, nn.Conv2d(4, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


@pytest.mark.parametrize("branch", [DropPath(), Padding()])
def test_a_module_that_cannot_be_traced_through_runs_whole(branch: nn.Module) -> None:
    network = around(Residual(branch)).eval()
    names = [point.name for point in list_splits(network, PICTURE) if point.valid]
    assert names == ["0", "root.0", "root.1", "root.2", "root.3"]
    for name in names:
        head, tail = cut(network, name, PICTURE)
        assert torch.equal(tail(head(PICTURE)), network(PICTURE))


def test_stochastic_depth_is_drawn_in_training_alone_on_both_sides_of_a_cut() -> None:
    network = around(Residual(DropPath()), Residual(DropPath()))
    head, tail = cut(network, "root.1", PICTURE)
    features = head.eval()(PICTURE)
    assert torch.equal(head(PICTURE), features)
    assert torch.equal(tail.eval()(features), tail(features))
    for half, given in ((head, PICTURE), (tail, features)):
        half.train()
        assert len({tuple(half(given).flatten().tolist()) for _ in range(20)}) > 1


class OwnStatistics(nn.Module):
    """A norm with averages of its own, which remembers what it last saw."""

    mean_C: Tensor
    num_steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean_C", torch.zeros(4))
        self.register_buffer("num_steps", torch.tensor(0))
        self.seen = torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        if self.training:
            self.mean_C.mul_(0.9).add_(0.1 * x.detach().mean((0, 2, 3)))
            self.num_steps += 1
        return x - self.mean_C.view(1, -1, 1, 1)


def test_what_code_writes_to_its_modules_is_undone_after_tracing_and_done_by_the_halves() -> None:
    network = around(OwnStatistics())
    norm = network[1]
    assert isinstance(norm, OwnStatistics)
    head, _ = cut(network, "root.1", PICTURE)
    assert [type(held) for held in (norm.mean_C, norm.num_steps, norm.seen)] == 3 * [Tensor]
    assert norm.num_steps == 0
    head.eval()(PICTURE)
    assert norm.num_steps == 0
    head.train()(PICTURE)
    assert norm.num_steps == 1
    assert (norm.mean_C != 0).all()


class Scaled(nn.Module):
    """Computes with a buffer, and with numbers that its code makes anew each time."""

    scale_C: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.last = nn.Linear(4, 2)
        self.register_buffer("scale_C", torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x) * self.scale_C.view(1, -1, 1, 1)
        out: Tensor = self.last(x.mean((2, 3)) + torch.tensor([1.0, 2.0, 3.0, 4.0]))
        return out


def test_weights_that_are_loaded_after_a_cut_count_also_in_buffers() -> None:
    network = Scaled().eval()
    head, tail = cut(network, "first", PICTURE)
    network.scale_C.fill_(3.0)
    assert torch.equal(tail(head(PICTURE)), network(PICTURE))


def test_a_network_that_is_cut_again_has_weights_of_the_same_names() -> None:
    network = Scaled()
    _, first = cut(network, "first", PICTURE)
    list_splits(network, PICTURE)
    _, second = cut(network, "first", PICTURE)
    assert first.state_dict().keys() == second.state_dict().keys()


class Drawn(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) * torch.randn(3)


class AsksAtTheTop(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) * (2 if self.training else 1)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Drawn(), "makes a tensor that is another one each time, .*; keep it as a buffer"),
        (AsksAtTheTop(), r"asks whether it is training, .* or put that part of forward\(\) into a"),
    ],
)
def test_what_no_module_can_be_taken_whole_for_is_refused(network: nn.Module, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        trace(network)
