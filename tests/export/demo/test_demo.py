"""The demo without its training: real processes over the link, rivals simulated, files left."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from headgate.export.bench.compare import read_frames
from headgate.export.children import child, free_port, wait_for_port
from headgate.export.demo.demo import (
    DemoOptions,
    RealRun,
    compare,
    device_arguments,
    run_for_real,
    summary_json,
    training_config,
    write_pictures,
    write_profile,
)
from headgate.export.demo.report import ReportContent, sentences
from headgate.export.points.candidates import LOCAL_FULL
from headgate.profiles.datasets import open_dataset
from headgate.profiles.errors import DataError, PeerError
from headgate.profiles.manifest import Manifest
from headgate.profiles.profile import allowed_points
from headgate.profiles.trace import named_trace
from headgate.train.pictures.data import open_split
from headgate.train.run.recipe_checks import check_config
from runtime.tiny_family import write_npz, write_tiny_family

SECONDS = 1.5


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> DemoOptions:
    return DemoOptions(out=tmp_path_factory.mktemp("demo"), seconds=SECONDS, fps=20.0)


@pytest.fixture(scope="module")
def manifest(options: DemoOptions) -> Manifest:
    return write_tiny_family(options.out / "family").manifest


@pytest.fixture(scope="module")
def real(options: DemoOptions, manifest: Manifest) -> RealRun:
    write_profile(manifest, options.out / "profile.toml")
    write_npz(options.out / "pictures.npz", 8)
    (options.out / "report.html").write_text("of an earlier run")
    return run_for_real(options, trace=named_trace("steady:8"), seconds=SECONDS)


@pytest.fixture(scope="module")
def content(options: DemoOptions, manifest: Manifest, real: RealRun) -> ReportContent:
    profile = write_profile(manifest, options.out / "profile.toml")
    return compare(options, real, trace=named_trace("steady:8"), manifest=manifest, profile=profile)


def test_every_frame_of_the_real_run_has_one_record(real: RealRun) -> None:
    assert sorted(record.frame_id for record in real.records) == list(range(30))


def test_a_run_leaves_no_report_of_an_earlier_one(options: DemoOptions, real: RealRun) -> None:
    assert real.records
    assert not (options.out / "report.html").exists()


def test_the_link_s_clock_and_the_frames_clock_are_the_same(real: RealRun) -> None:
    first_s = min(record.captured_s for record in real.records)
    assert abs(first_s - real.trace_start_s) < 30.0


def test_the_whole_network_is_not_used_on_the_device(manifest: Manifest, tmp_path: Path) -> None:
    profile = write_profile(manifest, tmp_path / "profile.toml")
    allowed = [point.id for point in allowed_points(profile, manifest)]
    assert LOCAL_FULL not in allowed
    assert len(allowed) == len(manifest.points) - (LOCAL_FULL in [p.id for p in manifest.points])


def test_every_operating_point_is_simulated_as_a_fixed_choice(
    content: ReportContent, manifest: Manifest
) -> None:
    assert [run.name for run in content.fixed] == [point.id for point in manifest.points]
    assert not any(run.measured for run in content.fixed)
    assert content.adaptive.measured
    assert not content.adaptive_simulated.measured


def test_the_simulated_runs_are_as_long_as_the_real_one(content: ReportContent) -> None:
    frames = {run.summary.frames for run in (*content.fixed, content.adaptive_simulated)}
    assert frames == {content.adaptive.summary.frames}


def test_the_summary_is_json_and_says_how_each_run_came_about(content: ReportContent) -> None:
    summary = json.loads(json.dumps(summary_json(content)))
    assert summary["adaptive"]["how"] == "measured"
    assert {run["how"] for run in summary["fixed"]} == {"simulated"}
    assert "synthetic" in summary["made_with"]["trace"]
    assert sentences(content)


def test_the_device_plays_the_validation_pictures(tmp_path: Path) -> None:
    path = tmp_path / "pictures.npz"
    write_pictures("embedded:train=2,val=3", path)
    own, shown = open_split("embedded:train=2,val=3", "val"), open_dataset(f"npz:{path}", "val")
    assert len(shown) == 3
    assert all(np.array_equal(own.picture(i), shown.picture(i)) for i in range(3))
    assert [own.label(i) for i in range(3)] == [shown.label(i) for i in range(3)]


def test_a_run_that_is_shorter_than_a_period_plays_one_frame() -> None:
    few = DemoOptions(out=Path("out"), fps=0.2)
    assert "--frames=1" in device_arguments(few, edge="tcp://edge:1", seconds=1.0)
    assert "--frames=2" in device_arguments(few, edge="tcp://edge:1", seconds=10.0)


def test_the_recipe_of_the_demo_is_a_valid_one() -> None:
    config = training_config(DemoOptions(out=Path("out"), seed=7))
    check_config(config)
    assert config.seed == 7


def test_a_broken_line_of_the_frames_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    path.write_text('{"schema": 1\n')
    with pytest.raises(DataError, match=r"frames\.jsonl:1"):
        read_frames(path)


def test_a_child_that_cannot_start_is_reported_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "edge.log"
    with (
        child(["edge", str(tmp_path / "nothing")], log=log) as process,
        pytest.raises(PeerError, match="headgate: error"),
    ):
        wait_for_port(free_port(), process=process, log=log)


def test_a_child_ends_with_the_block_that_started_it(tmp_path: Path) -> None:
    family = str(write_tiny_family(tmp_path / "family").path)
    port = free_port()
    log = tmp_path / "edge.log"
    with child(["edge", family, f"--bind=tcp://127.0.0.1:{port}"], log=log) as process:
        wait_for_port(port, process=process, log=log)
        assert process.poll() is None
    assert process.poll() is not None
    assert sys.executable in process.args  # type: ignore[operator]
