import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from headgate.profiles.errors import DataError, ProfileError, UsageError, WireError
from headgate.profiles.family import Family
from headgate.profiles.manifest import OperatingPoint, PointKind
from headgate.profiles.profile import Profile
from headgate.runtime.codec.prediction import Reference
from headgate.runtime.device import device as device_module
from headgate.runtime.device.device import Device, DeviceSettings
from headgate.runtime.device.playback import Playback
from headgate.runtime.device.sources import open_source
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.quickness import Quickness
from headgate.runtime.records import FrameRecord, Source
from headgate.runtime.session.events import Computed, Send
from runtime.running import RunningDevice, edge_thread
from runtime.tiny_family import write_tiny_family

NO_EDGE = "tcp://127.0.0.1:9"  # nobody listens on the discard port


def check_complete(records: list[FrameRecord]) -> None:
    """Check that every frame has exactly one record."""
    counts = Counter(record.frame_id for record in records)
    assert set(counts) == set(range(len(counts)))
    assert set(counts.values()) == {1}


def from_edge(records: list[FrameRecord]) -> list[FrameRecord]:
    return [record for record in records if record.source is Source.EDGE]


def test_without_an_edge_every_picture_is_answered_locally_and_rightly(
    tiny_family: Family, tiny_set: Path
) -> None:
    with RunningDevice(tiny_family, f"npz:{tiny_set}", edge=NO_EDGE) as running:
        records = running.join()
    assert running.failure is None
    assert len(records) == 40
    check_complete(records)
    assert {record.source for record in records} == {Source.LOCAL}
    assert all(record.correct for record in records)
    summary = running.device.summary()
    assert (summary.frames, summary.within_sla, summary.num_bytes) == (40, 40, 0)


@pytest.mark.parametrize("point_id", ["b3r1-l16", "b1r1-l5", "jpeg-q50"])
def test_the_edge_answers_what_a_point_sends(
    tiny_family: Family, tiny_set: Path, point_id: str
) -> None:
    with (
        edge_thread(tiny_family) as server,
        RunningDevice(
            tiny_family,
            f"npz:{tiny_set}",
            edge=server.endpoint,
            profile=Profile("fixed", points=(point_id,)),
            playback=Playback(fps=500, loop=True),
        ) as running,
    ):
        running.wait_for(lambda records: len(from_edge(records)) >= 20)
        running.device.stop()
        records = running.join()
    check_complete(records)
    answered = from_edge(records)
    assert {record.point for record in answered} == {point_id}
    assert all(record.correct for record in answered)
    assert all(record.num_bytes > 0 for record in answered)


def test_the_edge_answers_from_the_layers_of_a_progressive_point(
    tmp_path: Path, tiny_set: Path
) -> None:
    family = write_tiny_family(tmp_path / "family", progressive=True)
    prefixes = [point for point in family.manifest.points if point.prefix is not None]
    top = max(prefixes, key=lambda point: point.prefix or 0)
    with (
        edge_thread(family) as server,
        RunningDevice(
            family,
            f"npz:{tiny_set}",
            edge=server.endpoint,
            profile=Profile("layers", points=tuple(point.id for point in prefixes)),
            playback=Playback(fps=50, loop=True),
        ) as running,
    ):
        running.wait_for(lambda records: len(from_edge(records)) >= 20)
        running.device.stop()
        records = running.join()
    check_complete(records)
    answered = from_edge(records)
    assert {record.point for record in answered} == {top.id}
    assert {record.answered_point for record in answered} <= {point.id for point in prefixes}
    whole = [record for record in answered if record.answered_point == top.id]
    assert whole
    assert all(record.correct for record in whole)


def test_heads_and_tails_of_quick_and_slow_graphs_give_the_same_records(
    tiny_family: Family, tiny_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Quickness, "is_quick", lambda self, kind: False)
    with (
        edge_thread(tiny_family) as server,
        RunningDevice(
            tiny_family,
            f"npz:{tiny_set}",
            edge=server.endpoint,
            profile=Profile("fixed", points=("b3r1-l16",)),
            playback=Playback(fps=500, loop=True),
        ) as running,
    ):
        running.wait_for(lambda records: len(from_edge(records)) >= 20)
        running.device.stop()
        records = running.join()
    check_complete(records)
    assert all(record.correct for record in from_edge(records))


