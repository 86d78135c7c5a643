"""Claims about slim heads: what they cost, what they start from, and what a run makes of one."""

import json
import random
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.accelerators.cpu import CPUAccelerator
from lightning_fabric.strategies.single_device import SingleDeviceStrategy
from torch import nn

from headgate.profiles.errors import UsageError
from headgate.train.folder.run_folder import Run
from headgate.train.folder.run_record import FinishedStage
from headgate.train.learning.losses import hint_loss
from headgate.train.learning.material import Lesson
from headgate.train.networks.backbones import build_backbone
from headgate.train.networks.slim_head import SlimHead, build_slim_head
from headgate.train.networks.splits import cut, find_split
from headgate.train.run.plan import make_plan
from headgate.train.run.prune import train_prune
from headgate.train.run.setting import Setting
from headgate.train.run.slim_stage import SlimObjective, SlimStage
from headgate.train.stages import Stage, StageKind
from train.tiny_runs import (
    StopAfter,
    StoppedOnPurposeError,
    digests,
    tiny_config,
    train_tiny,
    write_pictures,
)

EXAMPLE = torch.zeros(1, 3, 32, 32)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("slim") / "tiny.npz")


@pytest.fixture(scope="module")
def run(pictures: Path) -> Run:
    return train_tiny(
        pictures, pictures.parent / "run", width=2.0, budgets=(3,), slim_head=0.5, slim_epochs=2
    )


@pytest.mark.parametrize(
    ("model", "split", "most"),
    [
        ("vgg11", "features.7", 0.5),
        ("resnet18", "stages.1", 0.35),
        ("mobilenet_v2", "features.6", 0.5),
    ],
)
def test_a_slim_head_gives_maps_of_the_same_shape_for_fewer_multiply_adds(
    model: str, split: str, most: float
) -> None:
    network = build_backbone(model, num_classes=10, input_px=32, width=0.5)
    whole = find_split(network, split, EXAMPLE)
    head, macs = build_slim_head(
        model,
        slim=0.5,
        width=0.5,
        num_classes=10,
        whole=whole,
        signed=False,
        example_BCHW=EXAMPLE,
    )
    assert head.eval()(EXAMPLE).shape == (1, *whole.shape)
    assert macs < most * whole.head_macs
    wide, _ = cut(network, split, EXAMPLE)
    head.start_from(wide)
    kernels = [layer.weight for layer in wide.modules() if isinstance(layer, nn.Conv2d)]
    slim_kernels = [layer.weight for layer in head.trunk.modules() if isinstance(layer, nn.Conv2d)]
    for kernel, slim_kernel in zip(kernels, slim_kernels, strict=True):
        channels, inputs = slim_kernel.shape[:2]
        assert torch.equal(slim_kernel, kernel[:channels, :inputs])


def test_all_members_have_the_slim_head_and_the_plain_network_keeps_its_own(
    run: Run, pictures: Path
) -> None:
    whole = train_tiny(pictures, pictures.parent / "whole", width=2.0, budgets=(3,))
    assert digests(run)[0] == digests(whole)[0]
    member = run.member("b3r1")
    assert isinstance(member.head, SlimHead)
    assert member.head.trunk(torch.zeros(1, 3, 16, 16)).shape[1] == 6  # of 12
    entry = run.record.sides["slim"]
    assert 0 < entry.head_macs < entry.whole_head_macs
    assert run.blueprint.slim_head == 0.5
    stages = [json.loads(x)["stage"] for x in (run.path / "epochs.jsonl").read_text().splitlines()]
    assert list(dict.fromkeys(stages)) == ["backbone", "slim", "b12r1", "b3r1"]


def test_members_share_the_head_that_the_stage_made(run: Run, pictures: Path) -> None:
    both = train_tiny(
        pictures, pictures.parent / "both", width=2.0, budgets=(3, 12), slim_head=0.5, slim_epochs=2
    )
    heads = [both.member(member_id).head.state_dict() for member_id in both.member_ids]
    for name, values in heads[0].items():
        assert torch.equal(values, heads[1][name]), name


def test_a_slim_head_learns_labels_answers_and_features_by_their_shares() -> None:
    torch.manual_seed(0)
    teacher, slim = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
    tail = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    step = SlimObjective(teacher, tail, distill=0.25, autocast=nullcontext)
    lesson = Lesson(torch.rand(3, 3, 4, 4), torch.tensor([0, 1, 0]))
    losses = step(slim, lesson, random.Random(0)).losses
    hint = hint_loss(slim(lesson.x_BCHW), teacher(lesson.x_BCHW))
    expected = 0.75 * losses.task + 0.25 * losses.distill + hint
    torch.testing.assert_close(losses.total, expected)
    assert abs(losses.task.item() - losses.distill.item()) > 0.1


@pytest.mark.parametrize("steps", [9, 14])  # before the first checkpoint of the stage `slim`; in it
def test_a_stopped_run_goes_on_to_the_same_weights(run: Run, pictures: Path, steps: int) -> None:
    config = tiny_config(pictures, width=2.0, budgets=(3,), slim_head=0.5, slim_epochs=2)
    out = pictures.parent / f"stopped-{steps}"
    with pytest.raises(StoppedOnPurposeError):
        train_prune(config, out, progress=StopAfter(steps=steps))
    assert digests(train_prune(config, out, resume=True)) == digests(run)


def test_the_teacher_lies_wholly_on_the_device_that_trains(pictures: Path, tmp_path: Path) -> None:
    """A device without memory stands for a GPU: it refuses what lies elsewhere as one would."""
    config = tiny_config(
        pictures,
        model="train.own_networks:Biased",
        split="relu",
        budgets=(3,),
        width=2.0,
        slim_head=0.25,
        slim_epochs=1,
    )
    run = train_prune(config, tmp_path / "run")
    assert run.record.backbone is not None
    file, sha256 = run.record.backbone.file, run.record.backbone.sha256
    setting = Setting(
        Fabric(strategy=SingleDeviceStrategy(torch.device("meta"), CPUAccelerator())),
        make_plan(config),
        run.path,
        finished={"backbone": FinishedStage("backbone", file, None, None, sha256)},
        noted=lambda _: None,
    )
    work = SlimStage(Stage("slim", StageKind.SLIM, 1, 0.05), setting)
    lesson = Lesson(
        torch.zeros(2, 3, 16, 16, device="meta"),
        torch.zeros(2, dtype=torch.int64, device="meta"),
    )
    result = work.prepare().objective(work.model.train(), lesson, random.Random(0))
    assert result.losses.total.device == torch.device("meta")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slim_head": 1.0}, "--slim-head: found 1.0, expected above 0 and below 1"),
        ({"slim_head": 0.5, "split": "0"}, "cut at the picture"),
        ({"slim_head": 0.5, "from_scratch": True}, "--slim-head: a run from scratch"),
        ({"slim_head": 0.99, "width": 2.0}, "the slim head takes .* give a smaller share"),
        (
            {"slim_head": 0.5, "model": "train.tiny_runs:own_network", "split": "root.1"},
            r"--slim-head 0.5: .* cannot be built that narrow \(.* takes no `width`\); let it take",
        ),
    ],
)
def test_heads_that_cannot_be_slim_are_refused(
    pictures: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        train_prune(tiny_config(pictures, **changes), tmp_path / "run")
    assert not (tmp_path / "run.partial").exists()
