"""Claims about how a training that is stopped from outside says how it goes on."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from headgate.profiles.errors import UsageError
from headgate.runtime.cli import main
from headgate.train.folder.run_folder import load_run
from headgate.train.run.interruptions import (
    AT_ONCE_S,
    telling_how_to_go_on,
    way_on,
    way_on_from,
)
from train.tiny_runs import write_pictures

TINY = ["--model", "lenet", "--split", "features.2", "--budgets", "6", "--epochs", "2"]
TINY += ["--base-epochs", "1", "--batch-size", "8", "--threads", "1", "--device", "cpu"]


def notes_of(error: BaseException, way: Callable[[], str | None]) -> list[str]:
    """Return what is noted of an error that ends a training."""
    with pytest.raises(type(error)) as caught, telling_how_to_go_on(way):
        raise error
    return getattr(caught.value, "__notes__", [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_training_that_is_stopped_names_its_folder_and_goes_on_with_resume(
    tmp_path: Path, number: signal.Signals
) -> None:
    pictures, out = tmp_path / "tiny.npz", tmp_path / "run"
    write_pictures(pictures)
    command = ["train", "prune", "--data", f"npz:{pictures}", "--out", str(out), "--json", *TINY]
    command += ["--epochs", "100"]  # it shall not be done before it is told to stop
    training = subprocess.Popen(
        [sys.executable, "-m", "headgate.runtime.cli", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell has its background jobs ignore Ctrl-C, and they hand that down.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    assert training.stdout is not None
    assert training.stdout.readline()  # an epoch is done
    training.send_signal(number)
    _, told = training.communicate(timeout=60)
    assert training.returncode == 130, told
    assert told.splitlines()[-1] == (
        f"headgate: interrupted; {out}.partial holds its last checkpoint, repeat the command with "
        "--resume to go on from it"
    )
    resumed = CliRunner().invoke(main, [*command, "--resume"])
    assert resumed.exit_code == 0, resumed.stderr
    assert load_run(out).member_ids == ("b6r1",)


def test_what_the_system_refuses_says_how_to_go_on_and_what_we_refuse_does_not() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run.json")
    assert notes_of(full, lambda: "go on so") == ["go on so"]
    assert notes_of(KeyboardInterrupt(), lambda: "go on so") == ["go on so"]
    assert notes_of(KeyboardInterrupt(), lambda: None) == []
    assert notes_of(UsageError("no such option"), lambda: "go on so") == []


def test_only_the_first_of_several_processes_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert notes_of(KeyboardInterrupt(), lambda: "go on so") == []


def test_a_second_sigterm_does_not_cut_off_what_is_said() -> None:
    def terminate_twice() -> None:
        with telling_how_to_go_on(lambda: "go on so"):
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt) as caught:
        terminate_twice()
    assert caught.value.__notes__ == ["go on so"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interruption_that_a_library_makes_an_error_of_its_own_is_one(
    number: signal.Signals,
) -> None:
    def interrupted_in_native_code() -> None:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise ValueError("could not determine the shape") from None

    # A shell has its background jobs ignore Ctrl-C, and they hand that down.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt) as caught, telling_how_to_go_on(lambda: "go on so"):
            interrupted_in_native_code()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert caught.value.__notes__ == ["go on so"]


def test_an_error_long_after_an_interruption_that_was_lost_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)

    def lose_one_and_fail() -> None:
        nonlocal now_s
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        now_s += AT_ONCE_S
        raise UsageError("something else")

    with pytest.raises(UsageError, match="something else"), telling_how_to_go_on(lambda: "so"):
        lose_one_and_fail()


def test_a_sigterm_after_one_that_was_lost_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)

    def lose_one_and_be_told_again() -> None:
        nonlocal now_s
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        now_s += AT_ONCE_S
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt), telling_how_to_go_on(lambda: None):
        lose_one_and_be_told_again()


def test_sigterm_is_as_before_behind_a_training_and_within_one_of_several_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), telling_how_to_go_on(lambda: None):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
    monkeypatch.setenv("WORLD_SIZE", "2")
    with telling_how_to_go_on(lambda: None):
        assert signal.getsignal(signal.SIGTERM) == before


def test_a_run_says_whether_it_has_a_checkpoint_and_nothing_where_there_is_none(
    tmp_path: Path,
) -> None:
    out, partial = tmp_path / "run", tmp_path / "run.partial"
    assert way_on(out) is None
    partial.mkdir()
    assert way_on(out) is None
    (partial / "run.json").write_text("{}")
    assert way_on(out) == (
        f"{partial} holds no checkpoint yet, repeat the command with --resume to begin it once more"
    )
    (partial / "checkpoint").mkdir()
    (partial / "checkpoint" / "state.json").write_text("{}")
    assert "holds its last checkpoint" in str(way_on(out))
    assert "holds its last checkpoint" in way_on_from(out, checkpoints=partial / "checkpoint")
