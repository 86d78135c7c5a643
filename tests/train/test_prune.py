"""Claims about whole training runs: what they leave, how they resume, and what they refuse."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from headgate.profiles.errors import FamilyError, TrainingError, UsageError
from headgate.train.prune import train_prune
from headgate.train.run_folder import Run, load_run, partial_folder, read_weights
from train.tiny_runs import (
    StopAfter,
    StoppedOnPurposeError,
    digests,
    tiny_config,
    train_tiny,
    write_pictures,
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures") / "tiny.npz")


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing interrupted."""
    return train_tiny(pictures, tmp_path_factory.mktemp("whole") / "run")


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


@pytest.mark.parametrize("epochs", [1, 3, 4, 7])
def test_a_run_stopped_after_an_epoch_resumes_to_the_same_bits(
    epochs: int, whole: Run, pictures: Path, tmp_path: Path
) -> None:
    out, config = tmp_path / "run", tiny_config(pictures)
    with pytest.raises(StoppedOnPurposeError):
        train_prune(config, out, progress=StopAfter(epochs=epochs))
    assert not out.exists()
    resumed = train_prune(config, out, resume=True)
    assert digests(resumed) == digests(whole)
    assert num_lines(resumed) == num_lines(whole)


@pytest.mark.parametrize(
    ("steps", "checkpoint_steps"), [(1, None), (6, None), (6, 1), (11, 3), (15, 3)]
)
def test_a_run_stopped_amid_an_epoch_resumes_to_the_same_bits(
    steps: int, checkpoint_steps: int | None, whole: Run, pictures: Path, tmp_path: Path
) -> None:
    out, config = tmp_path / "run", tiny_config(pictures, checkpoint_steps=checkpoint_steps)
    with pytest.raises(StoppedOnPurposeError):
        train_prune(config, out, progress=StopAfter(steps=steps))
    resumed = train_prune(config, out, resume=True)
    assert digests(resumed) == digests(whole)
    assert losses(resumed) == losses(whole)


def test_a_run_that_is_killed_and_killed_again_resumes_to_the_same_bits(
    whole: Run, pictures: Path, tmp_path: Path
) -> None:
    out, config = tmp_path / "run", tiny_config(pictures)
    for _ in range(2):
        kill_after_first_line(out, pictures, "--resume")
        assert not out.exists()
        with pytest.raises(FamilyError, match="not complete"):
            load_run(out)
    assert digests(train_prune(config, out, resume=True)) == digests(whole)


def test_resume_without_anything_to_resume_begins(
    whole: Run, pictures: Path, tmp_path: Path
) -> None:
    run = train_prune(tiny_config(pictures), tmp_path / "run", resume=True)
    assert digests(run) == digests(whole)


def test_resuming_a_complete_run_changes_nothing(whole: Run, pictures: Path) -> None:
    before = (whole.path / "run.json").stat().st_mtime_ns
    again = train_prune(tiny_config(pictures), whole.path, resume=True, progress=StopAfter(steps=1))
    assert again.record == whole.record
    assert (whole.path / "run.json").stat().st_mtime_ns == before


def test_resuming_with_other_settings_is_refused_naming_them(
    whole: Run, pictures: Path, tmp_path: Path
) -> None:
    changed = tiny_config(pictures, lr=0.5, seed=3)
    with pytest.raises(UsageError, match=r"lr: now 0.5, before 0.05; seed: now 3, before 0"):
        train_prune(changed, whole.path, resume=True)
    out = tmp_path / "run"
    with pytest.raises(StoppedOnPurposeError):
        train_prune(tiny_config(pictures), out, progress=StopAfter(epochs=1))
    with pytest.raises(UsageError, match=r"lr: now 0.5"):
        train_prune(changed, out, resume=True)


def test_resuming_on_changed_pictures_is_refused(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "mine.npz")
    out, config = tmp_path / "run", tiny_config(pictures)
    with pytest.raises(StoppedOnPurposeError):
        train_prune(config, out, progress=StopAfter(epochs=1))
    write_pictures(pictures, seed=5)
    with pytest.raises(UsageError, match="the data set has changed"):
        train_prune(config, out, resume=True)


def test_an_existing_run_is_left_alone_unless_told_otherwise(whole: Run, pictures: Path) -> None:
    with pytest.raises(UsageError, match=r"complete run is here already; --resume .* --force"):
        train_prune(tiny_config(pictures), whole.path)


