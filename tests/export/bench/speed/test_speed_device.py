"""Claims about the device process of the speed benchmarks: its point, and its memory."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from headgate.export.bench.speed.speed_device import chosen_point, read_memory
from headgate.profiles.errors import UsageError
from headgate.profiles.family import Family
from headgate.profiles.manifest import PointKind
from runtime.tiny_family import write_tiny_family


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return write_tiny_family(tmp_path_factory.mktemp("bench") / "family")


def test_a_point_is_chosen_of_the_middle_member_unless_one_is_named(family: Family) -> None:
    assert chosen_point(family, None).member == family.manifest.members[1].id
    assert chosen_point(family, "jpeg-q50").id == "jpeg-q50"


def test_a_family_without_split_points_is_measured_by_what_it_offloads(family: Family) -> None:
    def only(*kinds: PointKind) -> Family:
        points = tuple(point for point in family.manifest.points if point.kind in kinds)
        return replace(family, manifest=replace(family.manifest, points=points))

    offload = chosen_point(only(PointKind.OFFLOAD, PointKind.LOCAL), None)
    assert offload.id == "jpeg-q50"
    with pytest.raises(UsageError, match="no point of this family uses an edge"):
        chosen_point(only(PointKind.LOCAL), None)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_is_read_in_bytes_and_its_peak_is_no_less() -> None:
    memory = read_memory(os.getpid())
    assert memory is not None
    resident_bytes, peak_bytes = memory
    assert 10e6 < resident_bytes <= peak_bytes
    assert read_memory(1 << 30) is None
