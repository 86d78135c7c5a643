"""Claims about where a run may be written, and what it may replace."""

import shutil
from pathlib import Path

import pytest

from headgate.profiles.errors import UsageError
from headgate.train.folder.run_folder import Run, load_run
from headgate.train.run.prune import train_prune
from train.tiny_runs import (
    StopAfter,
    StoppedOnPurposeError,
    digests,
    tiny_config,
    train_tiny,
)


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


def test_a_run_that_is_killed_while_its_work_folder_is_removed_is_complete(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, remove = tmp_path / "run", shutil.rmtree

    def killed_midway(path: Path, ignore_errors: bool = False) -> None:
        if (Path(path) / "checkpoint").exists():
            remove(Path(path) / "checkpoint")
            raise KeyboardInterrupt
        remove(path, ignore_errors=ignore_errors)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed_midway)
        with pytest.raises(KeyboardInterrupt):
            train_tiny(pictures, out, budgets=(6,), epochs=1)
    whole = digests(load_run(out))
    config = tiny_config(pictures, budgets=(6,), epochs=1)
    with pytest.raises(UsageError, match="a complete run is here already"):
        train_prune(config, out)
    resumed = train_prune(config, out, resume=True, progress=StopAfter(steps=1))
    assert digests(resumed) == whole


def test_a_folder_that_is_not_a_run_is_never_written_to(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "precious"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is not a training run"):
        train_prune(tiny_config(pictures), out, force=True)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_a_run_is_not_put_in_place_of_the_current_folder(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for out in (".", "..", "/"):
        with pytest.raises(UsageError, match="is the current folder or holds it"):
            train_prune(tiny_config(pictures), Path(out))
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]
