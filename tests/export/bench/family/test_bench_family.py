"""The page on a family: the map, the sentences, odd families, and that it needs nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from headgate.export.bench.bench_command import bench
from headgate.export.bench.family.family_map import (
    Cell,
    Outcome,
    OverTrace,
    Way,
    slower,
    without_splits,
)
from headgate.export.bench.family.family_page import cost_rows, family_page, map_table
from headgate.export.bench.family.family_report import (
    FamilyOptions,
    FamilyReport,
    open_target,
    report_family,
    with_measured,
)
from headgate.export.bench.family.family_words import (
    doubt,
    headline,
    sla_sentence,
    traces_sentence,
    where_not,
)
from headgate.export.bench.rates.rates_measure import MeasureOptions, measure_rates
from headgate.export.bench.rates.rates_pictures import load_pictures
from headgate.export.bench.rates.rates_rows import Rates, Series, rates_of_manifest
from headgate.profiles.errors import UsageError
from headgate.profiles.family import Family
from headgate.profiles.manifest import Manifest, PointKind, PointTime
from headgate.profiles.profile import Profile
from runtime.ladders import ladder_manifest
from runtime.tiny_family import write_npz, write_tiny_family

NOWHERE = Path("nowhere")
FEW = FamilyOptions(
    rates_bps=(1e5, 1e6, 1e7), slas_s=(0.05, 0.1), fps=20.0, steady_s=2.0, trace_s=1.0
)


def quiet(_: str) -> None:
    """Hear of progress and say nothing."""


def report(manifest: Manifest, options: FamilyOptions = FEW) -> FamilyReport:
    return report_family(Family(NOWHERE, manifest), options, say=quiet)


def only(*kinds: PointKind) -> Manifest:
    manifest = ladder_manifest(spread=0.0)
    return replace(manifest, points=tuple(p for p in manifest.points if p.kind in kinds))


@pytest.fixture(scope="module")
def ladder() -> FamilyReport:
    return report(ladder_manifest(spread=0.0))


def cell(
    mbps: float, way: Way, credited: float, without: float | None, *, sla_s: float = 0.1
) -> Cell:
    shares = {each: float(each is way) for each in Way}
    return Cell(mbps * 1e6, sla_s, Outcome(way, "p", credited, 1.0, 100.0, shares, without))


def test_the_map_has_a_cell_for_every_link_and_sla_and_follows_the_rate(
    ladder: FamilyReport,
) -> None:
    assert len(ladder.cells) == 6
    at_100_ms = {c.rate_bps: c.outcome for c in ladder.cells if c.sla_s == 0.1}
    assert at_100_ms[1e5].way is Way.LOCAL
    assert at_100_ms[1e6].way is Way.SPLIT
    assert at_100_ms[1e7].credited > at_100_ms[1e6].credited > at_100_ms[1e5].credited


def test_what_splitting_adds_is_the_difference_to_the_same_run_without_it(
    ladder: FamilyReport,
) -> None:
    slow, middle = (c.outcome for c in ladder.cells if c.sla_s == 0.1 and c.rate_bps < 1e7)
    assert slow.gain == pytest.approx(0.0, abs=0.002)
    assert middle.without_split == pytest.approx(0.60, abs=0.002)
    assert middle.gain is not None
    assert middle.gain > 0.05


def test_the_headline_names_the_links_on_which_splitting_pays(ladder: FamilyReport) -> None:
    assert re.search(r"Splitting pays, by SLA, at .*100 ms: 1 Mbit/s", ladder.lead[0])
    assert "the same device without split points reaches 60.0 %" in ladder.lead[0]


def test_where_splitting_pays_nowhere_the_reason_is_said() -> None:
    manifest = ladder_manifest(spread=0.0)
    strong = tuple(
        replace(p, metrics={"top1": 0.9}) if p.kind is PointKind.LOCAL else p
        for p in manifest.points
    )
    said = report(replace(manifest, points=strong)).lead[0]
    assert "pays on none of these links" in said
    assert "reaches 90.0 % by itself (local-full), and the best split point has 77.2 %" in said


def test_a_user_s_family_is_held_to_no_goal(ladder: FamilyReport) -> None:
    assert ladder.result().goals == ()
    assert "Goal" not in family_page(ladder)


def test_gaps_between_links_that_pay_are_not_glossed_over() -> None:
    cells = [
        cell(0.1, Way.LOCAL, 0.6, 0.6),
        cell(0.5, Way.SPLIT, 0.7, 0.6),
        cell(1.0, Way.SPLIT, 0.7, 0.6),
        cell(2.0, Way.PICTURE, 0.7, 0.7),
        cell(5.0, Way.SPLIT, 0.8, 0.7),
        cell(5.0, Way.LOCAL, 0.6, 0.6, sla_s=0.02),
    ]
    said = headline(cells, rates_of_manifest(ladder_manifest()))
    assert "100 ms: 500 kbit/s to 1 Mbit/s and 5 Mbit/s" in said
    assert "does not pay at any rate with an SLA of 20 ms" in said
    assert sla_sentence(cells, 0.1) == (
        "Within 100 ms: up to 100 kbit/s it answers alone (60.0 %); at 500 kbit/s to 1 Mbit/s it "
        "splits (70.0 %); at 2 Mbit/s it sends pictures (70.0 %); from 5 Mbit/s it splits (80.0 %)."
    )


def test_splitting_that_costs_accuracy_is_said_too() -> None:
    cells = [cell(1.0, Way.SPLIT, 0.6, 0.65), cell(2.0, Way.SPLIT, 0.7, 0.6)]
    said = where_not(cells)
    assert said is not None
    assert "In 1 of 2 cases" in said
    assert "-5.0 points, at 1 Mbit/s" in said
    assert where_not(cells[1:]) is None


@pytest.mark.parametrize(
    ("num", "said"),
    [("91", "from 91 pictures, with standard errors up to 5.1 points"), ("500", "")],
)
def test_few_pictures_are_said_to_prove_little(num: str, said: str) -> None:
    manifest = replace(ladder_manifest(spread=0.0), provenance={"validation_pictures": num})
    found = doubt(rates_of_manifest(manifest)) or ""
    assert said in found
    assert bool(said) == bool(found)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (only(PointKind.SPLIT, PointKind.LOCAL), "Splitting pays"),
        (only(PointKind.SPLIT), "Splitting pays"),
        (only(PointKind.OFFLOAD, PointKind.LOCAL), "no split points"),
        (only(PointKind.LOCAL), "no split points"),
        (replace(ladder_manifest(), times={}), "Compute times are missing"),
    ],
    ids=["no offload", "splits only", "no splits", "local only", "no times"],
)
def test_odd_families_have_a_page_too(manifest: Manifest, said: str, tmp_path: Path) -> None:
    found = report(manifest)
    assert said in found.lead[0]
    text = family_page(found)
    assert "<h1>" in text
    json.loads(found.result().to_json())


def test_a_family_of_splits_alone_is_never_compared_with_nothing() -> None:
    manifest = only(PointKind.SPLIT)
    assert without_splits(Profile(name="x"), manifest) is None
    splits = Profile(name="x", kinds=(PointKind.SPLIT,))
    assert without_splits(splits, ladder_manifest()) is None
    assert all(c.outcome.gain is None for c in report(manifest).cells)


def test_a_slower_device_answers_worse_by_itself() -> None:
    times = {"p": PointTime(0.01, 0.002)}
    assert slower(times, factor=4.0) == {"p": PointTime(0.04, 0.002)}
    quick = report(ladder_manifest(spread=0.0)).cells[0]
    slow = report(ladder_manifest(spread=0.0), replace(FEW, device_factor=20.0)).cells[0]
    assert slow.outcome.credited < quick.outcome.credited


def test_the_page_is_one_file_for_light_and_dark_and_refers_to_nothing_else(
    ladder: FamilyReport,
) -> None:
    text = family_page(ladder)
    assert "a picture of quality" in text  # what the points' ids mean
    targets = re.findall(r'(?:src|href|srcset)="([^"]{0,30})', text)
    assert len(targets) == 4
    assert all(target.startswith("data:image/png;base64,") for target in targets)
    assert "<script" not in text
    assert "url(" not in text
    assert "prefers-color-scheme: dark" in text


def test_a_cell_says_in_words_what_its_colour_says() -> None:
    cells: Sequence[Cell] = [
        cell(1.0, Way.SPLIT, 0.7, 0.6),
        cell(0.1, Way.NONE, 0.1, 0.1),
    ]
    text = map_table(cells, conditions="RTT <20 ms>")
    assert "rate, and SLA" in text
    assert '<td class="split"' in text
    assert "<b>+10.0</b>" in text
    assert "mostly late" in text
    assert "RTT &lt;20 ms&gt;" in text
    assert text.index("1 Mbit/s") < text.index("100 kbit/s")


def test_the_cost_table_says_how_much_of_the_network_runs_on_the_device() -> None:
    manifest = ladder_manifest()
    rows = {row[0]: row for row in cost_rows(manifest, rates_of_manifest(manifest).rows)}
    assert rows["b1r1-l16"][5] == "10"  # 1000 of 10,000 multiply-adds
    assert rows["local-full"][5] == "100"
    assert rows["webp-q80"][5] == "0"


def test_recorded_links_are_run_and_files_that_are_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text("t_s,mbps\n0,1\n1,2\n2,1\n")
    (tmp_path / "dead.csv").write_text("t_s,mbps\n0,0\n")
    (tmp_path / "broken.csv").write_text("t_s,mbps\nx,1\n")
    found = report(ladder_manifest(), replace(FEW, traces=tmp_path))
    assert {run.trace for run in found.runs} == {"good", "dead"}
    assert any("broken.csv" in note for note in found.notes)
    said = traces_sentence(found.runs)
    assert "Over 2 recorded links" in said
    assert "splitting adds +" in said
    assert "good" in family_page(found)


def test_a_gain_of_a_hair_below_nothing_has_no_minus() -> None:
    nothing = cell(1.0, Way.SPLIT, 0.6, 0.6001).outcome
    runs = [OverTrace("walk", 1e6, 0.1, nothing)]
    assert "splitting adds +0.0 points" in traces_sentence(runs)
    assert "splitting" not in traces_sentence(runs, splits=False)
    worse = [replace(runs[0], outcome=replace(nothing, without_split=0.62))]
    assert "splitting adds -2.0 points" in traces_sentence(worse)


def test_where_nothing_is_split_nothing_is_said_of_when_splitting_is_faster(tmp_path: Path) -> None:
    (tmp_path / "walk.csv").write_text("t_s,mbps\n0,1\n1,2\n")
    manifest = only(PointKind.OFFLOAD, PointKind.LOCAL)
    found = report(manifest, replace(FEW, traces=tmp_path))
    assert not [line for line in found.result().notes if "splitting" in line]


def test_measuring_again_replaces_accuracy_bytes_times_and_exits(tmp_path: Path) -> None:
    family = write_tiny_family(tmp_path / "family")
    pictures = load_pictures(
        family.manifest, f"npz:{write_npz(tmp_path / 'p.npz', 16)}", limit=None
    )
    none = MeasureOptions(jpeg_qualities=(), webp_qualities=(), paper=False)
    rates: Rates = measure_rates(family, pictures, none, quiet)
    measured = with_measured(family.manifest, rates, machine="here")
    assert measured.point("local-full").metrics["top1"] == 1.0  # the manifest says 0.6
    assert measured.point("b3r1-l16").bytes != family.manifest.point("b3r1-l16").bytes
    assert set(measured.times) == {"here"}
    assert measured.members[0].exit_metrics != family.manifest.members[0].exit_metrics


def test_a_ladder_file_will_do_but_not_to_measure(tmp_path: Path) -> None:
    example = Path(__file__).parents[4] / "examples" / "ladder.toml"
    family = open_target(example, FEW)
    found = report_family(family, FEW, say=quiet)
    assert found.cells
    assert "accuracy, bytes and times as the ladder gives them" in found.notes
    assert found.title == "Ladder illustrative"
    text = family_page(found)
    for made_up in ("whole network", "full accuracy", "8 x 8", "2 classes", "1 map", "of quality"):
        assert made_up not in text + " ".join(found.rates_lines)
    assert "standard error" not in text  # none is known
    assert {row.group for row in found.rates.of(Series.SPLIT)} == {"of the ladder"}
    with pytest.raises(UsageError, match="no networks to measure"):
        open_target(example, replace(FEW, data="embedded"))


def test_the_command_needs_no_data_and_no_graphs_of_the_other_role(tmp_path: Path) -> None:
    family = write_tiny_family(tmp_path / "family")
    for path in (family.path / "tails").rglob("*.onnx"):
        path.unlink()
    arguments = ["family", str(family.path), "--mbps", "0.1,1", "--sla-ms", "50", "--json"]
    ran = CliRunner().invoke(
        bench, [*arguments, "--out", str(tmp_path / "out")], catch_exceptions=False
    )
    assert ran.exit_code == 0
    assert ran.stderr.splitlines()[-1] == f"page: {tmp_path / 'out' / 'family.html'}"
    assert f"table: {tmp_path / 'out' / 'family.md'}, and family.json beside it" in ran.stderr
    value = json.loads(ran.stdout)
    assert value["bench"] == "Family"
    assert len(value["details"]["map"]) == 2
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "family.html",
        "family.md",
        "family.json",
    }


@pytest.mark.parametrize(
    "wrong",
    [
        ["--mbps", "0,1"],
        ["--mbps", "fast"],
        ["--sla-ms", "-5"],
        ["--fps", "0"],
        ["--fps", "nan"],
        ["--rtt-ms", "inf"],
        ["--device-factor", "nan"],
        ["--trace-s", "inf"],
        ["--threads", "-1"],
    ],
)
def test_impossible_links_and_demands_are_refused(wrong: list[str], tmp_path: Path) -> None:
    family = write_tiny_family(tmp_path / "family")
    ran = CliRunner().invoke(bench, ["family", str(family.path), *wrong])
    assert ran.exit_code == 2
