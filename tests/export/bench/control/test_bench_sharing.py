"""Claims about `headgate bench sharing`: its references, its shares, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from headgate.export.bench.control.bench_sharing import (
    SharedLink,
    SharingOptions,
    bench_sharing,
    fairness,
    parse_links,
)
from headgate.profiles.errors import UsageError
from headgate.profiles.trace import Trace, named_trace
from headgate.runtime.cli import main

LADDER = Path(__file__).parents[4] / "examples" / "ladder.toml"
POINT = """
[[points]]
id = "{id}"
kind = "split"
accuracy = {accuracy}
bytes = {bytes}
exit_accuracy = 0.55
device_ms = 3.0
edge_ms = 2.0
"""
# 2 and 100 kB a frame: at 30 frames/s half a Mbit/s and 24.
SMALL, LARGE = {"id": "small", "accuracy": 0.68, "bytes": 2000}, {"id": "large", "bytes": 100_000}


def write_ladder(folder: Path) -> Path:
    path = folder / "two.toml"
    points = [POINT.format(**SMALL), POINT.format(**LARGE, accuracy=0.79)]
    path.write_text('schema = 1\nname = "two"\n' + "".join(points))
    return path


def options(target: Path, links: str, **changes: Any) -> SharingOptions:
    made = SharingOptions(target, parse_links(links), duration_s=3.0, settle_s=1.0, workers=1)
    return replace(made, **changes)


def details(wanted: SharingOptions) -> list[dict[str, dict[str, Any]]]:
    """Return by link the runs by policy, of the devices the first one's figures."""
    found = bench_sharing(wanted, say=lambda _: None).details["links"]
    return [{run["policy"]: run["devices"][0] for run in link["runs"]} for link in found]


def run(folder: Path, *arguments: str) -> Result:
    command = ["bench", "sharing", str(LADDER), "--out", str(folder / "out"), *arguments]
    return CliRunner().invoke(main, command)


