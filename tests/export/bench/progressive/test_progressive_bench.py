"""Every benchmark of a family either measures points that are sent in layers, or refuses them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headgate.export.bench.codecs.bench_codec import (
    CodecOptions,
    bench_codec,
    inner_bounds,
    take_turns,
    ways_of,
)
from headgate.export.bench.codecs.bench_predict import PredictOptions, bench_predict
from headgate.export.bench.codecs.bench_skip import SkipOptions, bench_skip
from headgate.export.bench.edge.bench_edge import bench_edge
from headgate.export.bench.edge.bench_edge_plan import LAYERS_OF_MESSAGE, pieces_of
from headgate.export.bench.edge.bench_edge_table import COLUMNS, EdgeOptions
from headgate.export.bench.family.family_report import FamilyOptions, report_family
from headgate.export.bench.rates.bench_rates import RatesOptions, bench_rates, write_rates
from headgate.export.bench.rates.plot_rates import draw_rates
from headgate.export.bench.rates.rates_measure import MeasureOptions
from headgate.export.bench.rates.rates_rows import rates_of_manifest
from headgate.export.bench.speed.bench_head import HeadOptions, bench_head
from headgate.export.demo.plots import draw_points
from headgate.export.points.exit_confidence import with_confidence
from headgate.export.points.measure import Engines
from headgate.export.samples import HeldOut
from headgate.profiles.errors import UsageError
from headgate.profiles.family import Family, manifest_text, open_family
from headgate.runtime.codec.features import encode_features
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.edge_engine import EdgeEngine
from headgate.runtime.wire.messages import Frame
from runtime.tiny_family import LABELS, tinted_pictures, write_npz, write_tiny_family

FEW = MeasureOptions(jpeg_qualities=(50,), webp_qualities=(5, 60))
PREFIXES = ["p3r1-l16-p1", "p3r1-l16-p2"]


def silent(line: str) -> None:
    assert "\n" not in line


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return write_tiny_family(tmp_path_factory.mktemp("layered") / "family", progressive=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"npz:{write_npz(tmp_path_factory.mktemp('layered-data') / 'pictures.npz', 24)}"


def test_rates_list_prefixes_with_the_bytes_of_all_their_layers(
    family: Family, data: str, tmp_path: Path
) -> None:
    bench = bench_rates(family, RatesOptions(data, measure=FEW), say=silent)
    rows = {row.id: row for row in bench.rates.rows}
    small, large = (rows[point_id] for point_id in PREFIXES)
    assert 0 < small.mean_bytes < large.mean_bytes
    assert 0.3 < small.accuracy < 0.9  # green is known from its map alone, red and blue are not
    assert large.accuracy == 1.0
    assert small.sample is not None
    assert large.sample is not None
    assert (small.sample.sizes_N < large.sample.sizes_N).all()
    assert small.time is not None
    assert write_rates(bench, tmp_path).exists()


def test_prefixes_of_a_series_are_one_line_and_members_and_series_do_not_share_one(
    family: Family,
) -> None:
    series = [p for p in family.manifest.points if p.prefix is not None]
    coarse = [replace(p, id=p.id.replace("l16", "l4"), levels=4) for p in series]
    manifest = replace(family.manifest, points=(*family.manifest.points, *coarse))
    groups = {
        name: [row.id for row in rows] for name, rows in rates_of_manifest(manifest).groups.items()
    }
    assert groups["3 maps in 2 layers, 16 levels"] == PREFIXES
    assert groups["3 maps in 2 layers, 4 levels"] == ["p3r1-l4-p1", "p3r1-l4-p2"]
    assert groups["3 maps"] == ["b3r1-l16"]
    for png in (draw_points(manifest), draw_rates(rates_of_manifest(manifest))):
        assert png.startswith(b"\x89PNG")


def test_a_family_page_measures_prefixes_and_runs_the_controller_over_them(
    family: Family, data: str
) -> None:
    options = FamilyOptions(
        data=data, measure=FEW, rates_bps=(1e5, 1e7), slas_s=(0.1,), fps=20.0, steady_s=1.0
    )
    report = report_family(family, options, say=silent)
    measured = {row.id: row for row in report.rates.rows if row.own}
    assert set(PREFIXES) <= set(measured)
    assert len(report.cells) == 2


def test_codecs_are_measured_layer_by_layer_on_the_largest_prefix(
    family: Family, data: str
) -> None:
    result = bench_codec(CodecOptions(family, data, limit=12), say=silent)
    own = {row[0]: row for row in result.rows if row[2].endswith("*")}
    assert set(own) == {"b3r1-l16", "b1r1-l5", PREFIXES[1]}
    assert own[PREFIXES[1]][1] == "3 x 8 x 8, 16 levels, 2 layers"
    assert any("one by one" in note for note in result.notes)
    (first,) = {
        row[1]
        for row in bench_codec(
            CodecOptions(family, data, limit=12, point=PREFIXES[0]), say=silent
        ).rows
    }
    assert first == "1 x 8 x 8, 16 levels"


def test_bytes_of_a_codec_are_the_sum_over_the_layers(family: Family) -> None:
    point = family.manifest.point(PREFIXES[1])
    assert inner_bounds(family.manifest, point) == (1,)
    q_NCHW = np.random.default_rng(4).integers(0, 16, (4, 3, 8, 8), dtype=np.uint8)
    ways = ways_of(point, q_NCHW)
    raw = next(way.name for way in ways if way.name.startswith("raw"))
    whole = take_turns(ways, q_NCHW)[raw].sizes
    zstd = next(way.name for way in ways if way.name.startswith("zstd *"))
    layers = take_turns(ways, q_NCHW, bounds=(1,))[zstd].sizes
    assert whole == [96] * 4
    assert layers == [
        sum(len(encode_features(layer, levels=16, codec="zstd")) for layer in (q[:1], q[1:]))
        for q in q_NCHW
    ]


def test_prediction_is_refused_for_points_with_layers_before_the_video_is_read(
    family: Family,
) -> None:
    with pytest.raises(UsageError, match=rf"^{PREFIXES[0]}: is sent in layers.*--points"):
        bench_predict(PredictOptions(family, ("no-such-film.mp4",)), say=silent)


def test_what_a_sure_exit_keeps_back_is_weighed_at_every_prefix(
    family: Family, data: str, tmp_path: Path
) -> None:
    engines = Engines(DeviceEngine(family), EdgeEngine(family))
    held = HeldOut(*tinted_pictures(60, seed=9))
    manifest = with_confidence(family.manifest, engines, held, progress=silent)
    calibrated = write_tiny_family(tmp_path / "family", progressive=True)
    (calibrated.path / "family.json").write_text(manifest_text(manifest))
    options = SkipOptions(open_family(calibrated.path), data, points=("p3r1-*",))
    rows = bench_skip(options, say=silent).rows
    assert {row[0] for row in rows} == set(PREFIXES)
    all_sent = {row[0]: float(row[3]) for row in rows}
    assert all_sent[PREFIXES[0]] < all_sent[PREFIXES[1]]


def test_heads_of_progressive_members_are_timed_and_as_accurate_in_int8(
    family: Family, tmp_path: Path
) -> None:
    pictures, labels = tinted_pictures(24)
    arrays = {
        f"{split}_{name}": value
        for split in ("train", "val")
        for name, value in (("pictures", pictures), ("labels", labels))
    }
    np.savez(tmp_path / "tinted.npz", **arrays, label_names=np.array(LABELS))  # type: ignore[arg-type]
    options = HeadOptions(family, f"npz:{tmp_path / 'tinted.npz'}", num_calibration=8, rounds=2)
    result = bench_head(options, say=silent)
    accuracy = {row[0]: row[result.columns.index("accuracy, %")] for row in result.rows}
    assert accuracy[f"head of {PREFIXES[1]}"] == "100.0"
    assert accuracy[f"head of {PREFIXES[1]} in INT8"] == "100.0"


def test_a_frame_of_many_layers_is_a_few_messages_that_follow_one_another() -> None:
    layers = [bytes([number]) * 4 for number in range(2 * LAYERS_OF_MESSAGE + 3)]
    pieces = pieces_of(Frame(7, 1, 1000, layers[0], sent_us=5), layers)
    assert [piece.layer for piece in pieces] == [0, LAYERS_OF_MESSAGE, 2 * LAYERS_OF_MESSAGE]
    assert [layer for piece in pieces for layer in (piece.payload, *piece.more_layers)] == layers
    assert {(piece.frame_id, piece.sent_us, piece.fragments) for piece in pieces} == {(7, 5, 1)}


def test_an_edge_is_loaded_with_whole_frames_of_layers(family: Family, tmp_path: Path) -> None:
    options = EdgeOptions(
        family=family,
        folder=tmp_path,
        devices=(2,),
        fps=(20.0,),
        sla_s=10.0,
        warm_up_s=0.3,
        measure_s=0.4,
        soak_s=0.0,
        point=PREFIXES[1],
    )
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in bench_edge(options, say=silent).rows]
    assert [row["load"] for row in rows] == ["closed", "20/s each"]
    assert all(float(row["in time/s"]) > 0 for row in rows)
    assert rows[1]["offered/s"] == rows[1]["in time/s"]
    assert all(row["rejected"] == row["late"] == "0" for row in rows)
