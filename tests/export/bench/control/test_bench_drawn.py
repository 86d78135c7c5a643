"""Claims about `headgate bench drawn`: what is drawn, how it is compared, and what it refuses."""

import json
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner, Result

from headgate.export.bench.control.bench_drawn import (
    APART,
    BEST_RIVAL,
    COLUMNS,
    LAYERS,
    DrawnOptions,
    bench_drawn,
    parse_choices,
)
from headgate.export.bench.control.control_runs import LOCAL, ORACLE, OURS, PICTURES, WHOLE, Mode
from headgate.export.bench.control.drawn_cases import (
    LINK_S,
    PACKET_BITS,
    TURN_S,
    draw_case,
    draw_link,
    in_turns,
)
from headgate.profiles.errors import UsageError
from headgate.profiles.manifest import PointKind
from headgate.runtime.cli import main
from headgate.runtime.simulation.rivals import PERFECT

FEW = DrawnOptions(num_cases=2, modes=(Mode.INSURED,), duration_s=1.0, workers=1)


def run(folder: Path, *arguments: str) -> Result:
    command = ["bench", "drawn", "--out", str(folder / "out"), "--workers", "1", *arguments]
    return CliRunner().invoke(main, command)


def test_a_seed_is_one_case() -> None:
    assert draw_case(7, layers=True) == draw_case(7, layers=True)
    assert draw_case(7, layers=True) != draw_case(8, layers=True)


def test_points_of_their_own_are_those_of_the_layers() -> None:
    layers, apart = draw_case(5, layers=True), draw_case(5, layers=False)
    assert layers.trace == apart.trace
    assert [p.bytes for p in layers.manifest.points] == [p.bytes for p in apart.manifest.points]
    assert any(point.prefix for point in layers.manifest.points)
    assert not any(point.prefix for point in apart.manifest.points)


def test_every_case_leaves_something_to_choose() -> None:
    for seed in range(200):
        case = draw_case(seed, layers=True)
        assert any(point.kind is PointKind.SPLIT for point in case.manifest.points)
        assert case.rtt_s < case.sla_s
        assert case.trace.mean_bps > 0


@pytest.mark.parametrize("seed", range(20))
def test_a_link_in_turns_carries_the_same_in_whole_packets(seed: int) -> None:
    even = draw_link(Random(seed), 1e6)
    turns = in_turns(even, Random(seed))
    assert turns.name == f"{even.name}, in turns"
    assert {round(rate_bps * TURN_S) % PACKET_BITS for rate_bps in turns.rates_bps} == {0}
    for now_s in (5.0, 15.0):
        waiting = even.served_bits(now_s) - turns.served_bits(now_s)
        assert -1 <= waiting < PACKET_BITS + even.served_bits(now_s) - even.served_bits(now_s - 0.5)


def test_a_case_in_turns_differs_by_its_link_alone() -> None:
    even, turns = draw_case(3, layers=False), draw_case(3, layers=False, turns=True)
    assert turns.trace != even.trace
    assert (turns.manifest, turns.sla_s, turns.fps) == (even.manifest, even.sla_s, even.fps)


def test_links_are_of_every_kind_and_last_as_long() -> None:
    links = [draw_link(Random(seed), 1e6) for seed in range(100)]
    assert len({link.name for link in links}) == 8
    assert {round(link.duration_s, 6) for link in links} == {LINK_S}
    assert min(min(link.rates_bps) for link in links) == 0  # outages


def test_ours_is_compared_case_by_case() -> None:
    result = bench_drawn(FEW, say=lambda _: None)
    groups = {group["split_points"]: group["cases"] for group in result.details["groups"]}
    assert set(groups) == {LAYERS, APART}
    rows = {(row[0], row[2]): dict(zip(COLUMNS, row, strict=True)) for row in result.rows}
    for kind, cases in groups.items():
        credits = [case["credited"] for case in cases]
        leads = [each[OURS] - each[LOCAL] for each in credits]
        row = rows[kind, LOCAL]
        assert row["ours ahead"] == f"{sum(leads) / 2:+.4f}"
        assert row["least"] == f"{min(leads):+.4f}"
        assert row["seed"] == str(leads.index(min(leads)))
        best = [max(v for k, v in each.items() if k not in _HANDICAPPED) for each in credits]
        assert rows[kind, BEST_RIVAL]["credited"] == f"{sum(best) / 2:.4f}"
    assert (LAYERS, WHOLE) in rows
    assert (APART, WHOLE) not in rows


_HANDICAPPED = {ORACLE, OURS, WHOLE, PICTURES, PERFECT}


def test_the_command_prints_a_table_of_what_was_asked(tmp_path: Path) -> None:
    few = ("--cases", "1", "--first-seed", "4", "--duration-s", "0.5")
    result = run(tmp_path, *few, "--split-points", "whole", "--mode", "bare", "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert {(row["split points"], row["mode"]) for row in rows} == {("whole", "bare")}
    assert {row["seed"] for row in rows} == {"", "4"}


def test_a_case_can_be_looked_at(tmp_path: Path) -> None:
    result = run(tmp_path, "--show", "3")
    assert result.exit_code == 0, result.output
    case = draw_case(3, layers=True)
    assert result.output.startswith("seed 3: SLA")
    assert all(f"  {point.id}: " in result.output for point in case.manifest.points)
    assert case.trace.name in result.output


@pytest.mark.parametrize("option", ["--split-points", "--mode"])
def test_what_is_not_known_is_refused(tmp_path: Path, option: str) -> None:
    result = run(tmp_path, option, "layers,sideways")
    assert result.exit_code == 2
    assert option in result.output
    assert "expected" in result.output


def test_choices_are_taken_once_each() -> None:
    assert parse_choices("b, a,b", ("a", "b"), option="--x") == ("b", "a")
    with pytest.raises(UsageError, match="--x: found ''"):
        parse_choices("", ("a",), option="--x")
