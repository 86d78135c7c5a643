"""Claims about headgate.export.graphs.deploy and headgate.export.graphs.fold, in torch alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from export.tiny_run import LENET, VGG, TinyRun, write_run
from headgate.export.graphs.deploy import Divergence, MemberReference, codes, deploy
from headgate.profiles.manifest import InputSpec, OperatingPoint, PointKind
from headgate.train.folder.run_folder import load_run
from headgate.train.networks.progressive_model import ProgressiveModel
from headgate.train.progressive import ProgressiveConfig
from train import tiny_runs

PICTURES = np.random.default_rng(2).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
ODD = InputSpec(30, 23)  # maps of 13 x 9 after `features.2` of lenet: no r divides them


@pytest.mark.parametrize(
    "tiny",
    [
        VGG,
        replace(VGG, resolution_factor=2),
        replace(VGG, split="features.4"),
        replace(VGG, split="0", budgets=(2,)),
        replace(VGG, model="resnet18", split="stages.0", budgets=(3,)),
        replace(VGG, model="mobilenet_v2", split="features.3", budgets=(3,)),
        replace(LENET, resolution_factor=3),
        replace(LENET, input=ODD, resolution_factor=1),
        replace(LENET, input=ODD, resolution_factor=2),
        replace(LENET, input=ODD, resolution_factor=4),
        replace(LENET, input=ODD, split="0", resolution_factor=3),
    ],
    ids=lambda tiny: f"{tiny.model}-{tiny.split}-r{tiny.resolution_factor}-{tiny.input.width_px}px",
)
def test_a_folded_pair_does_what_the_unsplit_member_does(tiny: TinyRun, tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path, replace(tiny, steps=2)))
    pictures_NHWC = PICTURES[:, : tiny.input.height_px, : tiny.input.width_px]
    for member_id in run.member_ids:
        model = run.member(member_id)
        deployed = deploy(model)
        point = OperatingPoint(
            id="p",
            kind=PointKind.SPLIT,
            metrics={},
            levels=16,
            low=deployed.trained.low,
            span=deployed.trained.span,
        )
        expected = MemberReference(model).outputs(point, pictures_NHWC)
        num = len(pictures_NHWC)
        scales = (
            torch.tensor([point.low] * num),
            torch.tensor([point.span] * num),
            torch.full((num, 1), 16.0),
        )
        with torch.no_grad():
            q_NCHW, exit_NK = deployed.head(torch.from_numpy(pictures_NHWC), *scales)
            tail_NK = deployed.tail(q_NCHW, *scales).numpy()
        assert expected.integers is not None
        assert expected.exit is not None
        assert q_NCHW.shape[1:] == model.bottleneck.code_shape
        steps = np.abs(q_NCHW.numpy().astype(int) - expected.integers.astype(int))
        assert steps.max() <= 1
        assert (steps > 0).mean() < 1e-3
        np.testing.assert_allclose(exit_NK.numpy(), expected.exit, atol=1e-5)
        same_integers_NK = MemberReference(model).tail(point, q_NCHW.numpy())
        np.testing.assert_allclose(tail_NK, same_integers_NK, atol=1e-5)


PROGRESSIVE = [
    pytest.param((4,), ProgressiveConfig(slice_maps=1, epochs=1), id="bottleneck"),
    pytest.param((), ProgressiveConfig(slice_maps=2, bottleneck=False, epochs=1), id="plain cut"),
]


@pytest.mark.parametrize(("budgets", "config"), PROGRESSIVE)
def test_every_prefix_of_a_folded_pair_does_what_the_trained_member_does(
    budgets: tuple[int, ...], config: ProgressiveConfig, tmp_path: Path
) -> None:
    pictures = tiny_runs.write_pictures(tmp_path / "t.npz")
    run = tiny_runs.train_tiny(
        pictures, tmp_path / "run", budgets=budgets, epochs=1, member_epochs=1, progressive=config,
        rate_weight=0.0,
    )  # fmt: skip
    (entry,) = run.record.members
    model = run.member(entry.id)
    assert isinstance(model, ProgressiveModel)
    assert entry.order != entry.selected
    deployed = deploy(model, entry.order)
    reference = MemberReference(model, entry.order)
    pictures_NHWC = PICTURES[:, :16, :16]
    x_NCHW = torch.from_numpy(pictures_NHWC).permute(0, 3, 1, 2).float() / 255
    trained = deployed.trained
    point = OperatingPoint("p", PointKind.SPLIT, {}, levels=8, low=trained.low, span=trained.span)
    for prefix in range(1, len(entry.layers) + 1):
        num_maps = sum(entry.layers[:prefix])
        low_NC, span_NC = torch.tensor([trained.low] * 4), torch.tensor([trained.span] * 4)
        levels_N1 = torch.full((4, 1), 8.0)
        with torch.no_grad():
            q_NCHW, _ = deployed.head(torch.from_numpy(pictures_NHWC), low_NC, span_NC, levels_N1)
            for absent in (q_NCHW, low_NC, span_NC):
                absent[:, num_maps:] = 0
            tail_NK = deployed.tail(q_NCHW, low_NC, span_NC, levels_N1)
            trained_NK = torch.softmax(model(x_NCHW, levels=8, prefixes=(prefix,)).logits_BK, dim=1)
        expected = reference.outputs(point, pictures_NHWC, num_maps=num_maps)
        np.testing.assert_array_equal(q_NCHW[:, :num_maps].numpy(), expected.integers)
        np.testing.assert_allclose(expected.probabilities, trained_NK.numpy(), atol=1e-5)
        np.testing.assert_allclose(tail_NK.numpy(), trained_NK.numpy(), atol=1e-5)


def test_ranges_are_judged_at_every_prefix_that_is_asked_for(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path, replace(LENET, steps=2)))
    deployed = deploy(run.member("b2r1"))
    code_NCHW = codes(deployed.head, PICTURES[:, :16, :16])
    moved_NCHW = code_NCHW.copy()
    moved_NCHW[:, 1] = 1 - moved_NCHW[:, 1]
    first, whole = (Divergence(deployed.tail, code_NCHW, num_maps=(num,)) for num in (1, 2))
    both = Divergence(deployed.tail, code_NCHW, num_maps=(1, 2))
    assert first(moved_NCHW) == pytest.approx(0.0, abs=1e-6)  # the second map is not there
    assert whole(moved_NCHW) > 1e-5
    with torch.no_grad():
        was_NK, is_NK = (
            torch.log_softmax(deployed.tail.logits(torch.from_numpy(code)), dim=1)
            for code in (code_NCHW, moved_NCHW)
        )
    expected = (was_NK.exp() * (was_NK - is_NK)).sum(dim=1).mean()
    assert whole(moved_NCHW) == pytest.approx(float(expected), rel=1e-3)
    assert both(moved_NCHW) == pytest.approx(whole(moved_NCHW) / 2, abs=1e-6)


def test_only_the_selected_maps_are_computed(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path, replace(LENET, budgets=(2,))))
    model = run.member("b2r1")
    deployed = deploy(model)
    encoder = next(m for m in deployed.head.encoder.modules() if isinstance(m, nn.Conv2d))
    decoder = next(m for m in deployed.tail.decoder.modules() if isinstance(m, nn.ConvTranspose2d))
    assert model.selected == (3, 5)  # not the first two: see tiny_run
    assert (encoder.in_channels, encoder.out_channels) == (6, 2)
    assert (decoder.in_channels, decoder.out_channels) == (2, 6)


def test_codes_are_those_of_the_trained_member(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path, LENET))
    model = run.member("b2r1")
    pictures_NHWC = PICTURES[:, :16, :16]
    with torch.no_grad():
        x_NCHW = torch.from_numpy(pictures_NHWC).permute(0, 3, 1, 2).float() / 255
        expected = model(x_NCHW, levels=None).code_BCHW.numpy()
    np.testing.assert_allclose(codes(deploy(model).head, pictures_NHWC), expected, atol=1e-6)
