"""Claims about whole training runs: what they leave, and what they refuse."""

import json
from pathlib import Path

import pytest
import torch

from headgate.profiles.errors import FamilyError, TrainingError, UsageError
from headgate.train.folder.run_folder import Run, partial_folder, read_weights
from headgate.train.recipe import SELECTIONS
from headgate.train.run.prune import train_prune
from train.tiny_runs import (
    digests,
    tiny_config,
    train_tiny,
)


def test_a_run_has_a_backbone_and_a_member_per_budget_with_as_many_maps(whole: Run) -> None:
    assert whole.record.backbone is not None
    assert [(m.id, m.budget, len(m.selected)) for m in whole.record.members] == [
        ("b6r1", 6, 6),
        ("b3r1", 3, 3),
        ("b1r1", 1, 1),
    ]
    assert set(whole.record.members[2].selected) < set(whole.record.members[1].selected)
    assert not partial_folder(whole.path).exists()


def test_training_learns_what_is_easy(whole: Run) -> None:
    assert whole.record.backbone is not None
    assert whole.record.backbone.accuracy >= 0.9
    assert whole.record.members[0].accuracy >= 0.9


def test_there_is_one_line_per_epoch_in_the_order_of_training(whole: Run) -> None:
    lines = [json.loads(line) for line in (whole.path / "epochs.jsonl").open()]
    assert [(line["stage"], line["epoch"]) for line in lines] == [
        ("backbone", 1),
        ("backbone", 2),
        ("b6r1", 1),
        ("b3r1", 1),
        ("b3r1", 2),
        ("b1r1", 1),
        ("b1r1", 2),
    ]
    assert all(line["num_steps"] == 4 and line["num_pictures"] == 32 for line in lines)
    assert lines[0]["rate_bits"] == 0
    assert lines[-1]["rate_bits"] > 0


def test_members_are_measured_at_every_number_of_levels(whole: Run) -> None:
    for member in whole.record.members:
        assert [q.levels for q in member.quantised] == [256, 8]
        assert member.quantised[0].rate_bits > member.quantised[1].rate_bits > 0


