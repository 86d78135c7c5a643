"""The edge benchmark: what it counts, and one short run of all its processes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from headgate.export.bench.bench_command import bench
from headgate.export.bench.bench_watch import Sample, Watch, growth_bytes_per_s, read_sample
from headgate.export.bench.edge.bench_edge import (
    bench_edge,
    bound_of,
    largest_batch,
    merge,
    split_cores,
)
from headgate.export.bench.edge.bench_edge_bound import Rate, on_cores
from headgate.export.bench.edge.bench_edge_command import positive_numbers
from headgate.export.bench.edge.bench_edge_plan import LoadReport, count_batches
from headgate.export.bench.edge.bench_edge_table import (
    COLUMNS,
    EdgeOptions,
    Row,
    jain,
    quantile,
    served_lines,
)
from headgate.profiles.errors import UsageError
from headgate.profiles.family import Family
from runtime.tiny_family import write_tiny_family


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return write_tiny_family(tmp_path_factory.mktemp("bench-edge") / "family")


def report(**changed: object) -> LoadReport:
    values: dict[str, object] = {
        "began_s": 1.0,
        "ended_s": 2.0,
        "offered": 4,
        "held_back": 1,
        "in_time": (2, 1),
        "late": 0,
        "unanswered": 0,
        "rejected": {},
        "latencies_s": (0.01, 0.02, 0.03),
        "batches": 2,
        "batched": 3,
        "cpu_s": 0.1,
    }
    return LoadReport(**{**values, **changed})  # type: ignore[arg-type]


def test_devices_of_all_kinds_of_load_are_answered_and_every_frame_is_counted(
    family: Family, tmp_path: Path
) -> None:
    lines: list[str] = []
    options = EdgeOptions(
        family=family,
        folder=tmp_path,
        devices=(3,),
        fps=(20.0,),
        sla_s=10.0,
        warm_up_s=0.3,
        measure_s=0.5,
        soak_s=0.3,
        generators=2,
    )
    result = bench_edge(options, say=lines.append)
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in result.rows]
    assert [row["load"] for row in rows] == ["closed", "20/s each"]
    assert lines[0] == " | ".join(COLUMNS)
    assert len(lines) == 4  # a line for each row, and for the soak
    assert float(rows[0]["in time/s"]) > 0
    assert rows[1]["offered/s"] == rows[1]["in time/s"]  # 60 a second are easy
    assert all(row["rejected"] == row["late"] == "0" for row in rows)
    assert len(result.goals) == 2


def test_pictures_can_be_what_the_devices_send(family: Family, tmp_path: Path) -> None:
    options = EdgeOptions(
        family=family,
        folder=tmp_path,
        devices=(1,),
        fps=(20.0,),
        closed=False,
        sla_s=10.0,
        warm_up_s=0.1,
        measure_s=0.3,
        soak_s=0.0,
        point="jpeg-q50",
    )
    (row,) = bench_edge(options, say=lambda _: None).rows
    assert row[2] == row[3] != "0"


def test_a_point_that_sends_nothing_is_refused(family: Family, tmp_path: Path) -> None:
    options = EdgeOptions(family=family, folder=tmp_path, point="local-full")
    with pytest.raises(UsageError, match="local-full"):
        bench_edge(options, say=lambda _: None)


def test_a_bound_is_that_of_the_best_batch_that_the_row_can_fill(family: Family) -> None:
    before = [Rate(1, 100.0, 0.010), Rate(2, 150.0, 0.007), Rate(4, 170.0, 0.006)]
    after = [Rate(1, 120.0, 0.008), Rate(2, 130.0, 0.009), Rate(4, 190.0, 0.005)]
    assert bound_of(before, after, largest=2) == Rate(2, 140.0, 0.008)
    assert bound_of(before, after, largest=16).batch == 4
    options = EdgeOptions(family=family, folder=Path(), num_open=2)
    assert [largest_batch(n, None, options) for n in (1, 5, 100)] == [1, 5, 16]
    assert largest_batch(1, 10.0, options) == 16


def test_how_many_devices_were_served_is_said_for_each_pace() -> None:
    def row(devices: int, fps: float | None, in_time: int) -> Row:
        found = report(offered=100, in_time=(in_time,))
        return Row(devices, fps, found, Rate(1, 500.0, 0.002), 0.1, 0.0)

    rows = [row(2, 10, 100), row(8, 10, 99), row(50, 10, 60), row(2, 30, 98), row(2, None, 77)]
    assert served_lines(rows) == (
        "at 10 frames/s each 8 devices had 99 % of their frames in time, 50 devices had 60 % in "
        "time",
        "at 30 frames/s each 2 devices had 98 % in time",
        "asked for as many as it can do, it had 77 frames/s in time",
    )
    assert served_lines(rows[:2]) == (
        "at 10 frames/s each 8 devices had 99 % of their frames in time, the most that were tried",
    )


def test_reports_of_several_generators_add_up() -> None:
    both = merge([report(rejected={"busy": 2}), report(rejected={"busy": 1, "expired": 1})])
    assert both.in_time == (2, 1, 2, 1)
    assert both.rejected == {"busy": 3, "expired": 1}
    assert (both.offered, both.batched, len(both.latencies_s)) == (8, 6, 6)


def test_frames_that_began_together_are_one_batch() -> None:
    assert count_batches([]) == 0
    assert count_batches([5000, 1000, 1003, 4990, 9000]) == 3


def test_fairness_is_1_for_equal_shares_and_1_of_n_where_one_takes_all() -> None:
    assert jain([3, 3, 3]) == pytest.approx(1.0)
    assert jain([9, 0, 0]) == pytest.approx(1 / 3)
    assert jain([0, 0]) == 1.0


def test_a_quantile_of_nothing_is_not_a_number() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([], 0.5) != quantile([], 0.5)


@pytest.mark.parametrize("text", ["", "1,,2", "0", "-1", "nan", "inf", "a"])
def test_lists_of_numbers_are_checked(text: str) -> None:
    with pytest.raises(UsageError, match="--fps"):
        positive_numbers(text, option="--fps")
    with pytest.raises(UsageError, match="whole"):
        positive_numbers("1.5", option="--devices", whole=True)
    with pytest.raises(UsageError, match="above 0, 10000 at most"):  # it ran out of memory
        positive_numbers("1000000000", option="--devices", whole=True)
    assert positive_numbers("1,2.5", option="--fps") == (1.0, 2.5)


def test_edge_and_generator_have_no_core_in_common_and_threads_keep_to_theirs() -> None:
    ours, edges = split_cores()
    if ours is None or edges is None:
        pytest.skip("one core, or a system that cannot bind to cores")
    assert not ours & edges
    with on_cores(edges):
        assert split_cores() == (None, None) or len(edges) > 1


# --- watching a process


def test_growth_is_the_slope_of_resident_memory() -> None:
    samples = [Sample(float(i), 0.0, 1000 + 50 * i) for i in range(5)]
    assert growth_bytes_per_s(samples) == pytest.approx(50.0)
    assert growth_bytes_per_s(samples[:1]) == 0.0


def test_processor_time_between_two_moments_is_read_off_the_samples() -> None:
    watch = Watch(0)
    assert watch.cpu_s(0.0, 1.0) == 0.0
    watch.samples = [Sample(0.0, 1.0, 0), Sample(2.0, 3.0, 0)]
    assert watch.cpu_s(0.5, 1.5) == pytest.approx(1.0)
    assert watch.cpu_s(-5.0, 5.0) == pytest.approx(2.0)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_process_is_read_from_the_system() -> None:
    import os

    sample = read_sample(os.getpid())
    assert sample is not None
    assert sample.resident_bytes > 10e6
    assert 0 < sample.cpu_s < time.monotonic()
    assert read_sample(1 << 30) is None


@pytest.mark.parametrize(
    "wrong",
    [
        ["--sla-ms", "nan"],
        ["--sla-ms", "0"],
        ["--seconds", "inf"],
        ["--seconds", "0"],
        ["--warm-up", "-1"],
        ["--soak-s", "nan"],
        ["--unanswered", "0"],
        ["--max-batch", "257"],
        ["--generators", "0"],
        ["--providers", "tpu"],
        ["--point", "nowhere"],
    ],
)
def test_what_cannot_be_measured_is_refused_before_an_edge_is_started(
    wrong: list[str], family: Family, tmp_path: Path
) -> None:
    command = ["edge", str(family.path), "--out", str(tmp_path / "out"), *wrong]
    refused = CliRunner().invoke(bench, command)
    text = f"{refused.output} {refused.exception}"
    assert wrong[0] in text
    assert isinstance(refused.exception, UsageError) or refused.exit_code == 2
    assert not (tmp_path / "out").exists()
