"""Progressive frames on the device: layers out, ACKs in, one record whatever happens."""

from dataclasses import replace

import pytest

from headgate.profiles.errors import WireError
from headgate.profiles.ladder import Ladder, LadderPoint, ladder_manifest
from headgate.profiles.manifest import PointKind
from headgate.profiles.profile import Preference, Profile
from headgate.runtime.choice import layer_worth
from headgate.runtime.choice.guard import LEAST_S
from headgate.runtime.records import Source
from headgate.runtime.session.back_off import FIRST_PAUSE_S
from headgate.runtime.session.device_session import DeviceSession
from headgate.runtime.session.events import Compute, Computed, ComputeFailed
from headgate.runtime.wire.messages import (
    Reject,
    RejectReason,
    Welcome,
    stamp_us,
)
from headgate.runtime.wire.wire import encode
from runtime.ladders import EXIT_ACCURACY, LOCAL_ACCURACY, RUNGS
from runtime.progressive_bench import (
    EXIT_ANSWER,
    MANIFEST,
    RTT_S,
    SIZES,
    Bench,
    layers_sent,
)


def test_layers_leave_as_acks_make_room_and_the_result_says_what_was_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layer_worth, "LATE_PRICE", 0.0)  # a young session is too unsure to pay it
    bench = Bench()
    frame_id = bench.send()
    before = len(bench.frames)
    assert 0 < layers_sent(bench, frame_id) < len(SIZES)
    bench.now_s += RTT_S + 0.001
    bench.ack(frame_id, 1)
    bench.ack(frame_id, 2)
    assert len(bench.frames) > before
    assert all(f.point_index == MANIFEST.index_of("s-p5") for f in bench.frames)
    bench.now_s += 0.02
    bench.answer(frame_id, 3)
    (record,) = bench.records
    assert (record.source, record.point, record.answered_point) == (Source.EDGE, "s-p5", "s-p3")
    assert record.quality == RUNGS[2][1]
    assert record.num_bytes == sum(
        len(f.payload) + sum(map(len, f.more_layers)) for f in bench.frames
    )


def test_nothing_more_of_a_frame_leaves_once_it_has_its_record() -> None:
    bench = Bench()
    frame_id = bench.send()
    bench.answer(frame_id, 1)
    num = len(bench.frames)
    for layers in (1, 1, 1):
        bench.now_s += 0.005
        bench.ack(frame_id, layers)
    assert len(bench.frames) == num
    assert len(bench.records) == 1


def test_frame_whose_layers_never_arrive_is_answered_by_its_exit_just_before_the_deadline() -> None:
    bench = Bench()
    captured_s = bench.now_s
    bench.send()
    while not bench.records:
        bench.timer()
    (record,) = bench.records
    assert (record.source, record.answered_point) == (Source.LOCAL, None)
    assert record.quality == EXIT_ACCURACY
    assert record.deadline_met
    assert 0.09 < bench.now_s - captured_s < 0.1


def test_where_no_prefix_is_better_than_the_exit_a_frame_is_answered_at_once() -> None:
    (member,) = MANIFEST.members
    sure = replace(member, exit_metrics={"top1": RUNGS[-1][1]})
    bench = Bench(manifest=replace(MANIFEST, members=(sure,)))
    bench.send()
    (record,) = bench.records
    assert (record.source, record.reason, record.num_bytes) == (Source.LOCAL, "not sent", 0)
    assert (record.stages.total_s, record.quality) == (0.0, RUNGS[-1][1])
    assert bench.frames == []


def test_a_frame_of_which_nothing_could_leave_was_not_too_late_at_the_edge() -> None:
    bench = Bench(mbps=0.02)
    bench.send()
    while not bench.records:
        bench.timer()
    (record,) = bench.records
    assert (record.source, record.reason, record.num_bytes) == (Source.LOCAL, "not sent", 0)
    assert bench.frames == []


def test_local_point_better_than_the_exit_is_computed_while_the_answer_is_in_doubt() -> None:
    bench = Bench(Profile(name="all"))
    bench.send()
    while not bench.computes:
        bench.timer()
    job = bench.computes.pop()
    assert job.point.id == "local"
    own = Computed(None, EXIT_ANSWER, 0.01, 0.0)
    bench.take(bench.session.computed(job.frame_id, own, now_s=bench.now_s))
    assert not bench.records  # the edge may still answer
    while not bench.records:
        bench.timer()
    (record,) = bench.records
    assert (record.quality, record.answered_point) == (LOCAL_ACCURACY, "local")


def test_no_local_point_is_computed_once_a_layer_has_arrived() -> None:
    bench = Bench(Profile(name="all"))
    frame_id = bench.send()
    bench.now_s += 0.03
    bench.ack(frame_id, 1)
    while not bench.records:
        bench.timer()
    assert not bench.computes