def test_a_set_the_device_could_answer_alone_still_lets_the_edge_be_heard(
    tiny_family: Family, tiny_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers without a pause when the edge comes up, and would otherwise never look."""
    monkeypatch.setattr(device_module, "EDGE_HEAD_START_S", 0.0)
    with edge_thread(tiny_family) as server:
        endpoint = server.endpoint  # free again when that edge has stopped
    with RunningDevice(
        tiny_family,
        f"npz:{tiny_set}",
        edge=endpoint,
        playback=Playback(loop=True),
        until=lambda records: records[-1].source is Source.EDGE,
    ) as running:
        running.wait_for(lambda records: records[-1].source is Source.LOCAL)
        with edge_thread(tiny_family, bind=endpoint):
            records = running.join()
    assert records[0].source is Source.LOCAL
    assert from_edge(records)
    check_complete(records)


def test_pictures_that_can_wait_are_captured_one_at_a_time_if_so_asked(
    tiny_family: Family, tiny_set: Path
) -> None:
    with (
        edge_thread(tiny_family) as server,
        RunningDevice(
            tiny_family,
            f"npz:{tiny_set}",
            edge=server.endpoint,
            playback=Playback(max_open=1),
        ) as running,
    ):
        records = running.join()
    check_complete(records)
    ends_s = [r.captured_s + (r.stages.total_s or 0.0) for r in records]
    assert [r.frame_id for r in records] == sorted(r.frame_id for r in records)
    for end_s, following in zip(ends_s, records[1:], strict=False):
        assert following.captured_s >= end_s - 1e-6


def test_a_family_the_edge_does_not_serve_is_refused_in_words_while_answers_go_on(
    tiny_family: Family, tiny_set: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", logger="headgate.runtime.device.device")
    other = write_tiny_family(tmp_path / "family")
    changed = replace(other, manifest=replace(other.manifest, provenance={"made": "again"}))
    with (
        edge_thread(changed) as server,
        RunningDevice(
            tiny_family,
            f"npz:{tiny_set}",
            edge=server.endpoint,
            playback=Playback(fps=200, loop=True),
            until=lambda records: running.device._session.edge.refusal is not None,
        ) as running,
    ):
        records = running.join()
    passed_over = ("stopped", "superseded")  # by a newer picture, on a busy machine
    assert {r.source for r in records if r.reason not in passed_over} == {Source.LOCAL}
    assert isinstance(running.failure, WireError)
    text = str(running.failure)
    assert tiny_family.manifest.digest[:12] in text
    assert changed.manifest.digest[:12] in text
    told = [each for each in caplog.messages if "staying on local" in each]
    assert len(told) == 1  # at once, not at the end of the run
    assert changed.manifest.digest[:12] in told[0]


def test_what_follows_a_message_that_the_socket_did_not_take_is_not_sent_of_that_frame(
    tiny_family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be room again by then, and the edge would take the rest for disorder."""
    device = Device(
        tiny_family.manifest,
        DeviceEngine(tiny_family),
        open_source("fake://16x16"),
        DeviceSettings(edge=NO_EDGE, profile=Profile("test"), sla_s=0.1),
        deliver=lambda record, answer: None,
    )
    tried: list[bytes] = []

    def take_all_but_the_first(messages: tuple[list[bytes], ...]) -> bool:
        tried.append(messages[0][0])
        return len(tried) > 1

    monkeypatch.setattr(device._edge, "send", take_all_but_the_first)
    messages = ((7, b"layer 0 of 7"), (7, b"layer 1 of 7"), (8, b"layer 0 of 8"), (None, b"probe"))
    device._obey([Send(frame_id, ([message],)) for frame_id, message in messages])
    device.close()
    assert tried == [b"layer 0 of 7", b"layer 0 of 8", b"probe"]


def test_frames_keep_flowing_while_an_edge_floods_its_device(
    tiny_family: Family, tiny_set: Path, tmp_path: Path
) -> None:
    endpoint = f"ipc://{tmp_path}/edge"
    script = str(Path(__file__).parents[1] / "flooding_edge.py")
    flood = subprocess.Popen([sys.executable, script, endpoint, tiny_family.manifest.digest])
    try:
        with RunningDevice(
            tiny_family,
            f"npz:{tiny_set}",
            edge=endpoint,
            profile=Profile("alone", kinds=(PointKind.LOCAL,)),
            playback=Playback(fps=50, loop=True),
            until=lambda records: len(records) == 200,
        ) as running:
            records = running.join()
    finally:
        flood.kill()
        flood.wait()
    check_complete(records)
    assert sum(record.source is Source.LOCAL for record in records[50:]) > 100


@pytest.mark.parametrize("fps", [None, 200.0])
def test_a_picture_that_cannot_be_read_ends_its_own_frame_and_no_other(
    tiny_family: Family, tmp_path: Path, fps: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.png", "c.png"):
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "b.png").write_bytes(b"broken")
    with RunningDevice(
        tiny_family, f"dir:{tmp_path}", edge=NO_EDGE, playback=Playback(fps=fps)
    ) as running:
        records = running.join()
    assert running.failure is None
    check_complete(records)
    by_frame = sorted(records, key=lambda record: record.frame_id)
    assert [record.reason for record in by_frame] == ["local", "picture unreadable", "local"]
    assert (by_frame[1].source, by_frame[1].profile) == (Source.NONE, "test")
    assert f"frame 1: picture {tmp_path}/b.png: 6 bytes, no picture" in caplog.text


def test_a_source_that_breaks_ends_the_run_with_its_error_after_the_records(
    tiny_family: Family, tmp_path: Path
) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"broken")
    with RunningDevice(
        tiny_family, f"dir:{tmp_path}", edge=NO_EDGE, playback=Playback(loop=True)
    ) as running:
        records = running.join()
    assert [record.reason for record in records] == 2 * ["picture unreadable"]
    assert isinstance(running.failure, DataError)
    assert "b.png" in str(running.failure)


