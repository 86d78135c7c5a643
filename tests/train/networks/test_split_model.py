import copy

import pytest
import torch
from torch import Tensor, nn

from headgate.profiles.errors import UsageError
from headgate.train.learning.losses import LossWeights, total_loss
from headgate.train.networks.backbones import PlainModel, build_backbone
from headgate.train.networks.bottleneck import Bottleneck
from headgate.train.networks.quantiser import dequantise, quantise
from headgate.train.networks.split_model import SplitModel, build_split_model, cut_network

EXAMPLE = torch.zeros(1, 3, 32, 32)
MEAN, STD = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]


def member(
    backbone: nn.Module | None = None,
    *,
    split: str | int = "features.7",
    budget: int | None = None,
    resolution_factor: int = 1,
) -> SplitModel:
    torch.manual_seed(0)
    if backbone is None:
        backbone = build_backbone("vgg11", num_classes=10, input_px=32, width=0.125)
    network = cut_network(
        backbone, split=split, example_BCHW=EXAMPLE, num_classes=10, mean=MEAN, std=STD
    )
    return build_split_model(
        network,
        resolution_factor=resolution_factor,
        budget=budget,
        levels_choices=(256, 16, 4),
    )


def loss_of(model: SplitModel, picture_BCHW: Tensor, labels_B: Tensor, levels: int) -> Tensor:
    output = model(picture_BCHW, levels=levels)
    return total_loss(
        output.logits_BK,
        labels_B,
        exit_logits_BK=output.exit_logits_BK,
        rate_bits_B=output.rate_bits_B,
        filter_P=model.bottleneck.filter_P,
        budget=model.budget,
        weights=LossWeights(rate=1e-4),
    ).total


@pytest.mark.parametrize("split", ["0", "features.2", "features.7", "features.11", "pool"])
@pytest.mark.parametrize("resolution_factor", [1, 2])
def test_a_member_runs_at_any_split(split: str, resolution_factor: int) -> None:
    if split == "pool" and resolution_factor == 2:
        with pytest.raises(UsageError, match="maps at the split are 1 x 1"):
            member(split=split, budget=2, resolution_factor=resolution_factor)
        return
    model = member(split=split, budget=2, resolution_factor=resolution_factor)
    output = model(torch.rand(4, 3, 32, 32), levels=16)
    assert output.logits_BK.shape == (4, 10)
    assert output.exit_logits_BK.shape == (4, 10)
    assert output.code_BCHW.shape[1:] == model.bottleneck.code_shape
    assert output.rate_bits_B.shape == (4,)
    assert bool((output.rate_bits_B > 0).all())


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "lenet"])
def test_every_built_in_network_takes_a_bottleneck(name: str) -> None:
    network = build_backbone(name, num_classes=10, input_px=32, width=0.125)
    split = {"resnet18": "stages.0.1", "mobilenet_v2": "features.6", "lenet": "features.2"}[name]
    model = member(network, split=split, budget=2)
    assert model.bottleneck.signed == (name == "mobilenet_v2")  # its blocks end without ReLU
    assert model(torch.rand(2, 3, 32, 32), levels=4).logits_BK.shape == (2, 10)


def test_a_picture_at_split_0_keeps_its_negative_values() -> None:
    assert member(split=0).bottleneck.signed


def test_the_weights_of_the_backbone_are_shared() -> None:
    network = build_backbone("vgg11", num_classes=10, input_px=32, width=0.125)
    model = member(network)
    parameters = {id(parameter) for parameter in model.parameters()}
    assert all(id(parameter) in parameters for parameter in network.parameters())


def test_a_warm_start_keeps_most_of_the_answers_of_the_backbone() -> None:
    network = build_backbone("vgg11", num_classes=10, input_px=32, width=0.25)
    model = member(network)
    picture_BCHW = torch.rand(64, 3, 32, 32) * torch.rand(64, 3, 1, 1)
    with torch.no_grad():
        PlainModel(model.normalise, network)(picture_BCHW)  # gives batch norms their statistics
        model.warm_start(picture_BCHW)
        model.eval()
        expected_BK = PlainModel(model.normalise, network)(picture_BCHW)
        logits_BK = model(picture_BCHW, levels=None).logits_BK
    assert (logits_BK.argmax(1) == expected_BK.argmax(1)).float().mean() > 0.9


def test_a_member_is_evaluated_with_the_values_that_cross_the_network() -> None:
    model = member(budget=3)
    picture_BCHW = torch.rand(4, 3, 32, 32)
    model(picture_BCHW, levels=4)
    model.freeze_selection()
    model.eval()
    with torch.no_grad():
        output = model(picture_BCHW, levels=4)
        low_C, span_C = model.code_range.of(model.bottleneck.selected_C)
        q_BCHW = quantise(output.code_BCHW, low_C=low_C, span_C=span_C, levels=4)
        value_BCHW = dequantise(q_BCHW, low_C=low_C, span_C=span_C, levels=4)
        logits_BK = model.tail(model.bottleneck.decode(value_BCHW))
    torch.testing.assert_close(logits_BK, output.logits_BK)


