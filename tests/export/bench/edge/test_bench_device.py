"""What a frame costs the device: the parts add up, and families of all kinds can be measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.export.bench.edge.bench_device import bench_device_cost
from headgate.export.bench.speed.bench_bare import BareHead
from headgate.export.bench.speed.speed_device import SpeedOptions
from headgate.profiles.family import Family
from runtime.tiny_family import write_tiny_family


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return write_tiny_family(tmp_path_factory.mktemp("bench-device") / "family")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_the_cost_is_what_the_process_takes_beyond_the_bare_head(
    family: Family, tmp_path: Path
) -> None:
    result = bench_device_cost(SpeedOptions(family, tmp_path, frames=60), fps=50.0)
    process, head, cost = (float(value) for _, value in result.rows)
    assert process - head == pytest.approx(cost, abs=0.002)
    assert head > 0
    assert len(result.goals) == 2
    assert "of 110 frames the first 37 let it settle, the last 73 were measured" in result.notes[0]
    assert result.notes[-1].endswith("over 73 frames")
    assert "resident" in result.notes[-1]


def test_the_bare_head_of_a_point_without_one_does_nothing(family: Family) -> None:
    BareHead(family, family.manifest.point("jpeg-q50")).run()
    BareHead(family, family.manifest.points[0]).run()
