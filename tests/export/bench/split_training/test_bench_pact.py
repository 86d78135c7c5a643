"""Claims about `bench pact` and `bench pact-run`: whom they compare, and that plans win."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from headgate.export.bench.split_training.bench_pact import PLAN
from headgate.export.bench.split_training.pact_cases import draw_case
from headgate.runtime.cli import main
from headgate.train.pact.learning_curve import Shown, Trained
from headgate.train.pact.nodes import check_nodes
from headgate.train.pact.pilot_file import SCHEMA, Pilot, read_pilot, write_pilot
from headgate.train.recipe import PruneConfig
from headgate.train.split_training.settings import DepruneSettings
from train.pact.small_plans import CURVE, NETWORK, NODES
from train.tiny_runs import tiny_config, write_pictures


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["bench", *map(str, arguments)])


@pytest.fixture
def pilot(tmp_path: Path) -> Path:
    """Return a pilot that nobody trained."""
    folder = tmp_path / "pilot"
    folder.mkdir()
    trained = (Trained((Shown(32, 10_000),), 0.3),)
    settings = DepruneSettings(phases=(), client_sync="fedavg")
    labels = ("cat", "dog")
    made = Pilot(SCHEMA, PruneConfig(), settings, labels, NETWORK, trained, CURVE)
    write_pilot(folder, made)
    return folder


def test_cases_are_those_of_their_seeds_and_can_be_planned_for(pilot: Path) -> None:
    made = read_pilot(pilot)
    cases = [draw_case(made, seed=seed) for seed in range(40)]
    assert cases == [draw_case(made, seed=seed) for seed in range(40)]
    for case in cases:
        check_nodes(case.nodes, where="case")
        total = sum(node.pictures for node in case.nodes.nodes)
        assert total == pytest.approx(10_000, rel=0.01)
    assert len({len(case.nodes.nodes) for case in cases}) > 5
    assert len({case.wanted.deadline_s for case in cases}) > 10


def test_nobody_needs_less_than_the_plan_nor_the_plan_less_than_its_bound(
    pilot: Path, tmp_path: Path
) -> None:
    done = bench("pact", pilot, "--cases", 5, "--workers", 1, "--json", "--out", tmp_path / "o")
    assert done.exit_code == 0, done.output
    cases = json.loads(done.stdout)["details"]["cases"]
    assert len(cases) == 5
    in_time = 0
    for case in cases:
        plan = case[PLAN]
        rivals = {name: j for name, j in case.items() if name not in (PLAN, "seed")}
        bound = rivals.pop("less than any plan needs")
        for energy_j in rivals.values():
            assert energy_j is None or plan <= energy_j * 1.006  # the planner's tolerance
        assert plan is None or bound <= plan * (1 + 1e-9)
        in_time += plan is not None
    assert in_time > 2


def test_a_plan_and_its_rivals_are_trained_once_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headgate.export.bench.split_training.bench_pact_run.NUM_GOALS", 2)
    pictures = write_pictures(tmp_path / "tiny.npz")
    pilot, nodes, out = tmp_path / "pilot", tmp_path / "nodes.toml", tmp_path / "out"
    nodes.write_text(NODES)
    pilot.mkdir()
    few, all_maps = (
        replace(costs, budget=budget) for costs, budget in zip(NETWORK.budgets, (2, 6), strict=True)
    )
    made = Pilot(
        SCHEMA,
        tiny_config(pictures, rate_weight=0.0),
        DepruneSettings(phases=(), client_sync="fedavg"),
        ("0", "1"),
        replace(NETWORK, budgets=(few, all_maps), batch_size=8),
        (Trained((Shown(6, 32),), 0.3),),
        replace(CURVE, budgets=(2, 6), scale=2.5),
    )
    write_pilot(pilot, made)
    arguments = (
        "pact-run",
        pilot,
        nodes,
        "--accuracy",
        0.3,
        "--max-epochs",
        8,
        "--margin",
        0,
        "--out",
        out,
    )
    first = bench(*arguments)
    assert first.exit_code == 0, first.output
    assert "seed 0, the plan: " in first.output
    for name in ("pact-run.html", "pact-run.png", "pact-run.md", "pact-run.json"):
        assert (out / name).stat().st_size > 500
    again = bench(*arguments, "--json")
    assert "seed 0, " not in again.output
    rows = json.loads(again.stdout)["rows"]
    assert rows[0]["way"] == PLAN
    assert {"reached", "MB counted", "MB planned"} <= rows[0].keys()
    assert 1 < len(rows) <= 6


def test_seeds_are_each_given_once(pilot: Path, tmp_path: Path) -> None:
    nodes = tmp_path / "nodes.toml"
    nodes.write_text(NODES)
    done = bench("pact-run", pilot, nodes, "--accuracy", 0.3, "--seeds", "1,1")
    assert done.exit_code == 2
    assert "--seeds: found (1, 1)" in done.output
