"""Prediction through engines, sockets and threads: a camera that stands still."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from headgate.profiles.family import Family
from headgate.profiles.manifest import OperatingPoint, PointKind
from headgate.profiles.profile import Profile
from headgate.runtime.codec.prediction import Reference, reference_distance
from headgate.runtime.device.playback import Playback
from headgate.runtime.edge.edge_events import BatchItem
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.edge_engine import EdgeEngine
from headgate.runtime.quickness import Quickness
from headgate.runtime.records import FrameRecord, Source
from runtime.predicted import predicted
from runtime.running import RunningDevice, edge_thread
from runtime.tiny_family import tinted_pictures

POINTS = ("b3r1-l16-p", "b1r1-l5-p")


@pytest.fixture(scope="module")
def family(tiny_family: Family) -> Family:
    """The tiny family with a predicted point beside each split point."""
    points: list[OperatingPoint] = []
    for point in tiny_family.manifest.points:
        points.append(point)
        if point.kind is PointKind.SPLIT:
            points.append(predicted(point, point.bytes))
    return replace(tiny_family, manifest=replace(tiny_family.manifest, points=tuple(points)))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of a camera before which a dark spot moves."""
    folder = tmp_path_factory.mktemp("scene")
    for index, frame in enumerate(frames(12)):
        Image.fromarray(frame).save(folder / f"{index:02}.png")
    return folder


def frames(num: int) -> list[npt.NDArray[np.uint8]]:
    (background,), _ = tinted_pictures(1, seed=3)
    moved = []
    for index in range(num):
        frame = background.copy()
        frame[2 + index % 8 : 5 + index % 8, 4:8] = 10
        moved.append(frame)
    return moved


def answered(records: list[FrameRecord]) -> list[FrameRecord]:
    return [record for record in records if record.source is Source.EDGE]


@pytest.mark.parametrize("point_id", POINTS)
def test_the_edge_makes_of_a_predicted_frame_what_it_makes_of_a_whole_one(
    family: Family, point_id: str
) -> None:
    device, tail = DeviceEngine(family), EdgeEngine(family, max_batch=4)
    point = family.manifest.point(point_id)
    assert point.member is not None
    assert point.twin is not None
    twin = family.manifest.point(point.twin)
    before, after = frames(2)
    reference = device.compute(twin, before).integers
    assert reference is not None
    computed = device.compute(point, after, Reference(2, reference))
    whole = device.compute(twin, after)
    assert computed.payload is not None
    assert whole.payload is not None
    assert reference_distance(computed.payload) == 2
    assert len(computed.payload) < len(whole.payload)
    # Both in one batch, and one whose reference is missing, which fails alone.
    outcomes = tail.infer(
        point.member,
        [
            BatchItem(b"a", 7, point, computed.payload, reference),
            BatchItem(b"b", 7, twin, whole.payload),
            BatchItem(b"c", 7, point, computed.payload),
        ],
    )
    assert outcomes[0].tensors == outcomes[1].tensors
    decoded, integers = outcomes[0].decoded, computed.integers
    assert decoded is not None
    assert integers is not None
    assert np.array_equal(decoded, integers)
    assert outcomes[2].tensors is None
    assert "the frame 2 before this one is not known" in str(outcomes[2].error)


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("point_id", POINTS)
def test_frames_of_a_still_camera_shrink_once_the_edge_has_answered(
    family: Family,
    scene: Path,
    point_id: str,
    threads: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if threads:
        monkeypatch.setattr(Quickness, "is_quick", lambda self, kind: False)
    with (
        edge_thread(family) as server,
        RunningDevice(
            family,
            f"dir:{scene}",
            edge=server.endpoint,
            profile=Profile("fixed", points=(point_id,)),
            playback=Playback(fps=100, loop=True),
        ) as running,
    ):
        running.wait_for(lambda records: len(answered(records)) >= 15)
        running.device.stop()
        records = answered(running.join())
    assert running.failure is None
    assert len({record.label for record in records}) == 1
    sizes = [record.num_bytes for record in records]
    assert min(sizes[5:]) < sizes[0] / 2
    assert max(sizes[5:]) < sizes[0]


def test_a_device_goes_on_predicting_after_its_edge_restarted(family: Family, scene: Path) -> None:
    with edge_thread(family) as server:
        endpoint = server.endpoint
        running = RunningDevice(
            family,
            f"dir:{scene}",
            edge=endpoint,
            profile=Profile("fixed", points=("b3r1-l16-p",)),
            playback=Playback(fps=100, loop=True),
        )
        running.wait_for(lambda records: len(answered(records)) >= 5)
    num_before = len(answered(running.records))
    with edge_thread(family, bind=endpoint), running:
        running.wait_for(lambda records: len(answered(records)) >= num_before + 10)
        running.device.stop()
        records = answered(running.join())
    assert running.failure is None
    assert len({record.label for record in records}) == 1
    whole = records[0].num_bytes
    assert records[num_before].num_bytes > whole / 2
    assert records[-1].num_bytes < whole / 2