def test_newer_frame_begins_when_the_link_has_room_and_the_older_one_sends_no_more() -> None:
    bench = Bench()
    older = bench.send()
    bench.now_s += 1 / 30
    newer = bench.send()
    for layers in range(1, 20):
        bench.now_s += 0.002
        bench.ack(older, min(layers, 4))
    order = [f.frame_id for f in bench.frames]
    assert order == sorted(order)
    assert newer in order


def test_budget_leaves_time_for_the_way_back_and_the_guard() -> None:
    bench = Bench()
    bench.send()
    first = bench.frames[0]
    assert first.budget_us == pytest.approx(1e6 * (0.1 - RTT_S - 0.002), abs=2000)
    assert first.sent_us == stamp_us(bench.now_s)


def test_budget_leaves_out_the_guard_where_the_device_has_no_answer_of_its_own() -> None:
    insured, bare = Bench(guard_s=0.02), Bench(guard_s=0.02, exit_answer=None)
    for bench in (insured, bare):
        bench.send()
    more_us = bare.frames[0].budget_us - insured.frames[0].budget_us
    assert more_us == pytest.approx(1e6 * (0.02 - LEAST_S), abs=1)


def test_fragments_of_a_layer_say_the_same_of_all_but_their_place() -> None:
    bench = Bench()
    frame_id = bench.send()
    for layers in (1, 2, 3, 4, 4, 4, 4, 4):
        bench.now_s += 0.003
        bench.ack(frame_id, layers)
    pieces = [f for f in bench.frames if f.fragments > 1]
    assert len(pieces) > 2
    for layer in {f.layer for f in pieces}:
        mine = [f for f in pieces if f.layer == layer]
        assert {replace(f, payload=b"", fragment=0) for f in mine} == {
            replace(mine[0], payload=b"", fragment=0)
        }
        if len(mine) == mine[0].fragments:
            assert sum(len(f.payload) for f in mine) == SIZES[layer]


def test_rejected_frame_sends_no_more_layers_and_frames_keep_flowing() -> None:
    bench = Bench()
    frame_id = bench.send()
    num = len(bench.frames)
    bench.now_s += 0.02
    bench.receive(Reject(frame_id, RejectReason.EXPIRED, "too late"))
    (record,) = bench.records
    assert record.reason == "edge rejected: expired"
    bench.now_s += 0.02
    bench.ack(frame_id, 0)
    assert len(bench.frames) == num
    second = bench.send()
    bench.now_s += 0.03
    bench.answer(second, 1)
    assert bench.records[-1].source is Source.EDGE


def test_layers_that_wait_for_an_edge_that_asked_for_a_pause_leave_when_it_is_over() -> None:
    """Their point was chosen before the edge was full; nothing else may happen in the pause."""
    bench = Bench(sla_s=0.5)
    first_id = bench.send()
    bench.now_s += 0.01
    later_id = bench.capture()
    bench.receive(Reject(first_id, RejectReason.BUSY, "full"))
    for _ in bench.frames[1:]:
        bench.ack(first_id, 1)
    busy_s = bench.now_s
    bench.compute()
    assert layers_sent(bench, later_id) == 0
    bench.timer()
    assert bench.now_s == pytest.approx(busy_s + FIRST_PAUSE_S)
    assert layers_sent(bench, later_id) > 0


def test_disconnection_ends_frames_of_which_layers_are_out_once() -> None:
    bench = Bench()
    bench.send()
    bench.take(bench.session.disconnected(now_s=bench.now_s))
    (record,) = bench.records
    assert record.reason == "edge disconnected"
    assert bench.session.num_open == 0


def test_result_for_a_point_that_is_no_prefix_is_the_edges_fault() -> None:
    bench = Bench(Profile(name="small", kinds=(PointKind.SPLIT,), max_bytes=5000))
    frame_id = bench.send()
    assert bench.frames[0].point_index == MANIFEST.index_of("s-p2")
    bench.answer(frame_id, 4)
    assert [record.reason for record in bench.records] == ["edge rejected: failed"]
    assert "is no prefix of s-p2" in bench.complaints[0]


def test_edge_that_knows_no_layers_leaves_the_frame_to_the_exit() -> None:
    bench = Bench(version=2)
    bench.send()
    assert not bench.frames
    (record,) = bench.records
    assert (record.source, record.reason) == (Source.LOCAL, "edge too old")


