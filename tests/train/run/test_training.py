"""Claims about interrupted trainings: they go on as if nothing had happened, or not at all."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headgate.profiles.errors import FamilyError, UsageError
from headgate.train.folder.checkpoints import Position, read_checkpoint
from headgate.train.folder.run_folder import Run, load_run, partial_folder
from headgate.train.folder.work_folder import CHECKPOINT
from headgate.train.run.prune import train_prune
from train.tiny_runs import (
    StopAfter,
    StoppedOnPurposeError,
    digests,
    tiny_config,
    write_pictures,
)


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


def test_a_checkpoint_amid_a_members_first_epoch_names_its_maps(
    pictures: Path, tmp_path: Path
) -> None:
    """Ranked anew on another machine, with other last digits, they might be others."""
    out, config = tmp_path / "run", tiny_config(pictures, checkpoint_steps=3)
    with pytest.raises(StoppedOnPurposeError):
        train_prune(config, out, progress=StopAfter(steps=8 + 4 + 4))
    state = read_checkpoint(partial_folder(out) / CHECKPOINT)
    assert state is not None
    assert state.position == Position(stage=2, epoch=0, step=3)
    assert state.selected is not None
    assert len(state.selected) == 3


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


def flip_first(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
