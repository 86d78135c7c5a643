"""The rates benchmark on anyone's family and pictures: what it measures, refuses and writes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from headgate.export.bench.bench_command import bench
from headgate.export.bench.bench_table import family_title
from headgate.export.bench.rates.bench_rates import (
    RatesOptions,
    bench_rates,
    shown_rows,
    write_rates,
)
from headgate.export.bench.rates.paper_points import paper_points
from headgate.export.bench.rates.plot_rates import draw_rates
from headgate.export.bench.rates.rates_candidates import (
    lossless_payload,
    offload_graphs,
    rival_pictures,
)
from headgate.export.bench.rates.rates_measure import MeasureOptions, measure_rates
from headgate.export.bench.rates.rates_pictures import load_pictures
from headgate.export.bench.rates.rates_rows import Rates, Series, graph_name, rates_of_manifest
from headgate.export.bench.rates.train_rates import TrainRatesOptions
from headgate.export.figures import DARK, NARROW_IN
from headgate.export.points.points import byte_stats
from headgate.profiles.errors import UsageError
from headgate.profiles.family import Family
from headgate.profiles.pictures import decode_picture
from headgate.runtime.networks.graphs import EngineOptions
from headgate.train.run.recipe_checks import check_config
from runtime.tiny_family import LABELS, tinted_pictures, write_npz, write_tiny_family

QUICK = MeasureOptions(jpeg_qualities=(5, 50), webp_qualities=(5, 60))


def quiet(_: str) -> None:
    """Hear of progress and say nothing."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rates")


@pytest.fixture(scope="module")
def family(folder: Path) -> Family:
    return write_tiny_family(folder / "family")


@pytest.fixture(scope="module")
def data(folder: Path) -> str:
    return f"npz:{write_npz(folder / 'pictures.npz', 40)}"


@pytest.fixture(scope="module")
def rates(family: Family, data: str) -> Rates:
    pictures = load_pictures(family.manifest, data, limit=24)
    assert any("no names" in note for note in pictures.notes)
    return measure_rates(family, pictures, QUICK, quiet)


def test_every_point_of_the_family_is_measured_anew_and_stands_first(
    family: Family, rates: Rates
) -> None:
    own = [row.id for row in rates.rows if row.own]
    assert own == [point.id for point in family.manifest.points]
    assert [row.own for row in rates.rows] == sorted([row.own for row in rates.rows], reverse=True)
    assert rates.num_pictures == 24
    assert all(row.time is not None for row in rates.rows)


def test_pictures_are_measured_at_qualities_and_methods_that_the_family_lacks(
    rates: Rates,
) -> None:
    found = {row.id: row for row in rates.rows if row.series.is_picture}
    assert set(found) == {"jpeg-q50", "jpeg-q5", "webp-q5", "webp-q60", "webp-q5-m6", "webp-q60-m6"}
    assert found["jpeg-q50"].own  # at a quality that was asked for too: measured once
    assert found["webp-q60-m6"].group == "WebP, method 6"
    assert found["webp-q5"].mean_bytes < found["webp-q60"].mean_bytes


def test_the_paper_s_payload_is_a_byte_per_value_and_loses_nothing(
    family: Family, rates: Rates
) -> None:
    raw = next(row for row in rates.rows if row.id == "b3r1-uint8")
    assert raw.mean_bytes == family.manifest.member("b3r1").features.nbytes
    packed = next(row for row in rates.rows if row.id == "b3r1-uint8-zstd")
    assert packed.accuracy == raw.accuracy
    assert raw.series is Series.PAPER
    shown = shown_rows(rates)
    assert raw in shown
    assert all(row in shown for row in rates.rows if row.own)


def test_the_paper_s_ranges_hold_all_values_and_little_more(family: Family) -> None:
    pictures, _ = tinted_pictures(16)
    options = EngineOptions(providers="cpu")
    wide = replace(
        family.manifest,
        points=tuple(
            replace(p, low=(-40.0,) * len(p.low), span=(90.0,) * len(p.low)) if p.low else p
            for p in family.manifest.points
        ),
    )
    tight = paper_points(family, pictures, options=options)
    loose = paper_points(Family(family.path, wide), pictures, options=options)
    for one, other in zip(tight, loose, strict=True):
        ends = np.add(one.low, one.span), np.add(other.low, other.span)
        assert np.all(np.asarray(one.span) < 1.1)  # colours from 0 to 1
        assert np.allclose(one.low, other.low, atol=1.1)  # one step of the wide range is 1.06
        assert np.allclose(*ends, atol=1.1)


