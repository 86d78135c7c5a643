import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from headgate.profiles.errors import UsageError
from headgate.train.networks.backbones import build_backbone
from headgate.train.networks.splits import cut, find_split, list_splits

PICTURE = torch.rand(2, 3, 32, 32)


class Shortcut(nn.Module):
    """A block whose middle is crossed by two tensors, then a layer that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        x = self.relu(x + self.inner(x))
        out: Tensor = self.last(x.mean(dim=(2, 3)))
        return out


class SharedWeights(Shortcut):
    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(self.relu(self.first(x)))
        out: Tensor = self.last(self.inner(x).mean(dim=(2, 3)))
        return out


class AsksWhetherItTrains(Shortcut):
    def forward(self, x: Tensor) -> Tensor:
        x = functional.dropout(self.first(x), training=self.training)
        out: Tensor = self.last(x.mean(dim=(2, 3)))
        return out


class BranchesOnData(Shortcut):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            x = -x
        out: Tensor = self.last(self.first(x).mean(dim=(2, 3)))
        return out


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class TwoOutputs(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.mark.parametrize("name", ["vgg11", "lenet", "resnet18", "mobilenet_v2"])
def test_head_and_tail_of_every_valid_split_make_the_whole_network(name: str) -> None:
    network = build_backbone(name, num_classes=10, input_px=32, width=0.125).eval()
    expected_BK = network(PICTURE)
    valid = [point for point in list_splits(network, PICTURE) if point.valid]
    assert len(valid) >= 7
    for point in valid[:: 1 + len(valid) // 12]:
        head, tail = cut(network, point.name, PICTURE)
        features = head(PICTURE)
        assert features.shape[1:] == point.shape
        assert torch.equal(tail(features), expected_BK)


def test_multiply_adds_are_counted_on_both_sides_of_a_cut() -> None:
    network = build_backbone("vgg11", num_classes=10, input_px=32)
    point = find_split(network, "features.7", PICTURE)
    assert point.head_macs == (3 * 64 * 32**2 + 64 * 128 * 16**2) * 9
    assert point.head_macs + point.tail_macs == find_split(network, "0", PICTURE).tail_macs
    assert point.shape == (128, 8, 8)
    assert point.nbytes == 4 * 128 * 8 * 8


def test_multiply_adds_of_depthwise_and_transposed_convolutions_are_counted() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 3, 3, groups=3), nn.ConvTranspose2d(3, 2, 2, stride=2), nn.ReLU(), nn.Flatten()
    )
    points = list_splits(network, torch.rand(1, 3, 6, 6))
    assert points[1].head_macs == 3 * 9 * 16
    assert points[1].tail_macs == 3 * 2 * 4 * 16


def test_split_0_is_the_picture_itself() -> None:
    network = build_backbone("lenet", num_classes=10, input_px=32).eval()
    for split in ("0", 0):
        head, tail = cut(network, split, PICTURE)
        assert torch.equal(head(PICTURE), PICTURE)
        assert torch.equal(tail(PICTURE), network(PICTURE))
    assert find_split(network, 0, PICTURE).head_macs == 0


def test_both_halves_share_their_weights_with_the_network() -> None:
    network = build_backbone("lenet", num_classes=10, input_px=32)
    head, tail = cut(network, "features.2", PICTURE)
    assert head.get_parameter("features.0.weight") is network.get_parameter("features.0.weight")
    assert tail.get_parameter("features.3.weight") is network.get_parameter("features.3.weight")
    names = set(head.state_dict()) | set(tail.state_dict())
    assert names == set(network.state_dict())
    assert not set(head.state_dict()) & set(tail.state_dict())


def test_a_split_that_two_tensors_cross_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(UsageError) as refused:
        cut(Shortcut(), "inner", PICTURE)
    assert str(refused.value) == (
        "split 'inner': more than one tensor crosses it (also relu); "
        "valid splits: 0, first, relu, relu#2"
    )


def test_a_layer_that_runs_twice_has_a_name_per_run() -> None:
    network = Shortcut()
    head, tail = cut(network, "relu#2", PICTURE)
    assert torch.equal(tail(head(PICTURE)), network(PICTURE))
    assert (
        find_split(network, "relu#2", PICTURE).head_macs
        > find_split(network, "relu", PICTURE).head_macs
    )


def test_an_unknown_layer_is_refused_with_the_valid_ones() -> None:
    for split in ("conv9", 99, "-1"):
        with pytest.raises(UsageError, match="no such layer; valid splits: 0, first, relu"):
            cut(Shortcut(), split, PICTURE)


def test_the_cut_after_a_residual_block_has_the_name_of_the_block() -> None:
    network = build_backbone("resnet18", num_classes=10, input_px=32, width=0.125)
    block = find_split(network, "stages.0.1", PICTURE)
    assert block == find_split(network, "stages.0.1.relu", PICTURE)
    assert block == find_split(network, "stages.0", PICTURE)
    inside = {p.name: p.valid for p in list_splits(network, PICTURE)}
    assert not inside["stages.0.1.main.0"]


def test_layers_of_a_bare_sequential_do_not_clash_with_positions() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 900, 2))
    names = [point.name for point in list_splits(network, PICTURE)]
    assert names == ["0", "root.0", "root.1", "root.2", "root.3"]
    assert find_split(network, "1", PICTURE).name == "root.0"


@pytest.mark.parametrize(
    ("split", "reason"),
    [
        ("classifier.1", "expected feature maps"),
        ("flatten", "expected feature maps"),
        ("classifier.4", "nothing is computed behind it"),
    ],
)
def test_a_split_without_feature_maps_is_refused(split: str, reason: str) -> None:
    network = build_backbone("lenet", num_classes=10, input_px=32)
    with pytest.raises(UsageError, match=reason):
        cut(network, split, PICTURE)


def test_a_split_between_two_uses_of_a_weight_is_refused() -> None:
    with pytest.raises(UsageError, match="a weight is used on both sides"):
        cut(SharedWeights(), "inner", PICTURE)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (BranchesOnData(), "torch.fx cannot trace it"),
        (AsksWhetherItTrains(), "use modules for that, such as nn.Dropout"),
        (TwoInputs(), "it takes 2 inputs"),
        (TwoOutputs(), "it returns several values"),
    ],
)
def test_a_network_that_cannot_be_traced_is_a_usage_error(network: nn.Module, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        list_splits(network, PICTURE)


def test_a_network_that_fails_on_the_input_size_is_a_usage_error() -> None:
    network = build_backbone("lenet", num_classes=10, input_px=32)
    with pytest.raises(UsageError, match=r"fails on an input of shape \(1, 3, 40, 40\)"):
        list_splits(network, torch.rand(1, 3, 40, 40))


def test_listing_leaves_the_mode_and_the_statistics_of_a_network_alone() -> None:
    network = build_backbone("vgg11", num_classes=10, input_px=32, width=0.125).train()
    frozen = network.get_submodule("features.1").eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    list_splits(network, PICTURE)
    assert network.training
    assert not frozen.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    "activation",
    [nn.ReLU(inplace=True), nn.Dropout(inplace=True), nn.Sequential(nn.Hardswish(inplace=True))],
)
def test_a_tail_that_begins_in_place_leaves_the_features_it_is_given_alone(
    activation: nn.Module,
) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), activation, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    head, tail = cut(network, "root.0", PICTURE)
    features = head(PICTURE)
    before = features.clone()
    tail.train()(features)
    assert torch.equal(features, before)
    assert torch.equal(tail.eval()(features), network.eval()(PICTURE))


class EndsInATransformer(nn.Module):
    """A convolution, then an encoder layer, which torch computes by kernels of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 8, stride=8)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.last = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.encoder(self.stem(x).flatten(2).transpose(1, 2))
        out: Tensor = self.last(x.mean(1))
        return out


def test_multiply_adds_of_attention_and_of_a_whole_encoder_layer_are_counted() -> None:
    point = find_split(EndsInATransformer(), "stem", PICTURE)
    tokens, channels = 16, 16
    weights = tokens * channels * (3 * channels + channels + 2 * 32) + channels * 2
    attention = 2 * tokens * tokens * channels
    assert point.head_macs == tokens * channels * 3 * 8 * 8
    assert point.tail_macs == weights + attention
