"""Claims about a member in layers: zeros in their own places, one tail, and its order."""

import pytest
import torch
from torch import Tensor, nn

from headgate.profiles.errors import UsageError
from headgate.train.networks.backbones import build_backbone
from headgate.train.networks.bottleneck import CentredBottleneck
from headgate.train.networks.progressive_model import (
    LayerPlan,
    ProgressiveModel,
    build_progressive_model,
)
from headgate.train.networks.split_model import cut_network

ORDER, LAYERS = (4, 1, 5, 2), (1, 2, 1)
PREFIXES = (1, 2, 3)


def member(
    *, bottleneck: bool = True, model: str = "lenet", split: str = "features.2", tails: int = 0
) -> ProgressiveModel:
    """Return one whose four maps of six (or all of a plain cut) come in three layers."""
    torch.manual_seed(0)
    px, width = (16, 1.0) if model == "lenet" else (32, 0.25)
    network = build_backbone(model, num_classes=3, input_px=px, width=width)
    cut = cut_network(
        network,
        split=split,
        example_BCHW=torch.zeros(1, 3, px, px),
        num_classes=3,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
    )
    made = build_progressive_model(
        cut,
        split=split,
        bottleneck=bottleneck,
        resolution_factor=1,
        budget=4,
        num_extra_tails=tails,
    )
    made.freeze_selection(sorted(ORDER))
    made.set_layers(LayerPlan(ORDER, LAYERS))
    made.settle(pictures(px), trained_ranges=False)
    return made.eval()


def pictures(px: int = 16) -> Tensor:
    return torch.rand(5, 3, px, px, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("bottleneck", [True, False])
@pytest.mark.parametrize("levels", [None, 16])
@torch.no_grad()
def test_a_prefix_answers_as_the_whole_does_with_the_absent_channels_zeroed(
    bottleneck: bool, levels: int | None
) -> None:
    made = member(bottleneck=bottleneck)
    x_BCHW = pictures()
    stacked_NBK = made(x_BCHW, levels=levels, prefixes=PREFIXES).logits_BK.view(3, 5, 3)
    code_BCHW = made.bottleneck.encode(made.features(x_BCHW))
    received_BCHW, _ = made.transmit(code_BCHW, levels)
    for place, num_maps in enumerate((1, 3, 4)):
        zeroed_BCHW = received_BCHW.clone()
        for channel, index in enumerate(sorted(ORDER)):
            if index not in ORDER[:num_maps]:
                zeroed_BCHW[:, channel] = 0.0
        expected_BK = made.tail(made.bottleneck.decode(zeroed_BCHW))
        torch.testing.assert_close(stacked_NBK[place], expected_BK)
    assert not torch.allclose(stacked_NBK[0], stacked_NBK[2])


@torch.no_grad()
def test_all_layers_together_are_the_whole() -> None:
    made = member()
    whole_BK = made(pictures(), levels=16).logits_BK
    torch.testing.assert_close(made(pictures(), levels=16, prefixes=(3,)).logits_BK, whole_BK)


@torch.no_grad()
def test_a_zero_of_a_centred_code_restores_what_its_mean_restores() -> None:
    made = member()
    assert isinstance(made.bottleneck, CentredBottleneck)
    code_BCHW = made.bottleneck.encode(made.features(pictures()))
    assert code_BCHW.mean(dim=(0, 2, 3)).abs().max() < 1e-5
    assert made.bottleneck.centre_C.min() > 0.1


@torch.no_grad()
def test_centring_moves_the_ranges_that_a_member_before_has_followed_with_the_code() -> None:
    made = member()
    assert isinstance(made.bottleneck, CentredBottleneck)
    made.code_range.low_P.fill_(0.25)
    made.code_range.span_P.fill_(0.5)
    made.settle(pictures(), trained_ranges=True)
    low_C, span_C = made.code_range.of(made.bottleneck.selected_C)
    torch.testing.assert_close(low_C + made.bottleneck.centre_C, torch.full((4,), 0.25))
    assert span_C.tolist() == [0.5] * 4
    assert made.code_range.low_P[[0, 3]].tolist() == [0.25] * 2  # do not cross


@torch.no_grad()
def test_centring_changes_no_answer_of_the_whole() -> None:
    made = member()
    assert isinstance(made.bottleneck, CentredBottleneck)
    before_BK = made(pictures(), levels=None).logits_BK
    made.bottleneck.centre_P.fill_(0.0)
    torch.testing.assert_close(made(pictures(), levels=None).logits_BK, before_BK)


@torch.no_grad()
def test_signed_features_cross_a_plain_cut_within_their_own_ranges() -> None:
    made = member(bottleneck=False, model="mobilenet_v2", split="features.3")
    x_BCHW = pictures(32)
    features_BPHW = made.features(x_BCHW)
    low_C, span_C = made.code_range.of(made.bottleneck.selected_C)
    assert features_BPHW.min() < 0
    assert low_C.min() < 0
    assert (low_C + span_C).max() > 0
    received_BCHW, _ = made.transmit(made.bottleneck.encode(features_BPHW), 256)
    wanted_BCHW = features_BPHW[:, sorted(ORDER)]
    inside = (wanted_BCHW >= low_C.view(-1, 1, 1)) & (
        wanted_BCHW <= (low_C + span_C).view(-1, 1, 1)
    )
    step = float(span_C.max()) / 255
    assert (received_BCHW - wanted_BCHW).abs()[inside].max() <= step
    restored_BPHW = made.bottleneck.decode(received_BCHW)
    absent = [index for index in range(restored_BPHW.shape[1]) if index not in ORDER]
    assert bool((restored_BPHW[:, absent] == 0).all())


def test_with_many_tails_each_prefix_has_its_own() -> None:
    made = member(bottleneck=False, tails=2)
    with torch.no_grad():
        before_BK = made(pictures(), levels=None, prefixes=PREFIXES).logits_BK
        for parameter in made.tails[1].parameters():
            parameter.add_(1.0)
        after_BK = made(pictures(), levels=None, prefixes=PREFIXES).logits_BK
    moved = (before_BK != after_BK).view(3, 5, 3).flatten(1).any(dim=1)
    assert moved.tolist() == [False, True, False]


def test_every_tail_begins_as_the_tail_of_the_member_before() -> None:
    made = member(bottleneck=False, tails=2)
    before = member(bottleneck=False).state_dict()
    before = {name: value + 1.0 for name, value in before.items()}
    made.start_from(before)
    assert all(
        torch.equal(a, b)
        for tail in made.tails
        for a, b in zip(_values(tail), _values(made.tail), strict=True)
    )


def _values(module: nn.Module) -> list[Tensor]:
    return list(module.state_dict().values())


@pytest.mark.parametrize("order", [(4, 1, 5, 5), (4, 1, 5), (0, 1, 2, 3), (4, 1, 5, 9)])
def test_an_order_that_is_no_permutation_is_refused(order: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="is no permutation of the maps that cross"):
        member().set_layers(LayerPlan(order, LAYERS))
