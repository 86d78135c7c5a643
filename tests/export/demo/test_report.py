"""The report of a run: what it says, that it needs nothing else, and how it is drawn."""

from __future__ import annotations

import io
import random
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from headgate.export.bench.compare import best, score_run
from headgate.export.demo.plots import (
    Bar,
    Timeline,
    _draw_latency,
    _draw_link,
    draw_bars,
    draw_points,
    draw_timeline,
    shown_point,
)
from headgate.export.demo.report import ReportContent, comparison_rows, sentences, write_report
from headgate.profiles.manifest import (
    ByteStats,
    InputSpec,
    Manifest,
    Member,
    MetricSpec,
    OperatingPoint,
    PointKind,
    TensorSpec,
)
from headgate.profiles.trace import Trace
from headgate.runtime.records import Estimate, FrameRecord, Source, Stages

SLA_S = 0.1


def sized(num_bytes: float) -> ByteStats:
    return ByteStats(num_bytes, 0.8 * num_bytes, num_bytes, 1.2 * num_bytes, 1.5 * num_bytes)


def member(budget: int, *, exit_accuracy: float) -> Member:
    features = TensorSpec("features", "uint8", (budget, 12, 12))
    name = f"b{budget}r1"
    head, tail = f"heads/{name}/model.onnx", f"tails/{name}/1/model.onnx"
    return Member(name, budget, 1, features, head, tail, 1, 1, {"top1": exit_accuracy})


def split(budget: int, levels: int, num_bytes: float, accuracy: float) -> OperatingPoint:
    name = f"b{budget}r1"
    return OperatingPoint(
        f"{name}-l{levels}",
        PointKind.SPLIT,
        {"top1": accuracy},
        sized(num_bytes),
        member=name,
        levels=levels,
        low=(0.0,) * budget,
        span=(1.0,) * budget,
        codec="zstd",
    )


def offload(picture_format: str, quality: int, num_bytes: float, top1: float) -> OperatingPoint:
    return OperatingPoint(
        f"{picture_format}-q{quality}",
        PointKind.OFFLOAD,
        {"top1": top1},
        sized(num_bytes),
        picture_format=picture_format,
        picture_quality=quality,
        graph="full/model.onnx",
    )


POINTS = (
    split(16, 16, 1150, 0.91),
    split(16, 4, 560, 0.88),
    split(4, 16, 280, 0.84),
    split(4, 4, 130, 0.79),
    offload("jpeg", 90, 5200, 0.93),
    offload("jpeg", 50, 2300, 0.90),
    offload("jpeg", 10, 900, 0.71),
    offload("webp", 75, 2000, 0.915),
    offload("webp", 10, 800, 0.82),
    OperatingPoint("local-exit", PointKind.LOCAL, {"top1": 0.55}, member="b4r1"),
    OperatingPoint("local-full", PointKind.LOCAL, {"top1": 0.935}, graph="full/model.onnx"),
)
MANIFEST = Manifest(
    task="classification",
    labels=tuple("0123456789"),
    input=InputSpec(96, 96),
    outputs=(TensorSpec("probabilities", "float32", (10,)),),
    metrics=(MetricSpec("top1", "higher"),),
    members=(member(16, exit_accuracy=0.6), member(4, exit_accuracy=0.5)),
    points=POINTS,
    full_graph="full/model.onnx",
    files={},
)
TRACE = Trace("made-up", (0.0, 8.0, 16.0), (6e6, 0.4e6, 3e6), 24.0)