def test_each_link_has_a_row_for_ours_the_best_fixed_point_and_a_device_alone(
    tmp_path: Path,
) -> None:
    (tmp_path / "walk.csv").write_text("t_s,mbps\n0,9\n1,12\n2,15\n")
    links = f"3x12,2x{tmp_path / 'walk.csv'}"
    short = ["--duration-s", "2", "--settle-s", "1", "--workers", "1"]
    done = run(tmp_path, "--links", links, *short, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [(row["link"], row["policy"]) for row in found["rows"]][::2] == [
        ("3 x 12 Mbit/s", "headgate"),
        ("3 x 12 Mbit/s", "alone on 1/3"),
        ("2 x walk", "fixed, s20"),
    ]
    for row in found["rows"]:
        assert 0.6 < float(row["worst"]) <= float(row["credited"]) < 0.8
        assert 0.99 < float(row["fairness"]) <= 1
    for link, num_devices in zip(found["details"]["links"], (3, 2), strict=True):
        policies = {run["policy"]: run["devices"] for run in link["runs"]}
        assert len(policies) == 2 + 12  # ours, alone, and every point of the ladder
        assert {len(devices) for devices in policies.values()} == {1, num_devices}
        means = {
            policy: sum(device["credited"] for device in devices) / len(devices)
            for policy, devices in policies.items()
            if policy.startswith("fixed")
        }
        (row,) = (
            r for r in found["rows"] if (r["link"], r["policy"][:5]) == (link["link"], "fixed")
        )
        assert max(means, key=lambda policy: means[policy]) == row["policy"]
    markdown = (tmp_path / "out" / "sharing.md").read_text()
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 6
    assert max(map(len, table)) <= 80


def test_one_device_on_a_link_is_alone_on_it() -> None:
    (runs,) = details(options(LADDER, "1x4"))
    assert runs["headgate"] == runs["alone on 1/1"]


def test_a_device_alone_has_its_share_of_the_rate(tmp_path: Path) -> None:
    (shared, whole) = details(options(write_ladder(tmp_path), "2x40,1x20"))
    assert shared["alone on 1/2"] == whole["headgate"]
    assert shared["alone on 1/2"] != shared["headgate"]


def test_what_fits_is_answered_and_what_does_not_is_late(tmp_path: Path) -> None:
    (runs,) = details(options(write_ladder(tmp_path), "2x4"))
    small, large = runs["fixed, small"], runs["fixed, large"]
    assert (small["credited"], small["edge"], small["late"]) == (0.68, 1.0, 0.0)
    assert large["edge"] == 0
    assert large["late"] > 0.05  # what did not find the uplink full
    assert large["credited"] <= 0.55
    assert small["mbps"] > 1


def test_frames_before_the_settling_time_do_not_count(tmp_path: Path) -> None:
    late = Trace("late", (0.0, 1.0), (0.0, 20e6), 9.0)
    wanted = options(write_ladder(tmp_path), "2x4")
    wanted = replace(wanted, links=(SharedLink(2, late),))
    settled, whole = details(replace(wanted, settle_s=2.0)), details(replace(wanted, settle_s=0.0))
    assert settled[0]["fixed, small"]["credited"] == 0.68
    assert whole[0]["fixed, small"]["credited"] < 0.66


def test_a_link_that_carries_nothing_leaves_devices_to_themselves(tmp_path: Path) -> None:
    (runs,) = details(options(LADDER, "2xsteady:0", duration_s=2.0))
    assert runs["headgate"]["credited"] == runs["fixed, local"]["credited"] == 0.6
    assert runs["headgate"]["edge"] == 0
    assert runs["headgate"]["mbps"] is None


def test_no_rate_is_said_of_devices_that_sent_nothing_but_probes() -> None:
    (runs,) = details(options(LADDER, "1x0.2"))
    assert runs["fixed, local"]["bytes"] == 0
    assert runs["fixed, local"]["mbps"] is None
    assert runs["fixed, s20"]["mbps"] == pytest.approx(0.2, abs=0.05)


def test_fairness_is_jains_index() -> None:
    assert fairness([0.7, 0.7, 0.7]) == pytest.approx(1.0)
    assert fairness([1.0, 0.0, 0.0, 0.0]) == 0.25
    assert fairness([3.0, 1.0]) == pytest.approx(0.8)
    assert fairness([0.0, 0.0]) == 1.0


def test_links_are_devices_by_a_rate_or_a_trace() -> None:
    first, second = parse_links("4x12, 2 x demo")
    assert (first.num_devices, first.trace.mean_bps, first.name) == (4, 12e6, "4 x 12 Mbit/s")
    assert second == SharedLink(2, named_trace("demo"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--links: found '', expected devices x Mbit/s"),
        ("12", "--links: found '12', expected 1 to 1000 devices"),
        ("0x12", "--links: found '0x12'"),
        ("4x", "--links: found '4x'"),
        ("-4x12", "--links: found '-4x12'"),
        ("1001x12", "--links: found '1001x12'"),
        ("4x12,4x0", "--links: found '4x0', expected a rate above 0 and of at most 1e+06 Mbit/s"),
        ("4x1e300", "--links: found '4x1e300', expected a rate above 0 and of at most"),
        ("4xnan", "--links: found '4xnan'"),
        ("4xnowhere.csv", "trace 'nowhere.csv': is neither built in"),
    ],
)
def test_links_that_are_none_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_links(text)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--settle-s", "10"], "--settle-s: no frame is captured from 10 s until --duration-s, 10"),
        (["--settle-s", "9.1", "--fps", "1"], "--settle-s: no frame is captured from 9.1 s"),
        (["--settle-s", "-1"], "'--settle-s': -1.0 is not in the range"),
        (["--sla-ms", "0"], "'--sla-ms': 0.0 is not in the range"),
        (["--rtt-ms", "nan"], "'--rtt-ms': nan is no finite number"),
        (["--duration-s", "1e300"], "'--duration-s': 1e+300 is not in the range"),
        (["--links", "4xnan"], "--links: found '4xnan'"),
        (["--workers", "-1"], "'--workers': -1 is not in the range"),
    ],
)
def test_bad_options_are_refused_and_nothing_is_written(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    done = run(tmp_path, *arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


def test_profile_and_slow_devices_hold_for_all_that_is_compared(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text('name = "small"\nkinds = ["split"]\nmax_bytes = 5000')
    short = ["--duration-s", "2", "--settle-s", "1", "--workers", "1", "--links", "2x40"]
    done = run(tmp_path, *short, "--profile", str(tmp_path / "small.toml"), "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    (link,) = found["details"]["links"]
    assert {run["policy"] for run in link["runs"]} == {
        "headgate", "alone on 1/2", "fixed, s2", "fixed, s5"
    }  # fmt: skip
    assert {row["credited"] for row in found["rows"]} == {"0.7050"}
    assert "profile small: all keep to its points" in found["notes"]
    slow = run(tmp_path, *short, "--device-factor", "40", "--json")
    notes = json.loads(slow.stdout)["notes"]
    assert "devices 40 times slower than the machine measured" in notes
    assert {row["edge, %"] for row in json.loads(slow.stdout)["rows"]} == {"0.0"}  # heads: 120 ms


def test_of_fixed_points_that_earn_the_same_the_one_that_sends_less_is_shown(
    tmp_path: Path,
) -> None:
    points = [
        POINT.format(id=name, accuracy=0.7, bytes=size) for name, size in (("a", 900), ("b", 300))
    ]
    (tmp_path / "two.toml").write_text('schema = 1\nname = "two"\n' + "".join(points))
    wanted = options(tmp_path / "two.toml", "1x9", duration_s=0.5, settle_s=0.0)
    shown = [row[1] for row in bench_sharing(wanted, say=lambda _: None).rows]
    assert shown[1] == "fixed, b"