def test_the_whole_network_is_measured_on_pictures_that_lost_nothing(rates: Rates) -> None:
    assert rates.full is not None
    assert rates.full.accuracy == 1.0
    picture = tinted_pictures(1)[0][0]
    assert np.array_equal(decode_picture(lossless_payload(picture), max_pixels=256), picture)


def test_pictures_go_into_every_whole_network_that_the_family_has(family: Family) -> None:
    manifest = family.manifest
    tuned = replace(manifest.point("jpeg-q50"), id="jpeg-q50-tuned", graph="tuned/model.onnx")
    two = replace(manifest, points=(*manifest.points, tuned))
    assert offload_graphs(two) == ["full/model.onnx", "tuned/model.onnx"]
    found = rival_pictures(two, (50,), (5,), best_webp=False)
    assert [(each.id, each.group) for each in found] == [
        ("webp-q5", "WebP"),
        ("webp-q5-tuned", "WebP, tuned network"),
    ]


def test_a_rival_never_takes_the_name_of_a_point_of_the_family(family: Family) -> None:
    """A family's own quality may go into its tuned network; the plain one is then another row."""
    points = tuple(
        replace(p, graph="tuned/model.onnx") if p.id == "jpeg-q50" else p
        for p in family.manifest.points
    )
    manifest = replace(family.manifest, points=points)
    ids = [each.id for each in rival_pictures(manifest, (50,), (5,), best_webp=True)]
    assert "jpeg-q50" not in ids
    assert "jpeg-q50-full" in ids
    assert len(ids) == len(set(ids))


def test_a_graph_is_named_by_what_tells_it_apart() -> None:
    names = ["tuned/model.onnx", "full/tuned.onnx", "full/model.onnx", "x.onnx"]
    assert [graph_name(name) for name in names] == ["tuned", "tuned", "full", "x"]


def test_pictures_of_other_sizes_are_resized_and_it_is_said(family: Family, tmp_path: Path) -> None:
    pictures, labels = tinted_pictures(12, side_px=12)
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        for half in ("train", "val"):
            place = tmp_path / half / LABELS[label]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(place / f"{index}.png")
    found = load_pictures(family.manifest, f"folder:{tmp_path}", limit=None)
    assert found.pictures.shape == (12, 16, 16, 3)
    said = " ".join(found.notes)
    assert "12 pictures are smaller than the input" in said
    assert "12 validation pictures of 3 classes" in said
    assert str(tmp_path) not in said


def test_classes_are_known_by_name_and_sizes_by_their_shorter_side(
    family: Family, tmp_path: Path
) -> None:
    names = sorted(LABELS)  # as folders stand, and not as the family counts
    assert tuple(names) != LABELS
    shapes = {names[0]: (16, 12, 3), names[1]: (20, 16, 3), names[2]: (16, 16, 3)}
    for half in ("train", "val"):
        for name in names:
            (tmp_path / half / name).mkdir(parents=True)
            picture = np.full(shapes[name], 90, np.uint8)
            Image.fromarray(picture).save(tmp_path / half / name / "0.png")
    found = load_pictures(family.manifest, f"folder:{tmp_path}", limit=None)
    assert [LABELS[label] for label in found.labels] == names
    said = " ".join(found.notes)
    assert "2 pictures were of another size" in said
    assert "1 pictures are smaller than the input" in said
    assert "only 3 pictures: look at the standard errors first" in said