def record(
    frame_id: int,
    *,
    point: str = "b4r1-l4",
    source: Source = Source.EDGE,
    total_s: float | None = 0.05,
    correct: bool | None = None,
) -> FrameRecord:
    met = total_s is not None and total_s <= SLA_S and source is not Source.NONE
    return FrameRecord(
        frame_id=frame_id,
        captured_s=100.0 + frame_id / 10,
        source=source,
        reason="",
        point=point,
        kind=MANIFEST.point(point).kind.value,
        num_bytes=int(MANIFEST.point(point).bytes.mean),
        stages=Stages(total_s=total_s),
        sla_s=SLA_S,
        deadline_met=met,
        label=None,
        label_name=None,
        score=None,
        correct=correct,
        quality=0.0 if source is Source.NONE else MANIFEST.point(point).metrics["top1"],
        profile="balanced",
        estimate=Estimate(rate_bps=TRACE.rates_bps[min(frame_id // 80, 2)] * 0.9),
    )


def made_up_run(seed: int = 3) -> list[FrameRecord]:
    """Good link, bad link with a few misses and local answers, middling link."""
    rng = random.Random(seed)
    records = []
    for frame_id in range(240):
        if frame_id < 80:
            points, total_s = ["b16r1-l16", "webp-q75", "jpeg-q50"], rng.gauss(0.05, 0.01)
        elif frame_id < 160:
            points, total_s = ["b4r1-l4", "b4r1-l16", "local-exit"], rng.gauss(0.08, 0.02)
        else:
            points, total_s = ["b16r1-l4", "b16r1-l16"], rng.gauss(0.06, 0.01)
        point = rng.choice(points)
        late = total_s > 0.11
        source = Source.LOCAL if point == "local-exit" or late else Source.EDGE
        if frame_id in (90, 91, 92):
            source = Source.NONE
        correct = rng.random() < 0.85
        shown_s = None if source is Source.NONE else (0.095 if late else total_s)
        records.append(
            record(frame_id, point=point, source=source, total_s=shown_s, correct=correct)
        )
    return records


@pytest.fixture(scope="module")
def content() -> ReportContent:
    records = made_up_run()
    return ReportContent(
        timeline=Timeline(records, TRACE, 100.0, SLA_S, MANIFEST),
        adaptive=score_run(records, name="adaptive", measured=True),
        adaptive_simulated=score_run(made_up_run(4), name="adaptive", measured=False),
        fixed=[score_run([record(0, point=p.id)], name=p.id, measured=False) for p in POINTS],
        allowed=frozenset(p.id for p in POINTS) - {"local-full"},
        made_with={"command": "headgate demo <&>", "commit": "0" * 12},
    )


@pytest.fixture(scope="module")
def written(content: ReportContent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a report, its pictures beside it."""
    return write_report(content, tmp_path_factory.mktemp("report"))


def test_a_late_frame_earns_nothing() -> None:
    records = [record(0, point="b16r1-l16"), record(1, point="b16r1-l16", total_s=0.2)]
    score = score_run(records, name="x", measured=True)
    assert score.credited == pytest.approx(0.91 / 2)
    assert score.in_time == pytest.approx(1 / 2)
    assert score.mean_bytes == pytest.approx(1150)


def test_a_run_without_frames_scores_zero() -> None:
    score = score_run([], name="x", measured=False)
    assert (score.credited, score.in_time, score.mean_bytes) == (0.0, 0.0, 0.0)
    assert best([]) is None


def test_of_two_equal_runs_the_one_with_fewer_bytes_is_best() -> None:
    cheap = score_run([record(0)], name="cheap", measured=False)
    dear = score_run([replace(record(0), num_bytes=5000)], name="dear", measured=False)
    assert best([dear, cheap]) is cheap


def test_the_summary_of_a_run_says_whether_it_was_measured() -> None:
    assert score_run([], name="x", measured=False).to_json()["how"] == "simulated"
    assert score_run([], name="x", measured=True).to_json()["how"] == "measured"


def test_the_report_is_one_file_that_refers_to_nothing_else(written: Path) -> None:
    text = written.read_text()
    targets = re.findall(r'(?:src|href|srcset)="([^"]{0,30})', text)
    assert targets
    assert all(target.startswith("data:image/png;base64,") for target in targets)
    assert "<script" not in text
    assert "url(" not in text
    assert "headgate demo &lt;&amp;&gt;" in text
    assert '<th scope="col"></th>' not in text


def test_the_pictures_are_written_beside_the_report(written: Path) -> None:
    for name in ("timeline", "points", "comparison"):
        with Image.open(written.with_name(f"{name}.png")) as picture:
            assert picture.format == "PNG"
            assert picture.width > 1000


def test_a_phone_gets_a_narrower_picture_than_a_desk(content: ReportContent) -> None:
    wide, narrow = draw_points(MANIFEST), draw_points(MANIFEST, width_in=4.6)
    assert Image.open(io.BytesIO(narrow)).width < 0.6 * Image.open(io.BytesIO(wide)).width


def test_every_simulated_row_is_labelled_so(written: Path) -> None:
    text = written.read_text()
    rows = re.findall(r"<tr.*?</tr>", text, flags=re.DOTALL)
    for point in POINTS:
        own = [row for row in rows if f">{point.id}" in row]
        assert own
        assert all("simulated" in row for row in own)
    fixed = re.findall(r'<th scope="row">([^< ]+)', text.partition("Fixed operating points")[2])
    assert fixed[:3] == ["local-full", "jpeg-q90", "webp-q75"]  # in the order of what they earn
    assert fixed[-1] == "local-exit"


def test_the_sentences_name_the_rivals_and_the_difference(content: ReportContent) -> None:
    said = " ".join(sentences(content))
    assert "240 frames" in said
    assert f"at {content.adaptive.mean_bytes:,.0f} bytes a frame" in said
    assert "best fixed point in hindsight: jpeg-q90" in said
    assert "no rivals: local-full" in said
    assert "in place of the truth, that is" in said  # two accuracies: what parts them is said
    assert "behind" in said
    assert "JPEG" in said
    assert "WebP" in said


def test_the_report_says_over_which_link_in_percent_and_what_names_mean(
    content: ReportContent, written: Path
) -> None:
    assert "The link is made-up: 0.4 to 6 Mbit/s." in sentences(content)
    broken = replace(TRACE, rates_bps=(6e6, 0.0, 3e6))
    timeline = replace(content.timeline, trace=broken)
    said = sentences(replace(content, timeline=timeline))
    assert "The link is made-up: 3 to 6 Mbit/s, and at times nothing." in said
    begun = replace(content.timeline, trace=broken, records=content.timeline.records[:70])
    said = sentences(replace(content, timeline=begun))
    assert "The link is made-up: 6 to 6 Mbit/s." in said  # what was not played is not told
    text = written.read_text()
    assert "b16r1-l16: 16 feature maps, 16 levels a number" in text
    assert "jpeg-q90: a picture of quality 90" in text
    assert re.search(r"\b0\.\d{3}\b", text.partition("</style>")[2].partition("data:")[0]) is None


def test_points_used_for_at_least_a_frame_in_a_hundred_are_counted(content: ReportContent) -> None:
    def said(num_others: int) -> str:
        points = ["b4r1-l16", *["b4r1-l4"] * num_others]
        run = [record(number, point=point) for number, point in enumerate(points)]
        timeline = replace(content.timeline, records=run)
        adaptive = score_run(run, name="adaptive", measured=True)
        return " ".join(sentences(replace(content, timeline=timeline, adaptive=adaptive)))

    assert "; 2 operating points were used for at least one frame in a hundred." in said(99)
    assert "; 1 operating point was used for at least one frame in a hundred." in said(100)


def test_a_run_ahead_of_its_rivals_is_said_to_be_ahead(content: ReportContent) -> None:
    ahead = replace(
        content, adaptive=score_run([record(0, point="jpeg-q90")], name="adaptive", measured=True)
    )
    assert "0.0 points ahead of the best fixed point" in " ".join(sentences(ahead))


def test_the_first_rows_are_the_run_its_simulation_and_the_best_of_each_kind(
    content: ReportContent,
) -> None:
    assert [title for title, _ in comparison_rows(content)] == [
        "adaptive",
        "adaptive",
        "best fixed split: b16r1-l16",
        "best fixed JPEG: jpeg-q90",
        "best fixed WebP: webp-q75",
        "best local: local-exit",
    ]


def test_a_run_without_frames_can_still_be_drawn() -> None:
    empty = Timeline([], TRACE, 0.0, SLA_S, MANIFEST)
    assert draw_timeline(empty).startswith(b"\x89PNG")
    bar = Bar("nothing", 0.0, measured=False, emphasised=False)
    assert draw_bars([bar]).startswith(b"\x89PNG")


def test_rates_of_the_link_are_written_without_powers_and_more_than_one() -> None:
    figure = Figure()
    axes = figure.add_subplot()
    records = [record(frame_id) for frame_id in range(140)]  # 6, then 0.4 Mbit/s
    _draw_link(axes, Timeline(records, TRACE, 100.0, SLA_S, MANIFEST))
    figure.draw_without_rendering()
    lowest, highest = axes.get_ylim()
    shown = [
        label.get_text()
        for minor in (False, True)
        for label in axes.get_yticklabels(minor=minor)
        if lowest <= label.get_position()[1] <= highest
    ]
    assert {"0.5", "1", "2", "5"} <= set(shown)
    assert not any("10^" in text for text in shown)


def test_longer_latencies_are_drawn_at_the_upper_edge() -> None:
    axes = Figure().add_subplot()
    late = [record(0, total_s=1.7), record(1, total_s=0.04)]
    _draw_latency(axes, Timeline(late, TRACE, 100.0, SLA_S, MANIFEST))
    drawn = {collection.get_label(): collection.get_offsets() for collection in axes.collections}
    assert np.asarray(drawn["late"])[:, 1].tolist() == [250]
    assert np.asarray(drawn["in time"])[:, 1].tolist() == [40]
    assert axes.get_ylim()[1] > 250


def test_a_frame_in_layers_stands_where_it_was_answered_from_not_where_it_was_planned() -> None:
    planned = record(0, point="b16r1-l16")
    assert shown_point(replace(planned, answered_point="b16r1-l4")) == "b16r1-l4"
    assert shown_point(planned) == "b16r1-l16"
    by_the_exit = replace(planned, source=Source.LOCAL, answered_point=None)
    assert shown_point(by_the_exit) == "b16r1-l16"


def test_the_same_run_draws_the_same_bytes(content: ReportContent) -> None:
    assert draw_timeline(content.timeline) == draw_timeline(content.timeline)
