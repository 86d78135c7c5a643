"""Claims about `headgate train pact`: from short trainings to a plan, and from it to a run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from headgate.train.folder.run_folder import load_run
from headgate.train.pact.plan_file import read_plan
from train.commands.split_commands import end, run
from train.forked_command import ForkedCommand
from train.pact.small_plans import NODES


def pact(*arguments: object) -> Result:
    return run("pact", *map(str, arguments))


@pytest.fixture(scope="module")
def pilot(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a pilot on a LeNet, whose numbers mean nothing."""
    out = tmp_path_factory.mktemp("pact") / "pilot"
    result = pact(
        *("pilot", "--out", out, "--budgets", "2,6", "--epochs", 4),
        *("--data", f"npz:{pictures}", "--model", "lenet", "--split", "features.2"),
        *("--batch-size", 8, "--threads", 1, "--device", "cpu"),
    )
    assert result.exit_code == 0, result.output
    assert "short trainings" in result.output
    first, then = result.stderr.splitlines()[:2]
    assert first == "1/10: 2 maps for 1 epoch"
    assert re.fullmatch(r"1/10: accuracy [\d.]+ %, \d+ s; about \d+ s left", then)
    assert "2/10: 2 maps for 2 epochs" in result.stderr
    return out


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nodes") / "nodes.toml"
    path.write_text(NODES)
    return path


def planned(pilot: Path, nodes: Path, out: Path, *more: object) -> Result:
    return pact("plan", nodes, "--pilot", pilot, "--out", out, "--margin", 0, *more)


def reachable(pilot: Path) -> float:
    """Return an accuracy that a few epochs reach, by the curve."""
    curve: dict[str, Any] = json.loads((pilot / "pilot.json").read_text())["curve"]
    error = curve["floors"][-1] + curve["scale"] * 60.0 ** -curve["exponent"]
    return float(max(0.02, 1.0 - error))


def test_a_pilot_trains_nothing_twice(pilot: Path, pictures: Path) -> None:
    again = pact(
        *("pilot", "--out", pilot, "--budgets", "2,6", "--epochs", 4),
        *("--data", f"npz:{pictures}", "--model", "lenet", "--split", "features.2"),
        *("--batch-size", 8, "--threads", 1, "--device", "cpu", "--json"),
    )
    assert again.exit_code == 0, again.output
    assert "/10: " not in again.output
    assert set(json.loads(again.stdout)) >= {"budgets", "scale", "exponent", "repeats"}


def test_a_pilot_that_was_trained_otherwise_is_refused(pilot: Path, pictures: Path) -> None:
    result = pact(
        *("pilot", "--out", pilot, "--budgets", "2,6", "--epochs", 4),
        *("--data", f"npz:{pictures}", "--model", "lenet", "--split", "features.2"),
        *("--batch-size", 4, "--threads", 1, "--device", "cpu"),
    )
    assert result.exit_code == 2
    assert "was trained with other settings" in result.output


