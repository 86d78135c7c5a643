"""Claims about the benchmarks of how members are trained."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from headgate.export.bench.members.bench_costs import (
    CostOptions,
    StageCost,
    bench_costs,
    cost_table,
)
from headgate.export.bench.members.bench_members_command import family_cost, rate_weights, selection
from headgate.export.bench.members.bench_rate_weights import RateWeightOptions, bench_rate_weights
from headgate.export.bench.members.bench_selection import SelectionOptions, bench_selection
from headgate.train.recipe import PruneConfig
from headgate.train.run.progress import Silent
from train.tiny_runs import tiny_config, train_tiny, write_pictures


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> PruneConfig:
    pictures = write_pictures(tmp_path_factory.mktemp("pictures") / "tiny.npz")
    return tiny_config(pictures, epochs=1, member_epochs=1, budgets=(6, 2))


def say(line: str) -> None:
    pass


def test_every_stage_is_timed_and_twins_are_set_beside_their_members(
    recipe: PruneConfig, tmp_path: Path
) -> None:
    options = CostOptions(recipe, tmp_path, twins=(2,))
    began_s = time.monotonic()
    result = bench_costs(options, progress=Silent(), say=say)
    taken_s = time.monotonic() - began_s
    assert [row[0] for row in result.rows] == ["backbone", "b6r1", "b2r1"]
    assert [bool(row[2]) for row in result.rows] == [False, False, True]
    assert sum(float(row[3]) for row in result.rows) <= taken_s + 2  # cells are rounded
    assert len(result.goals) == 3
    again = bench_costs(options, progress=Silent(), say=say)
    assert again.rows == result.rows  # read, not trained again


def test_the_ratio_counts_all_stages_against_the_plain_network(
    recipe: PruneConfig, tmp_path: Path
) -> None:
    run = train_tiny(Path(recipe.data.partition(":")[2]), tmp_path / "run", budgets=(6, 2))
    costs = (
        StageCost("backbone", wall_s=10.0, cpu_s=8.0),
        StageCost("b6r1", wall_s=3.0, cpu_s=2.0),
        StageCost("b2r1", wall_s=4.0, cpu_s=2.0),
    )
    wall, cpu = cost_table(run, costs).goals
    assert wall.value == pytest.approx(1.7)
    assert not wall.met
    assert cpu.value == pytest.approx(1.5)
    assert cpu.met


def test_methods_are_compared_seed_by_seed(recipe: PruneConfig, tmp_path: Path) -> None:
    options = SelectionOptions(recipe, tmp_path, seeds=(0, 1), methods=("filter", "nair"))
    result = bench_selection(options, progress=Silent(), say=say)
    assert result.columns == ("member", "filter, %", "nair, %", "nair - filter")
    assert [row[0] for row in result.rows] == ["b6r1", "b2r1"]
    assert all("±" in row[3] for row in result.rows)


def test_each_rate_weight_has_its_points(recipe: PruneConfig, tmp_path: Path) -> None:
    one_member = replace(recipe, rate_weight=0.0, budgets=(2,))
    options = RateWeightOptions(one_member, tmp_path, weights=(0.0, 1e-3))
    result = bench_rate_weights(options, progress=Silent(), say=say)
    assert {row[0] for row in result.rows} == {"0", "0.001"}
    assert all(float(row[3]) > 0 and float(row[4]) > 0 for row in result.rows)


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (family_cost, ["--twins", "four"], "--twins: 'four' is not a list"),
        (family_cost, ["--budgets", "4;2"], "--budgets: '4;2' is not a list"),
        (selection, ["--methods", "filter,guess"], "--methods: 'guess' is not one of"),
        (selection, ["--methods", "nair,nair"], "or is given twice"),
        (rate_weights, ["--weights", "much"], "--weights: 'much' is not a list"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(
    command: object, arguments: list[str], message: str
) -> None:
    result = CliRunner().invoke(command, ["--data", "npz:none.npz", *arguments])  # type: ignore[arg-type]
    assert message in str(result.exception)
