"""What benchmarks print and how they decide; the measurements themselves are not asserted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from headgate.export.bench.bench_command import bench
from headgate.export.bench.bench_table import (
    BenchResult,
    Goal,
    command_line,
    cpu_model,
    family_title,
    median,
    write_result,
)
from headgate.export.bench.speed.bench_bare import bare_graphs, bare_round_trip, echo_server, paced
from headgate.export.bench.speed.bench_speed import bench_overhead
from headgate.export.bench.speed.bench_startup import heavy_imports
from headgate.export.bench.speed.bench_training import TrainingStepOptions, bench_training_step
from headgate.export.bench.speed.speed_device import SpeedOptions
from headgate.profiles.family import Family
from headgate.runtime.cli import main
from runtime.tiny_family import write_tiny_family

RESULT = BenchResult(
    name="Some thing",
    columns=("what", "ms"),
    rows=(("one", "1.0"), ("two", "2.0")),
    goals=(Goal("at most 3", 2.0, met=True), Goal("at most 1", 2.0, met=False)),
    notes=("a note",),
)


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return write_tiny_family(tmp_path_factory.mktemp("bench") / "family")


def test_a_result_carries_command_machine_versions_and_commit() -> None:
    text = RESULT.to_markdown()
    assert "| what | ms |\n| --- | --- |\n| one | 1.0 |" in text
    for key in ("command", "machine", "versions", "commit"):
        assert f"- {key}: " in text
    assert cpu_model()


def test_a_page_is_called_by_the_network_as_the_user_named_it(family: Family) -> None:
    named = {"model": "parts.nets:make", "split": "downA"}
    manifest = replace(family.manifest, provenance=named)
    size = f"{manifest.input.width_px} x {manifest.input.height_px} px"
    assert family_title(manifest) == f"parts.nets:make at {size}, cut after downA"
    unnamed = replace(manifest, provenance={})
    assert family_title(unnamed) == f"Family {unnamed.digest[:12]}"


def test_a_goal_that_was_missed_is_said_so() -> None:
    text = RESULT.to_markdown()
    assert "goal at most 3: 2, met" in text
    assert "goal at most 1: 2, NOT met" in text


def test_the_json_of_a_result_holds_the_same_as_its_table(tmp_path: Path) -> None:
    write_result(RESULT, tmp_path)
    value = json.loads((tmp_path / "some-thing.json").read_text())
    assert value["rows"] == [{"what": "one", "ms": "1.0"}, {"what": "two", "ms": "2.0"}]
    assert [goal["met"] for goal in value["goals"]] == [True, False]
    assert (tmp_path / "some-thing.md").read_text() == RESULT.to_markdown()


def test_a_command_is_shown_without_the_folders_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = [
        "bench",
        "out/demo/family",
        "--data",
        "folder:/home/me/pictures",
        "--out=/tmp/me/x",
    ]
    monkeypatch.setattr("sys.argv", ["/usr/bin/headgate", *arguments])
    assert command_line() == (
        "headgate bench out/demo/family --data folder:.../pictures --out=.../x"
    )


def test_the_median_of_an_even_number_is_the_lower_of_the_middle_two() -> None:
    assert median([4.0, 1.0, 3.0, 2.0]) == 2.0


def test_paced_work_is_done_as_often_as_asked() -> None:
    done: list[int] = []
    assert len(paced(lambda: done.append(1), times=5, pace_s=0.0)) == 5
    assert len(done) == 5


def test_the_bare_parts_of_a_frame_can_be_run_alone(family: Family) -> None:
    head_s, tail_s = bare_graphs(family, family.manifest.points[0], times=3, pace_s=0.0)
    assert len(head_s) == len(tail_s) == 3
    with echo_server() as port:
        assert len(bare_round_trip(port, num_bytes=100, times=3, pace_s=0.0)) == 3


def test_the_overhead_is_what_is_left_of_a_frame_s_time(family: Family, tmp_path: Path) -> None:
    options = SpeedOptions(family=family, folder=tmp_path / "new", frames=20)
    (first, *totals), *parts = bench_overhead(options).rows
    assert first == "capture to answer"
    assert len(totals) == 3  # back to back, with the bare parts in turn, at a pace
    for column, total in enumerate(totals, start=1):
        summed = sum(float(part[column]) for part in parts)
        assert summed == pytest.approx(float(total), abs=0.01)


def test_heavy_imports_are_found_and_the_runtime_has_none() -> None:
    assert heavy_imports("import matplotlib") == ["matplotlib"]
    assert heavy_imports("import headgate.runtime") == []


def test_a_training_step_is_compared_with_the_plain_network_s() -> None:
    options = TrainingStepOptions(
        model="lenet", input_px=32, batch_size=4, budgets=(4,), rounds=1, warm_ups=0
    )
    result = bench_training_step(options)
    assert [row[0] for row in result.rows] == ["plain backbone", "member, budget 4"]
    assert result.rows[0][2] == "1.000"


def test_what_only_machines_read_is_in_the_json_alone_and_infinity_is_null() -> None:
    result = replace(RESULT, details={"x": 1}, goals=(Goal("y", float("inf"), met=False),))
    assert "goal y: nothing to compare, NOT met" in result.to_markdown()
    value = json.loads(result.to_json())
    assert value["details"] == {"x": 1}
    assert value["goals"][0]["value"] is None
    assert "details" not in json.loads(RESULT.to_json())


@pytest.mark.parametrize("command", [["bench", "startup"], ["demo"]])
def test_results_that_would_have_no_place_are_refused_before_any_work(
    tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    result = CliRunner().invoke(main, [*command, "--out", str(tmp_path / "file" / "out")])
    assert result.exit_code == 2
    assert result.stderr == (
        f"headgate: error: {tmp_path}/file/out: {tmp_path}/file is a file, expected a folder; "
        "choose another place\n"
    )


@pytest.mark.parametrize("name", sorted(bench.commands))
def test_every_benchmark_explains_itself_and_can_print_json(name: str) -> None:
    result = CliRunner().invoke(bench, [name, "--help"])
    assert result.exit_code == 0
    assert "--json" in result.output
    assert "--out" in result.output
