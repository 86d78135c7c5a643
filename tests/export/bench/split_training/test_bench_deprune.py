"""Claims about the comparison of split trainings, and about exporting what one made."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from headgate.export.bench.split_training.bench_deprune import saving
from headgate.export.bench.split_training.bench_train_transport import (
    batch_bytes,
    bench_train_transport,
)
from headgate.export.bench.split_training.deprune_runs import find_runs, series_of
from headgate.export.options import ExportOptions
from headgate.export.pipeline import export_family
from headgate.profiles.errors import FamilyError, UsageError
from headgate.profiles.family import open_family
from headgate.profiles.manifest import PointKind
from headgate.runtime.cli import main
from headgate.train.folder.epoch_log import keep_epochs
from headgate.train.split_training.deprune import deprune_locally
from headgate.train.split_training.settings import DepruneSettings, parse_schedule
from train.tiny_runs import tiny_config, write_pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of all maps, of one map, of one map first (two seeds) and of all in 8 bits, 3 epochs."""
    folder = tmp_path_factory.mktemp("runs")
    pictures = write_pictures(folder / "tiny.npz")
    for name, schedule, seed, bits in (
        ("none", "6:3", 0, 32),
        ("high", "1:3", 0, 32),
        ("deprune-0", "1:2,6:1", 0, 32),
        ("deprune-1", "1:2,6:1", 1, 32),
        ("bits", "6:3", 0, 8),
    ):
        config = replace(tiny_config(pictures, rate_weight=0.0), seed=seed, gamma=1.0)
        phases = parse_schedule(schedule)
        settings = DepruneSettings(phases, feature_bits=bits, gradient_bits=bits)
        deprune_locally(config, settings, folder / name)
    return folder


def test_runs_that_differ_in_their_seed_are_one_series(folder: Path) -> None:
    series = series_of(find_runs([folder]))
    assert {each.label: len(each.runs) for each in series} == {
        "deprune 1:2,6:1": 2,
        "high compression 1:3": 1,
        "no compression 6:3": 1,
        "all maps 6:3, 8/8 bits": 1,
    }


def test_seeds_that_drew_other_pictures_are_one_series(folder: Path) -> None:
    first, second = find_runs([folder / "deprune-0", folder / "deprune-1"])
    drawn = replace(second.record.blueprint, mean=(0.1, 0.2, 0.3))
    other = replace(second, record=replace(second.record, blueprint=drawn))
    assert [len(each.runs) for each in series_of([first, other])] == [2]


def test_savings_are_of_counted_bytes_up_to_the_same_epoch(folder: Path) -> None:
    series = {each.kind: each for each in series_of(find_runs([folder]))}
    every = list(series.values())
    lines = {
        name: [json.loads(line) for line in (folder / name / "epochs.jsonl").open()]
        for name in ("none", "high")
    }
    counted = {n: sum(e["bytes_up"] + e["bytes_down"] for e in found) for n, found in lines.items()}
    assert saving(series["high compression"], every) == pytest.approx(
        counted["none"] / counted["high"]
    )
    assert 1 < saving(series["deprune"], every) < saving(series["high compression"], every)
    assert saving(series["no compression"], every) == 1.0
    assert 2 < saving(series["all maps"], every) < 4


def test_the_report_names_the_cheapest_way_of_those_that_are_as_right(
    folder: Path, tmp_path: Path
) -> None:
    for name in ("none", "high", "bits"):
        shutil.copytree(folder / name, tmp_path / "runs" / name)
    reached = {"none": 0.9, "bits": 0.895, "high": 0.885}
    for name, accuracy in reached.items():
        log = tmp_path / "runs" / name / "epochs.jsonl"
        epochs = [json.loads(line) for line in log.open()]
        log.write_text("".join(json.dumps({**e, "accuracy": accuracy}) + "\n" for e in epochs))
    result = bench_deprune_command(tmp_path / "runs", "--out", str(tmp_path / "report"))
    assert result.exit_code == 0, result.output
    (page,) = (tmp_path / "report").glob("*.html")
    assert "all maps 6:3, 8/8 bits sent the fewest bytes" in page.read_text()
    assert "0.5 points below it" in page.read_text()


@dataclass(frozen=True, slots=True)
class Commanded:
    """What `headgate bench deprune` was told, and what came of it the first time."""

    arguments: list[str]
    out: Path
    result: Result


