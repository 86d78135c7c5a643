"""Claims about `headgate train deprune`: what it prints, refuses, and exits with."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import Result

from headgate.train.commands.deprune_command import deprune
from headgate.train.commands.deprune_options import config_of, options_of, training_options
from headgate.train.folder.run_folder import load_run
from headgate.train.folder.work_folder import held
from train.commands import split_commands
from train.commands.split_commands import killed_and_resumed
from train.tiny_runs import write_pictures

TRAINED = [p.name for p in click.command()(training_options(lambda **_: None)).params if p.name]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures") / "tiny.npz")


def settings(pictures: Path, schedule: str = "1:1,6:1") -> list[str]:
    return split_commands.settings(pictures, schedule)


def run(*arguments: str) -> Result:
    return split_commands.run("deprune", *arguments)


def test_local_writes_a_run_and_a_json_line_per_epoch(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = run(*settings(pictures), "--clients", "2", "--json", "--out", str(out))
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["epoch"], line["budget"]) for line in lines] == [(1, 1), (2, 6)]
    assert load_run(out).member_ids == ("b6r1",)


def test_one_map_and_one_batch_are_not_told_as_several(pictures: Path, tmp_path: Path) -> None:
    given = [*settings(pictures), "--batch-size", "16", "--clients", "2"]
    result = run(*given, "--out", str(tmp_path / "run"))
    assert result.exit_code == 0, result.output
    assert "epoch 1/2, 1 map: loss" in result.stderr
    assert "epoch 2/2, 6 maps: loss" in result.stderr
    assert "client1: 1 batch, " in result.stderr


def test_a_run_that_learnt_next_to_nothing_says_so_at_its_end(
    pictures: Path, tmp_path: Path
) -> None:
    result = run(*settings(pictures, "6:1"), "--lr", "1e-9", "--out", str(tmp_path / "run"))
    assert result.exit_code == 0, result.output
    assert "more than guessing among" in result.stderr
    assert "train for longer (--schedule)" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--schedule", "6:1,6:1"], "--schedule: budgets [6, 6]"),
        (["--schedule", "7:1"], "--schedule: 7:1 is impossible, 6 maps leave the split"),
        (["--feature-bits", "5000"], "--feature-bits: found 5000"),
        (["--client-sync", "gossip"], "--client-sync: 'gossip'"),
        (["--precision", "auto"], "--precision: 'auto'"),
        (["--clients", "0"], "--clients: found 0, expected more than 0"),
        (["--clients", "33"], "--clients: found 33 for 32 training pictures"),
        (["--give-up-s", "nan"], "--give-up-s: found nan, expected more than 0"),
        (["--role", "server", "--bind", "nowhere"], "--bind: 'nowhere'"),
        (["--role", "server", "--bind", "tcp://192.0.2.7:7710"], "is not loopback"),
        (["--role", "client", "--share", "9/8"], "--share: '9/8'"),
        (["--role", "client", "--cpu-share", "0"], "--cpu-share: found 0"),
        (["--role", "client", "--resume"], "--resume: a client goes on from its --state"),
        (["--role", "client", "--checkpoint-steps", "0"], "--checkpoint-steps: found 0"),
        (["--role", "client", "--name", "a\nb"], "--name: found 'a\\nb'"),
        (["--role", "client", "--name", ""], "--name: found ''"),
        (["--role", "client", "--name", 65 * "x"], "expected 1 to 64 printable characters"),
    ],
)
def test_usage_errors_exit_with_2_and_leave_nothing(
    pictures: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    out = tmp_path / "run"
    result = run(*settings(pictures), "--out", str(out), *arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_client_that_may_not_connect_is_refused_before_its_data_is_loaded(tmp_path: Path) -> None:
    way = ("--role", "client", "--server", "tcp://192.0.2.7:7710")
    result = run(*settings(tmp_path / "missing.npz"), *way)
    assert result.exit_code == 2
    assert "is not loopback and there are no keys" in result.output


def test_local_without_a_folder_is_refused(pictures: Path) -> None:
    result = run(*settings(pictures))
    assert result.exit_code == 2
    assert "--out: missing" in result.output


def test_torchrun_is_refused(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = run(*settings(pictures), "--out", "run")
    assert result.exit_code == 2
    assert "each side of split training is one process" in result.output


def test_an_existing_run_is_not_overwritten_unless_asked(pictures: Path, tmp_path: Path) -> None:
    arguments = [*settings(pictures, "1:1"), "--out", str(tmp_path / "run")]
    assert run(*arguments).exit_code == 0
    again = run(*arguments)
    assert again.exit_code == 2
    assert "a complete run is here already" in again.output
    assert run(*arguments, "--force").exit_code == 0


def test_resume_of_a_run_that_is_not_there_says_that_a_new_one_begins(
    pictures: Path, tmp_path: Path
) -> None:
    arguments = [*settings(pictures, "1:1"), "--out", str(tmp_path / "run"), "--resume"]
    begun = run(*arguments)
    assert begun.exit_code == 0
    assert f"there is no unfinished run at {tmp_path / 'run'}; a new one begins" in begun.stderr
    assert "a new one begins" not in run(*arguments).stderr


def test_a_client_without_a_server_gives_up_with_5(pictures: Path) -> None:
    result = run(
        *settings(pictures),
        *("--role", "client", "--server", "tcp://127.0.0.1:9", "--give-up-s", "0.2"),
    )
    assert result.exit_code == 5
    assert "no connection for 0.2 s" in result.output


def test_a_clients_state_is_not_overwritten_unless_asked(pictures: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "now.json").write_text("{}")
    arguments = [*settings(pictures), "--role", "client", "--state", str(state)]
    arguments += ["--server", "tcp://127.0.0.1:9", "--give-up-s", "0.2"]
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert "--resume goes on with it, --force replaces it" in refused.output
    assert run(*arguments, "--force", "--resume").exit_code == 2
    assert run(*arguments, "--force").exit_code == 5
    assert [path.name for path in state.iterdir()] == [".lock"]


def test_two_clients_do_not_keep_their_state_in_one_folder(pictures: Path, tmp_path: Path) -> None:
    given = [*settings(pictures), "--role", "client", "--state", str(tmp_path / "state")]
    (tmp_path / "state").mkdir()
    with held(tmp_path / "state", what="client", option="--state"):
        result = run(*given, "--server", "tcp://127.0.0.1:9", "--give-up-s", "0.2")
    assert result.exit_code == 2
    assert "another client keeps its state here; wait for it, or choose" in result.output


def test_a_client_whose_state_has_no_place_does_not_begin(pictures: Path, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    result = run(*settings(pictures), "--role", "client", "--state", str(in_the_way / "state"))
    assert result.exit_code == 2
    assert "this folder cannot be made" in result.output


def test_server_and_client_are_processes_that_resume(pictures: Path, tmp_path: Path) -> None:
    """The server is killed in the second epoch; both go on, and nothing differs in the end."""
    far, near = tmp_path / "far", tmp_path / "near"
    common = settings(pictures, "1:1,6:2")
    told = killed_and_resumed("deprune", common, far, is_time=lambda line: line["epoch"] == 1)
    assert "client client1: comes back at epoch 2" in told.server
    assert "client client1: leaves; all is done" in told.server
    assert [f"client1: epoch {n} done" in told.client for n in (1, 2, 3)] == [True] * 3
    assert run(*common, "--out", str(near)).exit_code == 0
    digests = [load_run(path).record.members[0].sha256 for path in (far, near)]
    assert digests[0] == digests[1]


def test_options_for_another_process_say_the_same_settings() -> None:
    given = ["--data", "npz:a b.npz", "--resolution", "2", "--lambda", "0.5", "--compress"]
    given += ["--no-augment", "--feature-bits", "8", "--limit", "7", "--schedule", "2:1,6:1"]
    first = deprune.make_context("deprune", list(given)).params
    trained = {name: first[name] for name in TRAINED}
    passed_on = [*options_of(trained), "--schedule", "2:1,6:1"]
    second = deprune.make_context("deprune", passed_on).params
    assert {name: second[name] for name in TRAINED} == trained
    assert config_of(trained) == config_of({name: second[name] for name in TRAINED})