def test_a_plan_is_shown_beside_its_rivals_and_trained(
    pilot: Path, nodes: Path, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    shown = planned(pilot, nodes, plan, "--accuracy", reachable(pilot))
    assert shown.exit_code == 0, shown.output
    assert "everyone, all maps" in shown.output
    training = read_plan(plan)
    assert training.epochs

    out = tmp_path / "run"
    done = pact("run", plan, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["budget"] for line in lines] == [each.budget for each in training.epochs]
    trained = [
        {name for name, client in line["clients"].items() if client["num_batches"]}
        for line in lines
    ]
    assert trained == [set(each.nodes) for each in training.epochs]
    assert sum(line["num_pictures"] for line in lines) == sum(
        16 * len(each.nodes) for each in training.epochs
    )
    assert load_run(out).record.deprune == training.settings
    said = re.search(
        r"reached ([\d.]+) %, ([\d.]+) % was predicted; [\d.]+ MB crossed", done.stderr
    )
    assert said is not None
    assert float(said[1]) == pytest.approx(100 * lines[-1]["accuracy"], abs=0.05)
    assert float(said[2]) == pytest.approx(100 * training.accuracy, abs=0.05)


def test_a_plan_for_more_pictures_than_the_pilot_has_says_so(pilot: Path, tmp_path: Path) -> None:
    few, many = tmp_path / "few.toml", tmp_path / "many.toml"
    few.write_text(NODES)
    many.write_text(NODES.replace("pictures = 16", "pictures = 4000"))
    plan = tmp_path / "plan.json"
    fits = planned(pilot, few, plan, "--accuracy", reachable(pilot))
    assert "warning" not in fits.stderr
    exceeds = planned(pilot, many, plan, "--accuracy", reachable(pilot))
    assert exceeds.exit_code == 0, exceeds.output
    assert "will not train this on the pilot's data: node " in exceeds.stderr
    assert "the data set has " in exceeds.stderr
    refused = pact("run", plan, "--out", tmp_path / "run")
    assert refused.exit_code == 2
    assert "give nodes fewer in the file of nodes and plan again" in refused.output


def test_bytes_of_a_run_are_those_that_were_planned(
    pilot: Path, nodes: Path, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    assert planned(pilot, nodes, plan, "--accuracy", reachable(pilot)).exit_code == 0
    done = pact("run", plan, "--out", tmp_path / "run", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = sum(line["bytes_up"] + line["bytes_down"] for line in lines)
    assert found == pytest.approx(read_plan(plan).num_bytes, rel=0.1)


def test_sides_of_a_plan_train_across_a_network(
    pilot: Path, nodes: Path, tmp_path: Path, pictures: Path
) -> None:
    plan = tmp_path / "plan.json"
    assert planned(pilot, nodes, plan, "--accuracy", reachable(pilot)).exit_code == 0
    names = read_plan(plan).names
    command = ["train", "pact", "run", str(plan)]
    serve = ["--role", "server", "--bind", "tcp://127.0.0.1:*", "--out", str(tmp_path / "r")]
    server = ForkedCommand([*command, *serve])
    assert server.stderr is not None
    endpoint = json.loads(server.stderr.readline())["endpoint"]
    learn = ["--role", "client", "--server", endpoint, "--deal", "--name"]
    clients = [ForkedCommand([*command, *learn, name], together=True) for name in sorted(names)]
    try:
        for client in clients:
            told, _ = client.communicate(timeout=120)
            assert client.returncode == 0, told
        _, told = server.communicate(timeout=120)
        assert server.returncode == 0, told
    finally:
        end([server, *clients])
    assert load_run(tmp_path / "r").record.deprune == read_plan(plan).settings


def test_a_client_that_is_no_node_of_the_plan_is_refused(
    pilot: Path, nodes: Path, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    assert planned(pilot, nodes, plan, "--accuracy", reachable(pilot)).exit_code == 0
    for more in (("--name", "cy"), ()):
        result = pact("run", plan, "--role", "client", *more)
        assert result.exit_code == 2
        assert "expected a node that trains in" in result.output


def test_what_cannot_be_reached_is_refused_with_what_can(
    pilot: Path, nodes: Path, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    result = planned(pilot, nodes, plan, "--accuracy", 0.9999999)
    assert result.exit_code == 2
    assert "is not reached in 60 epochs, about 0." in result.output
    assert not plan.exists()


def test_a_time_that_is_too_short_is_refused_with_one_that_is_not(
    pilot: Path, nodes: Path, tmp_path: Path
) -> None:
    arguments = ("--accuracy", reachable(pilot), "--within-min", 1e-4)
    result = planned(pilot, nodes, tmp_path / "plan.json", *arguments)
    assert result.exit_code == 2
    assert "and 0.0001 minutes, about 0.0" in result.output
    assert "without hurry all of it in" in result.output


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--accuracy", 1.5), "--accuracy: found 1.5"),
        (("--accuracy", 0.5, "--within-min", -1), "--within-min: found -1"),
        (("--accuracy", 0.5, "--within-min", "nan"), "--within-min: found nan"),
        (("--accuracy", 0.5, "--max-epochs", 0), "--max-epochs"),
        (("--accuracy", 0.5, "--margin", -1), "--margin: found -1"),
        (("--accuracy", 0.5, "--margin", "nan"), "--margin: found nan"),
        (("--accuracy", 0.5, "--last-budget", 5), "expected one of the pilot's: 2, 6"),
    ],
)
def test_bad_numbers_are_refused(
    pilot: Path, nodes: Path, tmp_path: Path, more: tuple[object, ...], words: str
) -> None:
    result = planned(pilot, nodes, tmp_path / "plan.json", *more)
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("pictures = 16", "pictures = 0", "nodes[0].pictures: found 0, expected 1e-06 to 1e+09"),
        ("watts = 4.0", "watts = -4.0", "nodes[0].watts: found -4.0, expected 0 to 1e+09"),
        ("mbps_up = 5.0", "mbps_up = nan", "nodes[0].mbps_up: expected a finite number"),
        ("pictures = 16", f"pictures = 1{'0' * 400}", "nodes[0].pictures: found 1000"),
        ("gmacs_per_s = 1.0", "gmacs_per_s = 1e-320", "expected 1e-06 to 1e+09"),
        ('name = "bo"', 'name = "ann"', "nodes[1].name: 'ann' is there twice"),
        ('name = "bo"', 'name = ""', "nodes[1].name: found ''"),
        ('name = "bo"', 'name = "bo"\nlabels = ["x"]', "label 'x' is none of the pilot's"),
        ("[server]", "[srv]", "unknown keys 'srv', known are nodes, schema, server"),
        ("[server]\ngmacs_per_s = 100.0", "[server]\ngmacs_per_s = 0.0", "server.gmacs_per_s"),
        ("[server]", "[server", "not TOML"),
        (
            NODES,
            "[edge]",
            "says nothing of nodes, expected [server] and [[nodes]]; give a file such",
        ),
    ],
)
def test_bad_nodes_are_refused(pilot: Path, tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "nodes.toml"
    path.write_text(NODES.replace(old, new, 1))
    result = planned(pilot, path, tmp_path / "plan.json", "--accuracy", 0.3)
    assert result.exit_code == 2, result.output
    assert words in result.output


def test_a_plan_or_pilot_that_is_none_is_refused(pilot: Path, nodes: Path, tmp_path: Path) -> None:
    missing = planned(tmp_path, nodes, tmp_path / "plan.json", "--accuracy", 0.3)
    assert missing.exit_code == 2
    assert "`headgate train pact pilot` makes one" in missing.output
    nowhere = planned(tmp_path / "nosuch", nodes, tmp_path / "plan.json", "--accuracy", 0.3)
    assert nowhere.exit_code == 2
    assert f"{tmp_path / 'nosuch'}: no such folder, expected one of a pilot" in nowhere.output
    odd = tmp_path / "odd.json"
    odd.write_text("{}")
    result = pact("run", odd, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "plan again" in result.output


def test_a_pilot_of_nonsense_is_refused(tmp_path: Path, pictures: Path) -> None:
    for more, words in (
        (("--budgets", "2,2"), "--budgets: found 2,2"),
        (("--budgets", "0"), "--budgets: found 0"),
        (("--budgets", "2", "--epochs", 1), "--epochs: found 1"),
        (("--budgets", "2", "--client-sync", "relay"), "train one after the other"),
        (("--budgets", "99"), "99:1 is impossible, 6 maps leave the split"),
    ):
        result = pact(
            *("pilot", "--out", tmp_path / "pilot", *more),
            *("--data", f"npz:{pictures}", "--model", "lenet", "--split", "features.2"),
        )
        assert result.exit_code == 2, result.output
        assert words in result.output
        assert not (tmp_path / "pilot").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("repeats", 0.0),
        ("exponent", 0.0),
        ("scale", 1e308),
        ("budgets", [5, 33]),
        ("floors", [0.1]),
        ("shares", [-1.0, 1.0]),
    ],
)
def test_a_pilot_that_nothing_can_be_planned_with_is_refused(
    pilot: Path, nodes: Path, tmp_path: Path, key: str, value: object
) -> None:
    found = json.loads((pilot / "pilot.json").read_text())
    del found["digest"]
    found["curve"][key] = value
    odd = tmp_path / "pilot.json"
    odd.write_text(json.dumps(found))
    result = planned(odd, nodes, tmp_path / "plan.json", "--accuracy", 0.3)
    assert result.exit_code == 2, result.output
    assert "run the pilot again" in result.output


def test_a_plan_whose_parts_do_not_fit_is_refused(pilot: Path, nodes: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    assert planned(pilot, nodes, plan, "--accuracy", reachable(pilot)).exit_code == 0
    made = json.loads(plan.read_text())
    del made["digest"]
    for emptied in ("epochs", "nodes"):
        plan.write_text(json.dumps({**made, emptied: []}))
        result = pact("run", plan, "--out", tmp_path / "run")
        assert result.exit_code == 2
        assert "do not fit each other" in result.output
        assert not (tmp_path / "run.partial").exists()


def test_a_plan_replaces_nothing_but_a_plan(pilot: Path, nodes: Path, tmp_path: Path) -> None:
    mine = tmp_path / "nodes.toml"
    mine.write_text(NODES)
    for out, words in (
        (mine, "is the file of nodes"),
        (tmp_path, "is a folder, or in none"),
        (tmp_path / "missing" / "plan.json", "is a folder, or in none"),
        (pilot / "pilot.json", "is no plan"),
    ):
        result = planned(pilot, mine, out, "--accuracy", reachable(pilot))
        assert result.exit_code == 2, result.output
        assert words in result.output
    assert mine.read_text() == NODES


@pytest.mark.parametrize("more", [("--clients", 2), ("--share", "1/2"), ("--no-deal",)])
def test_a_run_refuses_what_the_plan_says(
    pilot: Path, nodes: Path, tmp_path: Path, more: tuple[object, ...]
) -> None:
    plan = tmp_path / "plan.json"
    assert planned(pilot, nodes, plan, "--accuracy", reachable(pilot)).exit_code == 0
    result = pact("run", plan, "--out", tmp_path / "run", *more)
    assert result.exit_code == 2
    assert "leave it out" in result.output
    assert not (tmp_path / "run.partial").exists()


def test_nodes_that_draw_nothing_are_planned_for(pilot: Path, tmp_path: Path) -> None:
    path = tmp_path / "nodes.toml"
    lines = [line for line in NODES.splitlines() if "watts" not in line]
    path.write_text(
        "\n".join(lines)
        .replace("gmacs_per_s = 30.0", "gmacs_per_s = 30.0\nwatts = 0.0")
        .replace("gmacs_per_s = 1.0\n", "gmacs_per_s = 1.0\nwatts = 0.0\n")
    )
    result = planned(pilot, path, tmp_path / "plan.json", "--accuracy", reachable(pilot))
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("side", ["client", "server"])
def test_this_machine_can_be_measured(
    pilot: Path, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headgate.train.pact.speed.MEASURED_S", 0.05)
    result = pact("measure", "--pilot", pilot, "--side", side)
    assert result.exit_code == 0, result.output
    name, _, number = result.stdout.partition(" = ")
    assert name == "gmacs_per_s"
    assert float(number) > 0
