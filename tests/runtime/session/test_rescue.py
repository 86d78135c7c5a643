"""Pictures whose edge is late or lost are answered by a local point, if there is time."""

from dataclasses import replace

import pytest

from headgate.profiles.manifest import MetricSpec, PointKind
from headgate.profiles.profile import Profile
from headgate.runtime.records import Source
from headgate.runtime.session.events import ComputeFailed
from headgate.runtime.wire.messages import Frame
from runtime.device_bench import HELPED, Bench, result
from runtime.ladders import LOCAL_ACCURACY, LOCAL_S, ladder_manifest


def offloaded(bench: Bench) -> int:
    """Capture a frame and send it as a picture."""
    frame_id = bench.capture()
    assert bench.compute().kind is PointKind.OFFLOAD
    assert isinstance(bench.sent[-1], Frame)
    return frame_id


def helped(*, sla_s: float | None = 0.3) -> Bench:
    """Return a bench whose controller offloads, with room to answer locally after all."""
    bench = Bench(HELPED, sla_s=sla_s).welcomed()
    while bench.compute_next().kind is PointKind.LOCAL:  # until the link seems fast enough
        bench.now_s += 0.03
        bench.answer_probes()
    return bench


def test_picture_whose_edge_is_lost_is_answered_by_a_local_point_in_time() -> None:
    bench = helped()
    frame_id = offloaded(bench)
    bench.now_s += 0.01
    bench.take(bench.session.disconnected(now_s=bench.now_s))
    bench.records.clear()
    assert (bench.computes[-1].frame_id, bench.computes[-1].point.id) == (frame_id, "local-full")
    bench.now_s += 0.02
    bench.compute()
    (record,) = bench.records
    assert (record.frame_id, record.source, record.reason) == (
        frame_id,
        Source.LOCAL,
        "edge disconnected",
    )
    assert record.deadline_met
    assert record.kind == "offload"
    assert record.num_bytes == 500
    assert record.quality == LOCAL_ACCURACY


def test_picture_without_time_for_a_local_point_ends_unanswered_when_its_edge_is_lost() -> None:
    bench = helped()
    offloaded(bench)
    bench.now_s += 0.3 - LOCAL_S
    bench.take(bench.session.disconnected(now_s=bench.now_s))
    assert [r.source for r in bench.records[-1:]] == [Source.NONE]
    assert bench.session.num_open == 0


def test_picture_that_is_not_answered_by_the_last_call_is_insured_and_answered_in_time() -> None:
    bench = helped()
    frame_id = offloaded(bench)
    captured_s = bench.now_s
    bench.records.clear()
    while not bench.computes:
        bench.timer()
    assert bench.now_s < captured_s + 0.3 - LOCAL_S
    bench.now_s += LOCAL_S
    bench.compute()
    assert bench.records == []  # the edge has until the deadline
    while not bench.records:
        bench.timer()
    (record,) = bench.records
    assert (record.source, record.reason) == (Source.LOCAL, "edge too late")
    assert record.deadline_met
    bench.receive(result(frame_id))
    assert len(bench.records) == 1
    assert bench.session.num_open == 0


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_a_split_frame_whose_exit_was_not_measured_is_rescued_by_a_local_point(
    direction: str,
) -> None:
    """Of errors, which are better when lower, an exit without a number once passed for perfect."""
    manifest = ladder_manifest()
    points = manifest.points
    if direction == "lower":
        points = tuple(replace(p, metrics={"top1": 1 - p.metrics["top1"]}) for p in points)
    manifest = replace(
        manifest,
        members=tuple(replace(member, exit_metrics={}) for member in manifest.members),
        points=points,
        metrics=(MetricSpec("top1", direction),),
    )
    profile = Profile(name="test", kinds=(PointKind.SPLIT, PointKind.LOCAL))
    bench = Bench(profile, sla_s=0.3, manifest=manifest).welcomed()
    while bench.compute_next().kind is PointKind.LOCAL:
        bench.now_s += 0.03
        bench.answer_probes()
    frame_id = bench.capture()
    assert bench.compute().kind is PointKind.SPLIT
    bench.records.clear()
    while not bench.computes:
        assert not bench.records
        bench.timer()
    assert (bench.computes[-1].frame_id, bench.computes[-1].point.id) == (frame_id, "local-full")


def test_a_last_call_as_late_as_timers_may_be_still_leaves_time_for_the_local_point() -> None:
    """Timers of a loop that waits in whole milliseconds are often one and a half late."""
    bench = helped()
    frame_id = offloaded(bench)
    bench.records.clear()
    while not bench.computes:
        assert not bench.records
        timer_s = bench.session.next_timer_s()
        assert timer_s is not None
        bench.now_s = timer_s + 0.0015
        bench.take(bench.session.handle_timer(now_s=bench.now_s))
    assert (bench.computes[-1].frame_id, bench.computes[-1].point.id) == (frame_id, "local-full")


def test_edge_that_answers_during_the_rescue_wins() -> None:
    bench = helped()
    frame_id = offloaded(bench)
    bench.records.clear()
    while not bench.computes:
        bench.timer()
    bench.receive(result(frame_id, now_s=bench.now_s))
    (record,) = bench.records
    assert (record.source, record.deadline_met) == (Source.EDGE, True)
    assert bench.session.num_open == 0
    bench.compute()
    assert len(bench.records) == 1


def test_rescue_that_fails_leaves_the_frame_to_the_edge_and_ends_it_once() -> None:
    bench = helped()
    frame_id = offloaded(bench)
    bench.records.clear()
    while not bench.computes:
        bench.timer()
    effect = bench.computes.pop()
    bench.take(bench.session.computed(frame_id, ComputeFailed("odd"), now_s=bench.now_s))
    assert bench.session.num_open == 1
    while not bench.records:
        bench.timer()
    assert effect.frame_id == frame_id
    assert [record.source for record in bench.records] == [Source.NONE]
    assert bench.session.num_open == 0


def test_rescue_in_progress_ends_once_when_the_device_is_stopped() -> None:
    bench = helped()
    offloaded(bench)
    bench.records.clear()
    bench.take(bench.session.disconnected(now_s=bench.now_s))
    bench.take(bench.session.finish(now_s=bench.now_s, at_once=True))
    assert [record.reason for record in bench.records] == ["stopped"]
    assert bench.session.drained
    bench.compute()
    assert len(bench.records) == 1


def test_picture_without_an_sla_is_answered_locally_however_late_its_edge_is_lost() -> None:
    bench = helped(sla_s=None)
    offloaded(bench)
    bench.records.clear()
    bench.now_s += 5.0
    bench.take(bench.session.disconnected(now_s=bench.now_s))
    bench.compute()
    assert [record.source for record in bench.records] == [Source.LOCAL]
