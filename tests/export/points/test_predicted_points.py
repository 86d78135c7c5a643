"""Claims about predicted points: which an export makes of a clip, and what their bench lists."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from export.tiny_run import LENET, write_run
from headgate.export.bench.codecs.bench_predict import PredictOptions, bench_predict
from headgate.export.clips import frames_at, load_clip, made_clips
from headgate.export.options import ExportOptions
from headgate.export.pipeline import export_family
from headgate.export.points.measure import Engines
from headgate.export.points.points import Measured
from headgate.export.points.predicted_points import (
    default_lag,
    play,
    predicted_point,
    with_predicted,
)
from headgate.profiles.errors import HeadgateError, UsageError
from headgate.profiles.family import Family, open_family
from headgate.profiles.manifest import InputSpec, OperatingPoint, PointKind, PointTime
from headgate.runtime.cli import main
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.edge_engine import EdgeEngine
from headgate.runtime.session.events import Computed

QUICK = ExportOptions(levels=(64, 4), jpeg_qualities=(50,), webp_qualities=(), num_calibration=16)
NUM_FRAMES = 14


def silent(line: str) -> None:
    assert "\n" not in line


def write_scene(folder: Path, *, still: bool) -> str:
    """Write pictures of a camera that stands still or sees something else each time."""
    folder.mkdir()
    rng = np.random.default_rng(4)
    background = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    for index in range(NUM_FRAMES):
        frame = background.copy()
        frame[4 + index % 10, 6:9] = 255
        if not still:
            frame = np.kron(rng.integers(0, 256, (3, 4, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        Image.fromarray(frame).save(folder / f"{index:03}.png")
    return f"dir:{folder}"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("scenes")
    return {
        "still": write_scene(folder / "still", still=True),
        "wild": write_scene(folder / "wild", still=False),
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("lenet"), LENET)


@pytest.fixture(scope="module")
def family(run: Path, scenes: dict[str, str]) -> Family:
    options = replace(QUICK, video=scenes["still"], video_fps=10.0, video_lag=2)
    export_family(run, run.parent / "family", options, silent)
    return open_family(run.parent / "family")


def test_each_split_point_gets_a_predicted_twin_that_is_smaller_and_as_good(
    family: Family,
) -> None:
    manifest = family.manifest
    predicted = [point for point in manifest.points if point.twin is not None]
    split = [p for p in manifest.points if p.kind is PointKind.SPLIT and p.twin is None]
    assert [point.twin for point in predicted] == [point.id for point in split]
    for point in predicted:
        assert point.twin is not None
        twin = manifest.point(point.twin)
        assert point.id == f"{twin.id}-p"
        assert manifest.index_of(point.id) == manifest.index_of(twin.id) + 1
        assert (point.metrics, point.low, point.codec) == (twin.metrics, twin.low, twin.codec)
        assert 1 <= point.bytes.p5 <= point.bytes.p95 < twin.bytes.max
        times = next(iter(manifest.times.values()))
        assert times[point.id].device_s > 0
        assert times[point.id].edge_s > 0
    facts = manifest.provenance
    assert (facts["video_frames"], facts["video_fps"], facts["video_lag"]) == ("14", "10", "2")
    assert len(facts["video_sha256"]) == 64


def test_a_point_that_prediction_does_not_make_smaller_gets_no_twin(
    family: Family, scenes: dict[str, str]
) -> None:
    split = [point for point in family.manifest.points if point.kind is PointKind.SPLIT]
    measured = [
        Measured(point, np.ones(3, np.bool_), PointTime(0.0, 0.0))
        for point in split
        if point.twin is None
    ]
    clip = load_clip(scenes["wild"], family.manifest.input, fps=10.0, num_frames=NUM_FRAMES)
    engines = Engines(DeviceEngine(family), EdgeEngine(family))
    lines: list[str] = []
    kept = with_predicted(measured, engines, clip, lag=1, progress=lines.append)
    assert [item.point.id for item in kept] == [item.point.id for item in measured]
    assert all(line.endswith("; dropped") for line in lines)
    assert len(lines) == len(measured)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"video": "nowhere.mp4"}, "^--video nowhere.mp4: no such video file"),
        ({"video": "dir:nowhere"}, "^--video dir:nowhere: no such folder"),
        ({"video": "."}, "^--video .: is a folder"),
        ({"video": ""}, "^--video : no such video file"),
        ({"video": __file__}, "^--video .*test_predicted_points.py: "),
        ({"video": "still"}, "^--video .*: has no rate of its own"),
        ({"video": "still", "video_fps": 0.0}, "--video-fps: found 0, expected"),
        ({"video": "still", "video_fps": float("nan")}, "--video-fps: found nan, expected"),
        ({"video": "still", "video_fps": 5.0, "video_lag": 14}, "14 frames, a lag of 14 needs"),
        (
            {"video": "still", "video_fps": 5.0, "video_lag": 300},
            "--video-lag: found 300 .* 1 to 255",
        ),
        ({"video": "still", "video_fps": 5.0, "video_lag": 0}, "--video-lag: found 0"),
        ({"video": "still", "video_fps": 5.0, "video_frames": 1}, "--video-frames: found 1"),
        ({"video": "fake://20x20"}, "has no rate of its own"),
    ],
)
def test_a_video_that_does_not_fit_is_refused_before_any_work(
    run: Path, scenes: dict[str, str], tmp_path: Path, change: dict[str, object], said: str
) -> None:
    video = str(change["video"])
    options = replace(QUICK, **{**change, "video": scenes.get(video, video)})  # type: ignore[arg-type]
    with pytest.raises(HeadgateError, match=said):
        export_family(run, tmp_path / "family", options, silent)
    assert not (tmp_path / "family").exists()


def test_a_clip_at_a_lower_rate_skips_frames_and_never_repeats_one(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=20)
        stream.width = stream.height = 32
        for index in range(12):
            picture = np.full((32, 32, 3), 20 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    spec = InputSpec(32, 32)
    whole = load_clip(str(path), spec, fps=None, num_frames=100)
    assert (whole.fps, len(whole.pictures)) == (20.0, 12)
    slower = load_clip(str(path), spec, fps=8.0, num_frames=4)
    np.testing.assert_array_equal(slower.pictures, whole.pictures[[0, 2, 5, 7]])
    np.testing.assert_array_equal(slower.still, whole.pictures[2])  # from the middle of it
    with pytest.raises(
        UsageError, match=r"--video-fps: found 25, expected at most .*clip.avi's own 20"
    ):
        load_clip(str(path), spec, fps=25.0, num_frames=4)


def test_an_answer_is_100_ms_behind_and_a_frame_at_least() -> None:
    lags = [(default_lag(fps)) for fps in (1.0, 10.0, 25.0, 29.97, 30.0, 60.0)]
    assert lags == [1, 1, 3, 3, 3, 6]


def test_frames_are_coded_against_the_one_that_a_lag_is_behind_and_now_and_then_whole() -> None:
    rng = np.random.default_rng(5)
    frames = rng.integers(0, 4, (2, 2, 12, 12)).astype(np.uint8)
    computed = [Computed(None, None, 0.0, 0.0, integers=frames[index % 2]) for index in range(43)]
    twin = OperatingPoint("a-l4", PointKind.SPLIT, {}, member="a", levels=4, codec="zstd")
    played = play(predicted_point(twin), computed, lag=2, fps=1.0)  # so 10 frames to a refresh
    assert len(played.sizes) == 41
    assert played.changed_share == 0.0
    assert played.num_whole == 4  # frames 10, 20, 30 and 40
    assert sorted(played.sizes)[36] < 3 < min(played.twin_sizes)
    assert sorted(played.sizes)[-4:] == [size + 1 for size in sorted(played.twin_sizes)[-4:]]
    other = play(predicted_point(twin), computed, lag=1, fps=1.0)
    assert 0.6 < other.changed_share < 0.9  # of four levels, three in four differ by chance


@pytest.mark.parametrize("rate", [29.97, 30_000 / 1001, 24_000 / 1001, 59.94, 29.83])
def test_a_clip_at_a_videos_own_rate_is_every_frame_of_it(rate: float) -> None:
    assert frames_at(rate, rate=rate, num_frames=300) == list(range(300))
    assert frames_at(rate / 3, rate=rate, num_frames=100) == list(range(0, 300, 3))


def test_made_motion_is_what_it_says(scenes: dict[str, str]) -> None:
    spec = InputSpec(20, 20)
    clip = load_clip(scenes["still"], spec, fps=10.0, num_frames=10)
    made = {each.name: each.pictures for each in made_clips(clip, spec, num_frames=25)}
    assert {pictures.shape for pictures in made.values()} == {(25, 20, 20, 3)}
    assert (made["no motion"] == made["no motion"][0]).all()
    assert 0 < np.abs(made["noise"][3] - made["no motion"][3].astype(int)).mean() < 12
    assert (made["pan"][24] != made["pan"][0]).any()
    there_and_back = made_clips(clip, spec, num_frames=88)[2].pictures  # 32 px wide, 7 px to go
    assert (there_and_back[87] == there_and_back[23]).all()
    assert (there_and_back[87] != there_and_back[55]).any()
    assert (made["cuts"][0] == made["cuts"][9]).all()
    assert (made["cuts"][9] != made["cuts"][10]).any()


def test_the_bench_lists_every_point_and_clip_and_nothing_moves_in_a_still_one(
    family: Family, scenes: dict[str, str]
) -> None:
    options = PredictOptions(
        family, (scenes["still"], scenes["wild"]), lags=(1, 3), fps=10.0, points=("*-l4",)
    )
    result = bench_predict(options, say=silent)
    rows = {row[1]: dict(zip(result.columns, row, strict=True)) for row in result.rows}
    assert list(rows) == ["still", "wild", "no motion", "noise", "pan", "cuts"]
    assert {row["point"] for row in rows.values()} == {"b2r1-l4"}
    assert rows["no motion"]["lag 3, B"] == "1.0"
    assert rows["no motion"]["changed, %"] == "0.0"
    assert float(rows["still"]["lag 1, share"]) < 0.5
    assert float(rows["wild"]["sent whole, %"]) > 50
    assert float(rows["wild"]["lag 1, share"]) < 1.1


def test_the_bench_is_a_command(family: Family, scenes: dict[str, str], tmp_path: Path) -> None:
    options = ["--fps", "10", "--frames", "8", "--lags", "2", "--points", "*-l4", "--json"]
    command = ["bench", "predict", str(family.path), "--video", scenes["still"], *options]
    result = CliRunner().invoke(main, [*command, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["rows"][0]["pictures"] == "still"
    assert (tmp_path / "prediction.json").exists()
    wrong = CliRunner().invoke(main, [*command, "--points", "b9*", "--out", str(tmp_path)])
    assert wrong.exit_code == 2
    assert "'b9*' matches none of" in wrong.stderr