def test_member_sends_only_its_maps_and_reproduces_its_accuracy(whole: Run) -> None:
    entry = whole.record.members[1]
    member = whole.member(entry.id)
    output = member(torch.zeros(2, 3, 16, 16), levels=8)
    assert output.code_BCHW.shape[:2] == (2, 3)
    assert member.selected == entry.selected
    assert not member.training


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    whole: Run, pictures: Path, tmp_path: Path
) -> None:
    assert digests(train_tiny(pictures, tmp_path / "again")) == digests(whole)
    other = train_tiny(pictures, tmp_path / "other", seed=1)
    assert set(digests(other)).isdisjoint(digests(whole))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budgets": (0,)}, "0 is impossible, 6 maps leave the split"),
        ({"budgets": (7,)}, "7 is impossible"),
        ({"split": "features.9"}, "no such layer; valid splits: 0, features.0"),
        ({"split": "classifier.0"}, "classifier.0"),
        ({"model": "vgg99"}, "'vgg99' is not a built-in model"),
        ({"model": "nowhere.at_all:net"}, "cannot be imported"),
        ({"resolution_factor": 50}, "50"),
        ({"backbone": "nowhere.safetensors"}, "--backbone"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    changes: dict[str, object], message: str, pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        train_prune(tiny_config(pictures, **changes), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_diverging_run_says_so_and_leaves_no_result(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no longer a finite number; start over"):
        train_tiny(pictures, tmp_path / "run", lr=1e30)
    assert not (tmp_path / "run").exists()


def test_twins_from_scratch_have_members_but_no_backbone(pictures: Path, tmp_path: Path) -> None:
    run = train_tiny(pictures, tmp_path / "run", from_scratch=True, budgets=(3,), epochs=2)
    assert run.member_ids == ("b3r1",)
    assert run.record.members[0].epochs == 2
    with pytest.raises(FamilyError, match="has no backbone"):
        run.backbone()


def test_a_backbone_of_another_run_is_taken_over_without_training(
    whole: Run, pictures: Path, tmp_path: Path
) -> None:
    run = train_tiny(
        pictures, tmp_path / "run", backbone=str(whole.path), epochs=None, budgets=(6,)
    )
    theirs, ours = whole.backbone().state_dict(), run.backbone().state_dict()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    assert run.record.backbone is not None
    assert run.record.backbone.epochs == 0


def test_a_backbone_that_does_not_fit_is_refused(
    whole: Run, pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="do not fit this network"):
        train_tiny(pictures, tmp_path / "run", backbone=str(whole.path), width=2.0, budgets=(1,))


@pytest.mark.parametrize(
    "changes",
    [
        {"split": "0", "budgets": (3, 1)},
        {"resolution_factor": 2, "budgets": (3,)},
        {"resolution_factor": 3, "budgets": (3,)},
        {"distill": 0.5, "budgets": (3,)},
        {"distill": 0.5, "hint": 1.0, "share": "nothing", "budgets": (3,)},
        {"schedule": "step", "augment": False, "rate_weight": 0.0, "budgets": (3,)},
    ],
)
def test_other_splits_factors_and_losses_train_too(
    changes: dict[str, object], pictures: Path, tmp_path: Path
) -> None:
    run = train_tiny(pictures, tmp_path / "run", epochs=1, member_epochs=1, **changes)
    assert run.member_ids == tuple(
        f"b{budget}r{changes.get('resolution_factor', 1)}"
        for budget in changes["budgets"]  # type: ignore[attr-defined]
    )


def test_members_share_the_head_and_its_weights_are_stored_once(whole: Run) -> None:
    plain = whole.backbone().state_dict()
    for entry in whole.record.members:
        head = whole.member(entry.id).head.state_dict()
        assert head
        assert all(torch.equal(plain[f"network.{name}"], head[name]) for name in head)
        assert entry.shares_backbone
        assert not [name for name in read_weights(whole.path / entry.file) if "head.f" in name]


def test_members_share_the_end_of_the_tail_too(whole: Run) -> None:
    run = whole
    plain = run.backbone().state_dict()
    own = read_weights(run.path / run.entry("b3r1").file)
    tail = run.member("b3r1").tail.state_dict()
    assert torch.equal(plain["network.classifier.4.weight"], tail["classifier.4.weight"])
    assert "tail.classifier.4.weight" not in own
    assert "tail.features.3.weight" in own
    assert not torch.equal(plain["network.features.3.weight"], tail["features.3.weight"])


def test_a_head_can_be_shared_alone(pictures: Path, tmp_path: Path) -> None:
    run = train_tiny(pictures, tmp_path / "run", share="head", epochs=1, member_epochs=1)
    own = read_weights(run.path / run.entry("b3r1").file)
    assert "tail.classifier.4.weight" in own
    assert not [name for name in own if name.startswith("head.")]


def test_without_sharing_each_member_has_a_head_of_its_own(pictures: Path, tmp_path: Path) -> None:
    run = train_tiny(pictures, tmp_path / "run", share="nothing", epochs=1, member_epochs=1)
    plain = run.backbone().state_dict()
    weight = run.member("b3r1").head.state_dict()["features.0.weight"]
    assert not torch.equal(plain["network.features.0.weight"], weight)
    assert not any(entry.shares_backbone for entry in run.record.members)


def test_a_run_without_room_for_a_cache_trains_too(pictures: Path, tmp_path: Path) -> None:
    run = train_tiny(pictures, tmp_path / "run", cache_gb=0.0, epochs=1, member_epochs=1)
    assert all(entry.shares_backbone for entry in run.record.members)


@pytest.mark.parametrize("select", SELECTIONS)
def test_every_way_to_select_sends_in_places_of_the_maps_before(
    select: str, whole: Run, pictures: Path, tmp_path: Path
) -> None:
    run = train_tiny(
        pictures,
        tmp_path / "run",
        backbone=str(whole.path),
        epochs=None,
        member_epochs=1,
        select=select,
    )
    assert [len(m.selected) for m in run.record.members] == [6, 3, 1]
    assert set(run.record.members[2].selected) < set(run.record.members[1].selected)


def test_a_member_that_diverges_is_told_in_a_sentence(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"b6r1, epoch 1: .* start over \(--force\)"):
        train_tiny(pictures, tmp_path / "run", epochs=1, member_lr=1e30)