def test_the_paper_s_ranges_are_of_all_classes_where_pictures_are_sorted(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    dark, light = np.zeros((2, 16, 16, 3), np.uint8), np.full((2, 16, 16, 3), 255, np.uint8)
    monkeypatch.setattr("headgate.export.bench.rates.paper_points.NUM_CALIBRATION", 2)
    sorted_NHWC = np.concatenate([dark, light])
    points = paper_points(family, sorted_NHWC, options=EngineOptions(providers="cpu"))
    colours = next(point for point in points if point.member == "b3r1")
    low, high = np.array(colours.low), np.add(colours.low, colours.span)
    assert np.all((low > -0.05) & (low <= 0))  # colours are from 0 to 1
    assert np.all((high >= 1) & (high < 1.05))


def test_no_pictures_are_refused(family: Family, data: str) -> None:
    with pytest.raises(UsageError, match="--limit"):
        load_pictures(family.manifest, data, limit=0)


def test_impossible_qualities_are_refused_before_anything_is_measured(
    family: Family, data: str
) -> None:
    pictures = load_pictures(family.manifest, data, limit=2)
    with pytest.raises(UsageError, match="--webp-qualities: 101"):
        measure_rates(family, pictures, MeasureOptions(webp_qualities=(101,)), quiet)


def test_the_command_writes_table_page_and_plot_and_prints_one_json_object(
    family: Family, data: str, tmp_path: Path
) -> None:
    arguments = ["rates", str(family.path), "--data", data, "--limit", "16", "--json"]
    arguments += ["--jpeg-qualities", "5", "--webp-qualities", "5,60", "--out", str(tmp_path)]
    ran = CliRunner().invoke(bench, arguments, catch_exceptions=False)
    assert ran.exit_code == 0
    value = json.loads(ran.stdout)
    assert value["bench"] == "Rates"
    assert value["goals"] == []  # they are this project's, not the user's
    assert {row["id"] for row in value["details"]["rows"]} >= {"b3r1-l16", "webp-q5-m6"}
    assert value["details"]["verdict"]["full_accuracy"] == 1.0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"rates.md", "rates.json", "rates.png", "rates.html"}
    text = (tmp_path / "rates.html").read_text()
    assert "<script" not in text
    targets = re.findall(r'(?:src|href|srcset)="([^"]{0,30})', text)
    assert len(targets) == 4
    assert all(target.startswith("data:image/png;base64,") for target in targets)
    assert "Goal: " not in text
    title = family_title(family.manifest)
    assert f"<h1>Accuracy against bytes: {title}</h1>" in text  # whose page it is
    judged = CliRunner().invoke(bench, [*arguments, "--goals"], catch_exceptions=False)
    assert len(json.loads(judged.stdout)["goals"]) == 3
    assert (tmp_path / "rates.html").read_text().count("Goal: ") == 3


def test_rates_without_pictures_or_paper_are_still_a_table_and_a_page(
    family: Family, data: str, tmp_path: Path
) -> None:
    kept = tuple(p for p in family.manifest.points if p.picture_format is None)
    bare = Family(family.path, replace(family.manifest, points=kept))
    nothing = MeasureOptions(jpeg_qualities=(), webp_qualities=(), paper=False)
    options = RatesOptions(data, limit=8, measure=nothing)
    found = bench_rates(bare, options, say=quiet)
    assert found.result.goals == ()
    assert len(found.result.rows) == len(kept)
    assert write_rates(found, tmp_path).exists()


def test_predicted_points_keep_the_bytes_of_their_video_and_are_no_rivals_of_pictures(
    family: Family, data: str
) -> None:
    twin = family.manifest.point("b3r1-l16")
    predicted = replace(twin, id="b3r1-l16-p", twin=twin.id, bytes=byte_stats([7, 9]))
    manifest = replace(family.manifest, points=(*family.manifest.points, predicted))
    pictures = load_pictures(manifest, data, limit=8)
    none = MeasureOptions(jpeg_qualities=(), webp_qualities=(), paper=False)
    found = measure_rates(Family(family.path, manifest), pictures, none, quiet)
    row = next(row for row in found.rows if row.id == "b3r1-l16-p")
    assert (row.mean_bytes, row.series, row.own) == (8.0, Series.PREDICTED, True)
    assert row.accuracy == next(row for row in found.rows if row.id == twin.id).accuracy
    assert row not in found.of(Series.SPLIT)
    assert any("video" in note for note in found.notes)
    assert any("video" in note for note in rates_of_manifest(manifest).notes)
    assert draw_rates(found).startswith(b"\x89PNG")


def test_a_manifest_alone_gives_rates_without_running_anything(family: Family) -> None:
    found = rates_of_manifest(family.manifest)
    assert [row.id for row in found.rows] == [point.id for point in family.manifest.points]
    assert found.full is not None
    assert found.full.accuracy == 0.6
    assert draw_rates(found).startswith(b"\x89PNG")


def test_a_plot_exists_for_phones_and_dark_paper_too(rates: Rates) -> None:
    assert draw_rates(rates, NARROW_IN, DARK).startswith(b"\x89PNG")
    assert draw_rates(rates) == draw_rates(rates)


def test_rates_of_nothing_but_local_answers_can_be_drawn(rates: Rates) -> None:
    local = tuple(row for row in rates.rows if row.series is Series.LOCAL)
    assert draw_rates(Rates(local, None, None)).startswith(b"\x89PNG")


def test_the_recipe_of_the_rates_family_is_a_valid_one() -> None:
    check_config(TrainRatesOptions(data="folder:x", folder=Path()).recipe())
