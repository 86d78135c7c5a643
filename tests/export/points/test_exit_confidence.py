"""Claims about calibrated early exits: the curves, the pictures set aside, and `bench skip`."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from headgate.export.bench.codecs.bench_skip import SkipOptions, auto_line, bench_skip, try_rule
from headgate.export.points.exit_confidence import (
    SplitAnswers,
    fit_curve,
    split_answers,
    with_confidence,
)
from headgate.export.points.measure import Engines
from headgate.export.samples import HeldOut
from headgate.profiles.confidence import Curve
from headgate.profiles.errors import UsageError
from headgate.profiles.family import Family, manifest_text, open_family
from headgate.profiles.manifest import PointKind
from headgate.runtime.cli import main
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.edge_engine import EdgeEngine
from headgate.runtime.session.skipping import SkipRule
from runtime.tiny_family import tinted_pictures, write_npz, write_tiny_family


def silent(line: str) -> None:
    assert "\n" not in line


@pytest.mark.parametrize("truth", [Curve(0.5, -0.3), Curve(1.2, 0.4)])
def test_a_curve_is_found_again_from_what_it_made(truth: Curve) -> None:
    rng = np.random.default_rng(5)
    scores = 1 / (1 + np.exp(-rng.uniform(-1, 6, 20_000)))
    chances = np.array([truth.chance(score) for score in scores])
    found = fit_curve(scores, rng.random(len(scores)) < chances)
    assert found.slope == pytest.approx(truth.slope, abs=0.06)
    assert found.offset == pytest.approx(truth.offset, abs=0.15)


def test_few_pictures_that_are_all_right_give_a_high_and_finite_chance() -> None:
    found = fit_curve(np.linspace(0.6, 0.99, 50), np.ones(50, np.bool_))
    assert 0.9 < found.chance(0.9) < 1


def test_scores_that_tell_nothing_or_the_wrong_way_give_the_share() -> None:
    right = np.arange(100) % 4 > 0
    assert fit_curve(np.full(100, 0.9), right).chance(0.5) == pytest.approx(0.75, abs=0.01)
    falling = fit_curve(np.where(right, 0.6, 0.9), right)
    assert falling.slope == 0
    assert falling.chance(0.99) == pytest.approx(0.75, abs=0.02)


def test_scores_that_separate_right_from_wrong_give_a_finite_curve() -> None:
    right = np.arange(60) >= 30
    found = fit_curve(np.where(right, 0.95, 0.4), right)
    assert np.isfinite([found.slope, found.offset]).all()
    assert found.chance(0.95) > 0.9
    assert found.chance(0.4) < 0.1


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """The tiny family with its exits calibrated on 60 pictures of their own."""
    folder = tmp_path_factory.mktemp("skip") / "family"
    family = write_tiny_family(folder)
    engines = Engines(device=DeviceEngine(family), tail=EdgeEngine(family))
    held = HeldOut(*tinted_pictures(60, seed=9))
    manifest = with_confidence(family.manifest, engines, held, progress=silent)
    (folder / "family.json").write_text(manifest_text(manifest))
    return open_family(folder)


def test_every_exit_and_split_point_gets_a_curve_and_nothing_else(calibrated: Family) -> None:
    manifest = calibrated.manifest
    assert all(member.confidence is not None for member in manifest.members)
    for point in manifest.points:
        assert (point.confidence is not None) == (point.kind is PointKind.SPLIT)
    assert len(set(manifest.confidence_pictures)) == 60


def test_a_split_point_s_curve_is_of_the_edge_and_its_predicted_point_has_the_same(
    calibrated: Family,
) -> None:
    manifest = calibrated.manifest
    first = next(p for p in manifest.points if p.kind is PointKind.SPLIT)
    predicted = replace(first, id=f"{first.id}-p", twin=first.id, confidence=None)
    engines = Engines(device=DeviceEngine(calibrated), tail=EdgeEngine(calibrated))
    # Of noise exit and edge do not always think the same.
    pictures = np.random.default_rng(3).integers(0, 256, (60, 16, 16, 3)).astype(np.uint8)

    def answers(labels: NDArray[np.int64]) -> SplitAnswers:
        return split_answers(first, engines, pictures_NHWC=pictures, labels_N=labels)

    given = np.argmax([answers(np.full(60, label)).edge_right for label in range(3)], axis=0)
    labels = (given + np.arange(60) % 2) % 3  # so the edge is right on every second picture
    found = answers(labels)
    assert found.edge_right.sum() == 30
    twice = replace(manifest, points=(*manifest.points, predicted))
    curves = with_confidence(twice, engines, HeldOut(pictures, labels), progress=silent)
    assert first.member is not None
    expected = fit_curve(found.scores, found.edge_right)
    assert curves.point(first.id).confidence == curves.point(predicted.id).confidence == expected
    exit_curve = curves.member(first.member).confidence
    assert exit_curve != expected
    assert exit_curve == fit_curve(found.scores, found.exit_right)


def test_without_pictures_a_family_stays_as_it_is(calibrated: Family) -> None:
    engines = Engines(device=DeviceEngine(calibrated), tail=EdgeEngine(calibrated))
    nothing = HeldOut(np.zeros((0, 16, 16, 3), np.uint8), np.zeros(0, np.int64))
    same = with_confidence(calibrated.manifest, engines, nothing, progress=silent)
    assert same is calibrated.manifest


def test_a_rule_is_charged_for_what_the_edge_would_have_known(calibrated: Family) -> None:
    manifest = calibrated.manifest
    point = next(p for p in manifest.points if p.kind is PointKind.SPLIT)
    sure = replace(
        manifest,
        members=tuple(replace(m, confidence=Curve(1.0, 0.0)) for m in manifest.members),
        points=tuple(replace(p, confidence=Curve(1.0, 0.0)) for p in manifest.points),
    )
    found = SplitAnswers(
        scores=np.array([0.99, 0.98, 0.97, 0.5]),
        exit_right=np.array([True, False, True, False]),
        edge_right=np.array([True, True, False, True]),
        sizes=np.array([100, 200, 300, 400]),
    )
    came_to = try_rule(SkipRule(0.975), sure, sure.point(point.id), found)
    assert came_to.share == 0.5
    assert (came_to.bytes_all, came_to.bytes_left) == (250, 175)
    assert (came_to.accuracy_all, came_to.accuracy) == (0.75, 0.5)
    assert came_to.right == 0.5
    assert came_to.foretold == pytest.approx(0.985)
    assert auto_line(point, came_to) == (
        "b3r1-l16: auto keeps back 50.0 % of the frames and changes the accuracy by "
        "-25.00 ± 21.65 points, no loss beyond chance"
    )
    lost = auto_line(point, replace(came_to, error=0.1))
    assert lost.endswith("-25.00 ± 10.00 points, more than chance explains")
    nothing = try_rule(SkipRule(1.0), sure, sure.point(point.id), found)
    assert (nothing.share, nothing.right, nothing.error) == (0, None, 0)


def test_pictures_of_the_calibration_are_not_counted(calibrated: Family, tmp_path: Path) -> None:
    path = tmp_path / "mixed.npz"
    old, fresh = tinted_pictures(60, seed=9), tinted_pictures(25, seed=10)
    pictures, labels = (np.concatenate([a, b]) for a, b in zip(old, fresh, strict=True))
    np.savez(
        path, train_pictures=pictures, train_labels=labels, val_pictures=pictures, val_labels=labels
    )
    options = SkipOptions(family=calibrated, data=f"npz:{path}", rules=("auto", "0.5"))
    result = bench_skip(options, say=silent)
    assert [row[:2] for row in result.rows] == [
        ("b3r1-l16", "auto"),
        ("b3r1-l16", "0.5"),
        ("b1r1-l5", "auto"),
        ("b1r1-l5", "0.5"),
    ]
    assert "60 pictures left out, on which the exits were calibrated; 25 counted" in result.notes
    assert sum(note.endswith("no loss beyond chance") for note in result.notes) == 2
    few = bench_skip(replace(options, limit=25), say=silent)  # a limit is of those that count
    assert "60 pictures left out, on which the exits were calibrated; 25 counted" in few.notes
    only_old = replace(options, data=f"npz:{write_npz(tmp_path / 'old.npz', 60, seed=9)}")
    with pytest.raises(UsageError, match="all 60 pictures were used to calibrate"):
        bench_skip(only_old, say=silent)


def test_the_command_prints_json_and_refuses_a_family_that_is_not_calibrated(
    calibrated: Family, tmp_path: Path
) -> None:
    data = f"npz:{write_npz(tmp_path / 'fresh.npz', 30, seed=10)}"
    command = ["bench", "skip", str(calibrated.path), "--data", data, "--out", str(tmp_path)]
    done = CliRunner().invoke(main, [*command, "--json", "--points", "b1*"])
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["rows"]) == 3
    plain = write_tiny_family(tmp_path / "plain")
    refused = CliRunner().invoke(main, ["bench", "skip", str(plain.path), "--data", data])
    assert refused.exit_code == 4
    assert "export it with --confidence-pictures 300" in refused.stderr
    unknown = CliRunner().invoke(main, [*command, "--rules", "95"])
    assert unknown.exit_code == 2


def test_a_device_refuses_a_family_that_is_not_calibrated(tmp_path: Path) -> None:
    plain = write_tiny_family(tmp_path / "plain")
    data = f"npz:{write_npz(tmp_path / 'set.npz', 3)}"
    asked = ["device", str(plain.path), data, "-", "--skip-confident", "auto"]
    refused = CliRunner().invoke(main, asked)
    assert refused.exit_code == 4
    assert refused.stderr.count("\n") == 1
    assert "--confidence-pictures 300" in refused.stderr
