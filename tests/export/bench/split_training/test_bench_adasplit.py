"""Claims about the comparison of clients that learn from their own loss with plain ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from headgate.export.bench.split_training.bench_deprune import baseline_of
from headgate.export.bench.split_training.deprune_runs import find_runs, series_of
from headgate.export.options import ExportOptions
from headgate.export.pipeline import export_family
from headgate.profiles.family import open_family
from headgate.runtime.cli import main
from train.tiny_runs import write_pictures

QUICK = ExportOptions(levels=(16,), jpeg_qualities=(20,), webp_qualities=(), num_calibration=16)


@pytest.fixture(scope="module")
def commanded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Return where `headgate bench adasplit` wrote, and what it said."""
    folder = tmp_path_factory.mktemp("bench")
    pictures = write_pictures(folder / "tiny.npz")
    out = folder / "out"
    arguments = [
        *("--data", f"npz:{pictures}", "--model", "lenet", "--split", "features.2"),
        *("--schedule", "6:3", "--batch-size", "4", "--threads", "1", "--device", "cpu"),
        *("--clients", "2", "--partition", "classes", "--local-epochs", "1"),
    ]
    result = CliRunner().invoke(main, ["bench", "adasplit", "--out", str(out), *arguments])
    return out, result


def test_it_trains_plain_split_learning_twice_and_adasplit_with_and_without_orchestrator(
    commanded: tuple[Path, Result],
) -> None:
    out, result = commanded
    assert result.exit_code == 0, result.output
    assert {each.label for each in series_of(find_runs([out / "adasplit-runs"]))} == {
        "no compression 6:3",
        "no compression 6:3, own statistics",
        "adasplit 6:3, 1 alone, then 60 %",
        "adasplit 6:3, 1 alone, then 60 %, even",
    }
    rows = json.loads((out / "adasplit.json").read_text())["rows"]
    assert len(rows) == 4
    assert "times fewer bytes than no compression" in (out / "adasplit.html").read_text()
    assert (out / "adasplit.png").stat().st_size > 0


def test_it_is_held_against_the_better_of_the_plain_ones(commanded: tuple[Path, Result]) -> None:
    out, _ = commanded
    series = {each.label: each for each in series_of(find_runs([out / "adasplit-runs"]))}
    shared, own = series["no compression 6:3"], series["no compression 6:3, own statistics"]
    (ours,) = (each for label, each in series.items() if label.endswith("then 60 %"))
    for better, worse in ((shared, own), (own, shared)):
        high, low = (
            replace(
                each,
                runs=tuple(
                    replace(r, epochs=tuple(replace(e, accuracy=accuracy) for e in r.epochs))
                    for r in each.runs
                ),
            )
            for each, accuracy in ((better, 0.9), (worse, 0.2))
        )
        assert baseline_of(ours, [low, high]) is high


def test_runs_whose_clients_have_other_pictures_are_not_compared(
    commanded: tuple[Path, Result],
) -> None:
    out, _ = commanded
    series = series_of(find_runs([out / "adasplit-runs"]))
    (ours,) = (each for each in series if each.label.endswith("then 60 %"))
    drawn = [
        replace(
            each,
            runs=tuple(
                replace(run, settings=replace(run.settings, partition="drawn")) for run in each.runs
            ),
        )
        for each in series
    ]
    assert baseline_of(ours, series) is not None
    assert baseline_of(ours, drawn) is None


def test_each_clients_network_exports(commanded: tuple[Path, Result], tmp_path: Path) -> None:
    out, _ = commanded
    for name in ("client1", "client2"):
        run = out / "adasplit-runs" / "adasplit-s0" / "networks" / name
        export_family(run, tmp_path / name, QUICK, lambda _: None)
        assert open_family(tmp_path / name).manifest.points
