"""Claims about where a run may be written, and what it may replace."""

import shutil
from pathlib import Path

import pytest

from headgate.profiles.errors import UsageError
from headgate.train.folder.epoch_log import EpochRecord
from headgate.train.folder.run_folder import Run, load_run, partial_folder
from headgate.train.folder.work_folder import publish, work_folder
from headgate.train.run.progress import Silent
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


class PutsAfterFirstEpoch(Silent):
    """Stands for another program that writes where the run is to be."""

    def __init__(self, path: Path, content: str) -> None:
        self._path, self._content = path, content

    def epoch_done(self, record: EpochRecord) -> None:
        self._path.parent.mkdir(exist_ok=True)
        self._path.write_text(self._content)


@pytest.mark.parametrize(
    ("name", "force", "said"),
    [
        ("notes.txt", False, r"it holds 'notes.txt'.*move it away"),
        ("notes.txt", True, r"it holds 'notes.txt'.*move it away"),
        ("run.json", False, "came to be while the run was trained"),
        (".env", False, "came to be while the run was trained"),
    ],
)
def test_what_comes_to_lie_at_out_while_a_run_is_trained_stays_and_so_does_the_run(
    name: str, force: bool, said: str, pictures: Path, tmp_path: Path
) -> None:
    out, config = tmp_path / "run", tiny_config(pictures, budgets=(6,), epochs=1)
    meanwhile = PutsAfterFirstEpoch(out / name, "precious")
    with pytest.raises(UsageError, match=said) as refused:
        train_prune(config, out, force=force, progress=meanwhile)
    assert (out / name).read_text() == "precious"
    (note,) = refused.value.__notes__
    assert note.startswith(f"{partial_folder(out)} holds the trained run")
    assert "--resume" in note
    if name == "notes.txt":  # also the one who resumes does not ask to lose it
        with pytest.raises(UsageError, match=r"it holds 'notes.txt'"):
            train_prune(config, out, resume=True)
    out.rename(tmp_path / "moved")
    train_prune(config, out, resume=True, progress=StopAfter(steps=1))
    assert load_run(out).record.members
    assert {path.name for path in tmp_path.iterdir()} == {"run", "moved"}


def test_an_empty_folder_is_filled_but_not_in_place_of_what_came_to_lie_in_it(
    pictures: Path, tmp_path: Path
) -> None:
    out, config = tmp_path / "run", tiny_config(pictures, budgets=(6,), epochs=1)
    out.mkdir()
    with pytest.raises(UsageError, match="came to be while the run was trained"):
        train_prune(config, out, progress=PutsAfterFirstEpoch(out / "run.json", "another's"))
    assert (out / "run.json").read_text() == "another's"
    (out / "run.json").unlink()
    train_prune(config, out, resume=True, progress=StopAfter(steps=1))
    assert load_run(out).record.members


def test_what_the_system_refuses_of_clients_networks_is_told_as_of_other_files(
    whole: Run, tmp_path: Path
) -> None:
    partial = tmp_path / "run.partial"
    shutil.copytree(whole.path, partial)
    (partial / "networks" / "client1").mkdir(parents=True)
    (partial / "networks" / "client1" / "run.json").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError) as caught:  # shutil's own error has no number
        publish(partial, tmp_path / "run", whole.record, may_replace=lambda _: None)
    assert caught.value.filename == str(partial / "networks" / "client1" / "run.json")


def test_a_run_that_another_training_ended_meanwhile_is_not_trained_once_more(
    tmp_path: Path,
) -> None:
    with (
        pytest.raises(UsageError, match=r"the run to go on with is gone.*repeat the command"),
        work_folder(tmp_path / "run", fresh=False),
    ):
        raise AssertionError
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_not_put_in_place_of_the_current_folder(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for out in (".", "..", "/"):
        with pytest.raises(UsageError, match="is the current folder or holds it"):
            train_prune(tiny_config(pictures), Path(out))
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]
