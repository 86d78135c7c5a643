"""Frames that queue and frames that ripen, counted together."""

import pytest

from headgate.runtime.edge.batch_times import GraphKey
from headgate.runtime.edge.layers import LayeredFrame
from headgate.runtime.edge.queued import Queued
from headgate.runtime.edge.waiting_room import WaitingRoom

KEY = GraphKey("family", "tail")


def whole(frame_id: int, *, peer: bytes = b"a", deadline_s: float = 1.0) -> Queued:
    return Queued(KEY, peer, frame_id, 0, b"payload", 0.0, deadline_s)


def growing(frame_id: int, *, peer: bytes = b"a", deadline_s: float = 1.0) -> Queued:
    layered = LayeredFrame(frame_id, 0, 3, arrived_s=0.0, layers=[b"x" * 10], num_bytes=10)
    return Queued(KEY, peer, frame_id, 0, b"", 0.0, deadline_s, layers=layered)


def grow(frame: Queued, num_bytes: int, *, complete: bool = False) -> None:
    assert frame.layers is not None
    frame.layers.layers.append(b"y" * num_bytes)
    frame.layers.num_bytes += num_bytes
    frame.layers.complete = complete


def room_of(*frames: Queued, max_waiting: int = 100) -> WaitingRoom:
    room = WaitingRoom(max_batch=4, max_waiting=max_waiting)
    for frame in frames:
        room.add(frame)
    return room


def started(room: WaitingRoom, *, now_s: float) -> list[Queued]:
    batch = room.start(now_s=now_s)
    assert batch is not None
    return batch.frames


def test_frames_that_ripen_count_but_do_not_queue() -> None:
    room = room_of(whole(1), growing(2))
    assert (len(room), room.num_queued, room.num_bytes) == (2, 1, 17)


def test_a_frame_queues_when_it_is_complete_and_its_bytes_are_counted_once() -> None:
    room = room_of(frame := growing(2))
    grow(frame, 5)
    assert room.grew(frame, frame, num_bytes=5, now_s=0.1)
    assert (room.num_queued, room.num_bytes) == (0, 15)
    grow(frame, 5, complete=True)
    assert room.grew(frame, frame, num_bytes=5, now_s=0.2)
    assert (room.num_queued, room.num_bytes) == (1, 20)
    assert started(room, now_s=0.2) == [frame]
    assert (len(room), room.num_bytes) == (0, 0)


def test_a_ripe_frame_queues_and_goes_on_growing_until_its_batch_begins() -> None:
    room = room_of(frame := growing(2, deadline_s=0.0))
    assert room.num_queued == 0
    assert room.take_too_late(now_s=-0.001) == []
    assert (len(room), room.num_queued) == (1, 1)
    grow(frame, 7)
    assert not room.grew(frame, frame, num_bytes=7, now_s=0.0)  # keeps its place
    assert room.num_bytes == 17
    assert started(room, now_s=-0.001) == [frame]
    assert frame.layers is not None
    assert frame.layers.closed
    assert room.num_bytes == 0


def test_frames_can_leave_from_either_place_and_take_no_more_layers() -> None:
    room = room_of(whole(1), growing(2), growing(3, peer=b"b"), growing(4, peer=b"c"))
    room.forget(b"a")
    assert (len(room), room.num_bytes) == (2, 20)
    room.drop(growing(3, peer=b"b"))  # another that looks the same
    assert len(room) == 2
    left = room.take_all()
    assert {frame.peer for frame in left} == {b"b", b"c"}
    assert all(frame.layers is not None and frame.layers.closed for frame in left)
    assert (len(room), room.num_bytes, room.next_timer_s()) == (0, 0, None)


def test_the_batch_that_runs_comes_back_when_it_is_done_and_a_slow_one_widens_the_margin() -> None:
    room = room_of(first := whole(1), whole(2))
    room.times.measured(KEY, size=2, elapsed_s=0.010)
    batch = room.start(now_s=0.0)
    assert batch is not None
    assert batch.frames[0] is first
    assert batch.planned_s == room.times.likely_s(KEY, size=2)
    assert room.running
    assert room.start(now_s=0.001) is None  # one at a time
    before_s = room.margin.margin_s
    assert room.finished(now_s=batch.planned_s + 0.004) is batch
    assert not room.running
    assert room.margin.margin_s == pytest.approx(before_s + 0.004)


def test_a_batch_of_a_graph_that_never_ran_has_no_plan_to_be_late_against() -> None:
    room = room_of(whole(1))
    batch = room.start(now_s=0.0)
    assert batch is not None
    assert batch.planned_s is None
    before_s = room.margin.margin_s
    room.finished(now_s=3.0)
    assert room.margin.margin_s == before_s


def test_frames_that_hope_for_layers_do_not_fill_the_room_while_the_worker_idles() -> None:
    """Those go first whose last layer came first, as many as make a batch."""
    frames = [growing(1, peer=b"%d" % index) for index in range(7)]
    for index, frame in enumerate(frames):
        assert frame.layers is not None
        frame.layers.arrived_s = 0.1 * (index % 5)
    room = room_of(*frames[:6], max_waiting=7)
    assert room.take_too_late(now_s=0.5) == []
    assert room.num_queued == 0
    room.add(frames[6])
    room.take_too_late(now_s=0.5)
    assert started(room, now_s=0.5) == [frames[0], frames[5], frames[1], frames[6]]
    for peer in (b"7", b"8", b"9", b"10"):
        room.add(growing(1, peer=peer))
    room.take_too_late(now_s=0.5)
    assert room.num_queued == 0  # it works: nothing would be gained
    room.finished(now_s=0.51)
    room.take_too_late(now_s=0.51)
    assert room.num_queued == 4


def test_a_frame_in_a_hurry_is_not_behind_those_that_will_begin_after_its_deadline() -> None:
    """Their worker's time is not needed by then, however long they have been here."""
    room = room_of(whole(1))
    started(room, now_s=0.0)
    room.finished(now_s=0.1)
    for index in range(20):
        room.add(growing(1, peer=b"%d" % index, deadline_s=9.0))
    assert room.has_room(whole(2, deadline_s=5.3), now_s=5.0)
    assert not room.has_room(whole(2, deadline_s=9.05), now_s=8.6)