def test_edge_that_knows_no_layers_is_sent_what_it_knows_until_one_comes_that_does() -> None:
    picture = LadderPoint(
        id="jpeg", kind=PointKind.OFFLOAD, accuracy=0.65, bytes=900, picture_format="jpeg"
    )
    series = [
        LadderPoint(
            id=f"s-p{prefix}",
            kind=PointKind.SPLIT,
            accuracy=0.6 + 0.1 * prefix,
            bytes=1000 * prefix,
            exit_accuracy=0.3,
            member="s",
            prefix=prefix,
        )
        for prefix in (1, 2)
    ]
    manifest = ladder_manifest(Ladder((*series, picture)))
    session = DeviceSession(
        manifest=manifest, profile=Profile("any"), points=manifest.points, sla_s=0.1
    )
    chosen = []
    for number, version in enumerate((3, 2, 3)):
        now_s = 100.0 + number
        session.connected(now_s=now_s)
        welcome = encode(Welcome(version, manifest.digest, 1 << 20, 8), version=version)
        session.received(welcome, now_s=now_s + 0.01)
        effects = session.frame_captured(number, captured_s=now_s + 0.02, now_s=now_s + 0.02)
        chosen += [effect.point.kind for effect in effects if isinstance(effect, Compute)]
        session.computed(number, ComputeFailed("made up"), now_s=now_s + 0.03)
    assert chosen == [PointKind.SPLIT, PointKind.OFFLOAD, PointKind.SPLIT]


def test_without_a_deadline_all_layers_go_at_once() -> None:
    bench = Bench(sla_s=None)
    frame_id = bench.send()
    (frame,) = bench.frames
    assert layers_sent(bench, frame_id) == MANIFEST.points[frame.point_index].prefix
    assert frame.last


def test_profile_that_prefers_bytes_sends_no_more_layers_than_it_chose() -> None:
    bench = Bench(Profile(name="frugal", kinds=(PointKind.SPLIT,), prefer=Preference.BYTES))
    frame_id = bench.send()
    for layers in (1, 2, 3, 4, 5):
        bench.now_s += 0.01
        bench.ack(frame_id, layers)
    planned = MANIFEST.points[bench.frames[0].point_index].prefix
    assert planned is not None
    assert planned < len(SIZES)
    assert layers_sent(bench, frame_id) <= planned


def test_nobody_has_an_answer_to_a_frame_of_which_nothing_was_sent() -> None:
    bench = Bench(mbps=0.02)
    frame_id = bench.send()
    assert bench.frames == []
    with pytest.raises(WireError, match="made from 1 layers, of which 0 were sent"):
        bench.answer(frame_id, 1)
    bench.receive(Reject(frame_id, RejectReason.EXPIRED, "made up"))
    assert bench.records == []
    while not bench.records:
        bench.timer()
    (record,) = bench.records
    assert (record.source, record.reason, record.num_bytes) == (Source.LOCAL, "not sent", 0)


def test_an_answer_from_more_layers_than_were_sent_is_the_edges_fault() -> None:
    bench = Bench()
    frame_id = bench.send()
    num_sent = layers_sent(bench, frame_id)
    assert 0 < num_sent < len(SIZES)
    bench.answer(frame_id, num_sent + 1)
    assert [record.reason for record in bench.records] == ["edge rejected: failed"]
    assert f"of which {num_sent} were sent" in bench.complaints[0]


def test_a_frame_whose_later_layers_the_socket_refuses_counts_those_that_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layer_worth, "LATE_PRICE", 0.0)  # a young session is too unsure to pay it
    bench = Bench()
    frame_id = bench.send()
    before = bench.frames.copy()
    bench.now_s += RTT_S + 0.001
    bench.ack(frame_id, 1)
    bench.ack(frame_id, 2)
    refused = bench.frames[len(before) :]
    assert refused
    for _ in refused:
        bench.take(bench.session.send_failed(frame_id, now_s=bench.now_s))
    assert bench.records == []  # the edge may answer what it has
    bench.take(bench.session.handle_timer(now_s=bench.now_s + 0.01))
    assert len(bench.frames) == len(before) + len(refused)  # and nothing more is sent of it
    bench.take(bench.session.disconnected(now_s=bench.now_s))
    (record,) = bench.records
    assert record.reason == "edge disconnected"
    assert record.num_bytes == sum(len(f.payload) + sum(map(len, f.more_layers)) for f in before)


@pytest.mark.parametrize("num_refused", [1, 2, 3])
def test_an_answer_from_layers_that_the_socket_refused_is_the_edges_fault(num_refused: int) -> None:
    bench = Bench()
    frame_id = bench.send()
    num_before = layers_sent(bench, frame_id)
    del bench.frames[-num_refused:]
    for _ in range(num_refused):
        bench.take(bench.session.send_failed(frame_id, now_s=bench.now_s))
    num_left = layers_sent(bench, frame_id)
    assert 0 < num_left < num_before
    bench.now_s += RTT_S
    bench.answer(frame_id, num_before)
    assert f"of which {num_left} were sent" in bench.complaints[0]


def test_a_frame_of_which_the_socket_takes_nothing_was_not_sent() -> None:
    bench = Bench()
    frame_id = bench.send()
    for _ in bench.frames:
        bench.take(bench.session.send_failed(frame_id, now_s=bench.now_s))
    (record,) = bench.records
    assert (record.source, record.reason, record.num_bytes) == (Source.LOCAL, "not sent", 0)