@pytest.fixture(scope="module")
def commanded(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Commanded:
    out = tmp_path_factory.mktemp("commanded")
    arguments = ["bench", "deprune", "--data", f"npz:{folder / 'tiny.npz'}", "--model", "lenet"]
    arguments += ["--split", "features.2", "--schedule", "1:1,6:1", "--batch-size", "8"]
    arguments += ["--threads", "1", "--device", "cpu", "--out", str(out), "--json"]
    return Commanded(arguments, out, CliRunner().invoke(main, arguments))


def test_the_report_is_one_page_and_a_picture(commanded: Commanded) -> None:
    (path,) = commanded.out.glob("*.html")
    page = path.read_text()
    for label in ("no compression 6:2", "high compression 1:2", "deprune 1:1,6:1"):
        assert label in page
    assert re.search(
        r"reached \d+\.\d\s% with \d\.\d times fewer bytes than no compression, which reached \d",
        page,
    )
    assert ("Of all that is within" in page) != ("Nothing here comes within a point of" in page)
    assert (commanded.out / "deprune.png").read_bytes().startswith(b"\x89PNG")


def test_an_unfinished_run_counts_with_the_epochs_it_has(folder: Path, tmp_path: Path) -> None:
    pictures = folder / "tiny.npz"
    settings = DepruneSettings(parse_schedule("1:3"))
    out = tmp_path / "run"
    deprune_locally(tiny_config(pictures, rate_weight=0.0), settings, out)
    partial = out.rename(tmp_path / "run.partial")
    keep_epochs(partial, 2)
    (run,) = find_runs([out])
    assert len(run.epochs) == 2
    with (partial / "epochs.jsonl").open("a") as file:
        file.write('{"schema": 1, "epo')  # as a full disk leaves it
    (run,) = find_runs([out])
    assert len(run.epochs) == 2
    compared = bench_deprune_command(out, "--out", str(tmp_path / "report"))
    assert compared.exit_code == 0, compared.output


def test_a_run_without_an_epoch_is_refused_and_no_empty_report_written(
    folder: Path, tmp_path: Path
) -> None:
    begun = tmp_path / "run.partial"
    shutil.copytree(folder / "none", begun)
    keep_epochs(begun, 0)
    refused = bench_deprune_command(tmp_path / "run", "--out", str(tmp_path / "report"))
    assert refused.exit_code == 2
    assert "no epoch is done yet" in refused.output
    assert not (tmp_path / "report").exists()


def bench_deprune_command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["bench", "deprune", *map(str, arguments)])


def test_folders_without_such_runs_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run of split training in it"):
        find_runs([tmp_path])
    damaged = tmp_path / "run"
    deprune_locally(
        tiny_config(folder / "tiny.npz", rate_weight=0.0),
        DepruneSettings(parse_schedule("1:1")),
        damaged,
    )
    (damaged / "epochs.jsonl").write_text("{]\n")
    with pytest.raises(FamilyError, match="line 1: is not JSON"):
        find_runs([damaged])


def test_the_command_trains_the_three_ways_and_takes_them_the_next_time(
    commanded: Commanded,
) -> None:
    first = commanded.result
    assert first.exit_code == 0, first.output
    assert "seed 0, none: 6 maps for 2 epochs" in first.stderr
    found = json.loads(first.stdout)
    assert [row["series"] for row in found["rows"]] == [
        "no compression 6:2",
        "high compression 1:2",
        "deprune 1:1,6:1",
    ]
    again = CliRunner().invoke(main, commanded.arguments)
    assert "seed 0" not in again.stderr
    assert json.loads(again.stdout)["rows"] == found["rows"]


def test_runs_of_an_earlier_call_with_other_settings_are_refused(commanded: Commanded) -> None:
    for other, said in (
        (("--gradient-bits", "8"), "gradient_bits=8"),
        (("--lr", "0.5"), "lr: now 0.5"),
    ):
        refused = CliRunner().invoke(main, [*commanded.arguments, *other])
        assert refused.exit_code == 2, refused.output
        assert "was trained with other settings" in refused.stderr
        assert said in refused.stderr
        assert "another --out" in refused.stderr


def test_no_compression_is_trained_in_float32_though_fewer_bits_are_asked_for(
    commanded: Commanded, tmp_path: Path
) -> None:
    arguments = [*commanded.arguments, "--gradient-bits", "8", "--resolution", "2"]
    arguments[arguments.index(str(commanded.out))] = str(tmp_path)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert [(row["series"], bool(row["saving"])) for row in json.loads(result.stdout)["rows"]] == [
        ("no compression 6:2", True),
        ("high compression 1:2, r = 2, 32/8 bits", True),
        ("deprune 1:1,6:1, r = 2, 32/8 bits", True),
        ("all maps 6:2, r = 2, 32/8 bits", True),
    ]


def test_what_split_training_made_exports_as_a_family(folder: Path, tmp_path: Path) -> None:
    options = ExportOptions(
        num_calibration=8, levels=(16,), jpeg_qualities=(50,), webp_qualities=()
    )
    export_family(folder / "deprune-0", tmp_path / "family", options, lambda _: None)
    manifest = open_family(tmp_path / "family").manifest
    assert [member.id for member in manifest.members] == ["b6r1"]
    assert {point.kind for point in manifest.points} == set(PointKind)


def test_the_transport_is_measured_beside_a_bare_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "headgate.export.bench.split_training.bench_train_transport.SHAPES", ((64, 4, 16, 16),)
    )
    result = bench_train_transport(num_trips=10, say=lambda _: None)
    ways = {(row[0], row[1]) for row in result.rows}
    assert {("64x4x16x16", "headgate"), ("64x4x16x16", "bare")} <= ways
    assert all(float(row[2]) > 0 for row in result.rows)


def test_the_bare_echo_carries_as_many_bytes_as_a_batch() -> None:
    maps, filter_values, labels = 64 * 4 * 16 * 16 * 4, 4 * 4, 64
    assert batch_bytes((64, 4, 16, 16)) == 40 + 3 * 20 + maps + filter_values + labels
