"""Claims about where a run may be written, and what it may replace."""

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