def test_without_levels_nothing_is_quantised_and_nothing_costs() -> None:
    model = member(budget=3).eval()
    output = model(torch.rand(2, 3, 32, 32), levels=None)
    assert output.rate_bits_B.tolist() == [0.0, 0.0]
    expected_BK = model.tail(model.bottleneck.decode(output.code_BCHW))
    assert torch.equal(output.logits_BK, expected_BK)


def test_the_exit_never_moves_the_head() -> None:
    model = member()
    torch.autograd.backward(model(torch.rand(2, 3, 32, 32), levels=4).exit_logits_BK.sum())
    assert all(parameter.grad is None for parameter in model.head.parameters())
    assert all(parameter.grad is not None for parameter in model.exit_head.parameters())


def test_the_exit_is_a_few_percent_of_the_head() -> None:
    network = build_backbone("vgg11", num_classes=10, input_px=32)
    model = member(network)
    convolutions = [m for m in model.exit_head.modules() if isinstance(m, nn.Conv2d)]
    exit_macs = sum(16 * convolution.weight.numel() for convolution in convolutions)
    assert exit_macs < 0.05 * 20_643_840


def test_the_rate_reaches_the_head_and_every_filter_value_gets_a_gradient() -> None:
    model = member(budget=3)
    torch.autograd.backward(model(torch.rand(8, 3, 32, 32), levels=4).rate_bits_B.sum())
    gradient = model.head.get_parameter("features.0.weight").grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
    torch.autograd.backward(loss_of(model, torch.rand(8, 3, 32, 32), torch.arange(8), 4))
    assert isinstance(model.bottleneck, Bottleneck)
    assert model.bottleneck.f_hat.grad is not None
    assert bool((model.bottleneck.f_hat.grad != 0).all())


def test_a_frozen_member_survives_its_state_dict_and_a_copy() -> None:
    model = member(budget=3)
    model(torch.rand(8, 3, 32, 32), levels=16)
    model.freeze_selection([1, 5, 9])
    restored = member(budget=3)
    restored.load_state_dict(model.state_dict())
    restored.freeze_selection(model.selected)
    picture_BCHW = torch.rand(2, 3, 32, 32)
    expected_BK = model.eval()(picture_BCHW, levels=16).logits_BK
    for other in (restored, copy.deepcopy(model)):
        assert torch.equal(other.eval()(picture_BCHW, levels=16).logits_BK, expected_BK)
        assert other.selected == (1, 5, 9)


def test_a_member_learns_a_small_batch_by_heart_at_every_number_of_levels() -> None:
    model = member(budget=4)
    model.freeze_selection()
    picture_BCHW = torch.rand(10, 3, 32, 32)
    labels_B = torch.arange(10)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(60):
        optimiser.zero_grad()
        torch.autograd.backward(loss_of(model, picture_BCHW, labels_B, (256, 16, 4)[step % 3]))
        optimiser.step()
    for levels in (256, 16, 4):
        output = model(picture_BCHW, levels=levels)
        assert (output.logits_BK.argmax(1) == labels_B).all()
    assert (output.exit_logits_BK.argmax(1) == labels_B).float().mean() > 0.7


def test_frozen_parts_neither_learn_nor_follow_the_pictures() -> None:
    model = member(budget=4)
    model.freeze_parts(late_tail=True)
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    loss_of(model, torch.rand(4, 3, 32, 32), torch.arange(4), 16).backward()  # type: ignore[no-untyped-call]
    after = model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert "tail.features.9.running_mean" in moved  # an early layer of the tail
    assert not [name for name in moved if name.startswith(("head.", "tail.features.2"))]
    learns = {name for name, p in model.named_parameters() if p.grad is not None}
    assert "tail.features.8.weight" in learns
    assert "bottleneck.encoder.weight" in learns
    assert not [name for name in learns if name.startswith(("head.", "tail.features.2"))]
    assert "tail.classifier.weight" not in learns


def test_a_step_from_the_split_is_a_step_from_the_picture() -> None:
    model = member(budget=4)
    model.freeze_parts(late_tail=False)
    model.eval()
    x_BCHW = torch.rand(2, 3, 32, 32)
    whole = model(x_BCHW, levels=16)
    rest = model(model.features(x_BCHW), levels=16, at_split=True)
    assert torch.equal(whole.logits_BK, rest.logits_BK)
    assert torch.equal(whole.exit_logits_BK, rest.exit_logits_BK)