def test_a_profile_that_names_what_the_family_lacks_is_refused_before_anything_runs(
    tiny_family: Family,
) -> None:
    with pytest.raises(ProfileError, match="'b7\\*' matches no point of the family"):
        RunningDevice(
            tiny_family, "fake://16x16", edge=NO_EDGE, profile=Profile("odd", points=("b7*",))
        )


def test_stopping_ends_every_open_frame_with_a_record(tiny_family: Family) -> None:
    with RunningDevice(
        tiny_family,
        "fake://16x16",
        edge=NO_EDGE,
        playback=Playback(fps=1000),
        until=lambda records: len(records) >= 50,
    ) as running:
        records = running.join()
    check_complete(records)
    assert running.failure is None


class Buggy:
    """A backend with a bug: not the picture's fault, so it must not be hidden."""

    def compute(
        self,
        point: OperatingPoint,
        picture_HWC: npt.NDArray[np.uint8],
        reference: Reference | None = None,
    ) -> Computed:
        raise ZeroDivisionError("bug")


def test_a_bug_in_the_backend_ends_the_run_with_a_record_of_every_frame(
    tiny_family: Family,
) -> None:
    records: list[FrameRecord] = []
    device = Device(
        tiny_family.manifest,
        Buggy(),
        open_source("fake://16x16"),
        DeviceSettings(edge=NO_EDGE, profile=Profile("any"), sla_s=1.0),
        deliver=lambda record, answer: records.append(record),
    )
    with pytest.raises(ZeroDivisionError):
        device.run()
    check_complete(records)
    assert [record.reason for record in records] == ["stopped"]
    assert device.summary().frames == 1


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (DataError("picture: too strange; replace it"), "picture: too strange; replace it"),
        (MemoryError(), "out of memory"),
    ],
)
def test_a_picture_the_device_cannot_compute_fails_alone(
    tiny_family: Family, tiny_set: Path, failure: Exception, reason: str
) -> None:
    engine = DeviceEngine(tiny_family)
    calls = []

    class FailingOnce:
        def compute(
            self,
            point: OperatingPoint,
            picture_HWC: npt.NDArray[np.uint8],
            reference: Reference | None = None,
        ) -> Computed:
            calls.append(point.id)
            if len(calls) == 3:
                raise failure
            return engine.compute(point, picture_HWC)

    records: list[FrameRecord] = []
    device = Device(
        tiny_family.manifest,
        FailingOnce(),
        open_source(f"npz:{tiny_set}"),
        DeviceSettings(edge=NO_EDGE, profile=Profile("local", kinds=(PointKind.LOCAL,)), sla_s=1.0),
        deliver=lambda record, answer: records.append(record),
    )
    device.run()
    assert len(records) == 40
    failed = [record for record in records if record.source is Source.NONE]
    assert [record.reason for record in failed] == [f"failed: {reason}"]


def test_pictures_that_wait_get_the_whole_network_however_slow_it_is(
    tiny_family: Family, tiny_set: Path
) -> None:
    engine = DeviceEngine(tiny_family)

    class Slow:
        def compute(
            self,
            point: OperatingPoint,
            picture_HWC: npt.NDArray[np.uint8],
            reference: Reference | None = None,
        ) -> Computed:
            return replace(engine.compute(point, picture_HWC), head_s=0.4)

    records: list[FrameRecord] = []
    device = Device(
        tiny_family.manifest,
        Slow(),
        open_source(f"npz:{tiny_set}"),
        DeviceSettings(edge=NO_EDGE, profile=Profile("local", kinds=(PointKind.LOCAL,)), sla_s=1.0),
        deliver=lambda record, answer: records.append(record),
    )
    device.run()
    assert {record.point for record in records} == {"local-full"}


def test_an_edge_nobody_can_connect_to_is_a_usage_error(
    tiny_family: Family, tiny_set: Path
) -> None:
    with RunningDevice(tiny_family, f"npz:{tiny_set}", edge="tcp://*:7700") as running:
        assert running.join() == []
    assert isinstance(running.failure, UsageError)
    assert "cannot connect there" in str(running.failure)
