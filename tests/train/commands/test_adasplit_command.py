"""Claims about `headgate train adasplit`: what it prints, refuses, and survives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result

from headgate.train.commands.deprune_command import adasplit
from headgate.train.commands.deprune_options import config_of
from headgate.train.commands.deprune_sides import side_of
from headgate.train.folder.run_folder import load_run
from train.commands import split_commands
from train.commands.split_commands import killed_and_resumed
from train.forked_command import ForkedCommand
from train.tiny_runs import write_pictures


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures") / "tiny.npz")


def settings(pictures: Path, schedule: str = "6:3") -> list[str]:
    return split_commands.settings(pictures, schedule)


def run(*arguments: str) -> Result:
    return split_commands.run("adasplit", *arguments)


def test_what_crosses_while_clients_train_alone_are_their_layers(
    pictures: Path, tmp_path: Path
) -> None:
    result = run(*settings(pictures), "--out", str(tmp_path / "run"), "--json")
    alone, crossing, _ = (json.loads(line) for line in result.stdout.splitlines())
    assert alone["num_batches"] == 0
    assert 0 <= alone["bytes_up"] - alone["half_bytes"] < 2000  # but for a HELLO
    assert crossing["bytes_up"] > alone["bytes_up"]


def test_it_tells_which_epochs_clients_train_alone_and_where_their_networks_are(
    pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    result = run(*settings(pictures), "--clients", "2", "--partition", "classes", "--out", str(out))
    assert result.exit_code == 0, result.output
    lines = result.stderr.splitlines()
    assert "epoch 1/3: clients train alone, no maps cross; their layers at its end: 0." in lines[0]
    assert any(line.startswith("epoch 2/3, 6 maps: loss") for line in lines)
    assert f"each client's own network: {out / 'networks'}" in lines
    assert load_run(out / "networks" / "client2").member_ids == ("b6r1",)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--local-epochs", "3"], "--local-epochs: found 3, expected 0 to 2"),
        (["--cross-share", "1.5"], "--cross-share: found 1.5"),
        (["--local-loss", "hope"], "--local-loss: 'hope'"),
        (["--server-view", "own"], "--server-view: 'own'"),
        (["--gradient-bits", "8"], "No such option"),
    ],
)
def test_usage_errors_exit_with_2_and_leave_nothing(
    pictures: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    result = run(*settings(pictures), "--out", str(tmp_path / "run"), *arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert list(tmp_path.iterdir()) == []


def test_six_tenths_of_the_epochs_are_local_unless_said(pictures: Path) -> None:
    for given, expected in (([], 12), (["--local-epochs", "5"], 5)):
        context = adasplit.make_context("adasplit", ["--data", f"npz:{pictures}", *given])
        _, trained = side_of({n: v for n, v in context.params.items() if n != "as_json"})
        _, found = config_of(trained)
        assert found.adasplit is not None
        assert found.adasplit.local_epochs == expected
        assert found.server_view == "masks"


def test_a_server_that_is_killed_goes_on_and_nothing_differs_in_the_end(
    pictures: Path, tmp_path: Path
) -> None:
    far, near = tmp_path / "far", tmp_path / "near"
    common = [*settings(pictures, "6:4"), "--local-epochs", "1", "--cross-share", "0.5"]
    killed_and_resumed(
        "adasplit",
        common,
        far,
        is_time=lambda line: line["num_batches"] == 2,
        start=ForkedCommand,
    )
    assert run(*common, "--out", str(near)).exit_code == 0
    digests = [load_run(path).record.members[0].sha256 for path in (far, near)]
    assert digests[0] == digests[1]