def test_force_keeps_the_old_run_until_the_new_one_is_complete(
    pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    short = {"budgets": (6,), "epochs": 1}
    old = digests(train_tiny(pictures, out, **short))
    config = tiny_config(pictures, seed=9, **short)
    with pytest.raises(StoppedOnPurposeError):
        train_prune(config, out, force=True, progress=StopAfter(epochs=1))
    assert digests(load_run(out)) == old
    new = train_prune(config, out, resume=True)
    assert digests(new) != old
    assert digests(load_run(out)) == digests(new)


def test_a_folder_that_is_not_a_run_is_never_written_to(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "precious"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is not a training run"):
        train_prune(tiny_config(pictures), out, force=True)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


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


@pytest.mark.parametrize("select", ["filter", "importance", "nair", "weights"])
def test_every_way_to_select_keeps_some_of_the_maps_before(
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


def num_lines(run: Run) -> int:
    return len((run.path / "epochs.jsonl").read_text().splitlines())


def losses(run: Run) -> list[tuple[float, float]]:
    lines = [json.loads(line) for line in (run.path / "epochs.jsonl").open()]
    return [(line["loss"], line["accuracy"]) for line in lines]


def kill_after_first_line(out: Path, pictures: Path, *options: str) -> None:
    """Start the tiny run as a command, and kill it once it has printed an epoch."""
    command = [sys.executable, "-m", "headgate.runtime.cli", "train", "prune"]
    command += ["--data", f"npz:{pictures}", "--model", "lenet", "--split", "features.2"]
    command += ["--budgets", "6,3,1", "--epochs", "2", "--base-epochs", "1"]
    command += ["--member-epochs", "2", "--batch-size", "8", "--rate-weight", "1e-5"]
    command += ["--levels", "256,8", "--threads", "1", "--device", "cpu"]
    command += ["--precision", "float32", "--out", str(out), "--json", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ))
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()


class PerMap(nn.Module):
    """Answers with maps instead of logits."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, num_classes, 3)
        self.relu = nn.ReLU()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        maps_BKHW: Tensor = self.relu(self.maps(x_BCHW))
        return maps_BKHW


class TooMany(PerMap):
    """Answers with one logit too many."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes + 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return super().forward(x_BCHW).mean((2, 3))


class OneAtATime(PerMap):
    """Forgets that there are batches."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return super().forward(x_BCHW).reshape(1, -1, 196).mean(2)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("PerMap", r"answers 2 pictures with a tensor of shape \(2, \d, 14, 14\), expected \(2, "),
        ("TooMany", r"one logit for each class"),
        ("OneAtATime", r"one logit for each class"),
    ],
)
def test_a_network_that_does_not_answer_with_a_logit_per_class_is_refused(
    model: str, message: str, pictures: Path, tmp_path: Path
) -> None:
    changes = {"model": f"train.test_prune:{model}", "split": "maps", "budgets": (1,)}
    with pytest.raises(UsageError, match=message):
        train_tiny(pictures, tmp_path / "run", **changes)
    assert list(tmp_path.iterdir()) == []


def test_a_member_that_diverges_is_told_in_a_sentence(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"b6r1, epoch 1: .* start over \(--force\)"):
        train_tiny(pictures, tmp_path / "run", epochs=1, member_lr=1e30)


def flip_first(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("weights/backbone.safetensors", b"F32", b"I32", "backbone.safetensors: sha256 is"),
        ("checkpoint/state.json", b'"stage":1', b'"stage":2', "state.json: digest is"),
        ("run.json", b'"seed":0', b'"seed":1', "run.json: digest is"),
    ],
)
def test_an_altered_file_is_not_resumed_from(
    file: str, old: bytes, new: bytes, message: str, pictures: Path, tmp_path: Path
) -> None:
    out, config = tmp_path / "run", tiny_config(pictures, epochs=1, member_epochs=1)
    with pytest.raises(StoppedOnPurposeError):
        train_prune(config, out, progress=StopAfter(steps=6))
    flip_first(partial_folder(out) / file, old, new)
    with pytest.raises(FamilyError, match=message):
        train_prune(config, out, resume=True)


def test_a_run_is_not_put_in_place_of_the_current_folder(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for out in (".", "..", "/"):
        with pytest.raises(UsageError, match="is the current folder or holds it"):
            train_prune(tiny_config(pictures), Path(out))
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]
