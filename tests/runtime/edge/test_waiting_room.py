"""Frames that queue and frames that ripen, counted together."""

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


def room_of(*frames: Queued) -> WaitingRoom:
    room = WaitingRoom(max_batch=4)
    for frame in frames:
        room.add(frame)
    return room


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
    assert room.start(now_s=0.2) == [frame]
    assert (len(room), room.num_bytes) == (0, 0)


def test_a_ripe_frame_queues_and_goes_on_growing_until_its_batch_begins() -> None:
    room = room_of(frame := growing(2, deadline_s=0.0))
    assert room.num_queued == 0
    assert room.take_too_late(now_s=-0.001) == []
    assert (len(room), room.num_queued) == (1, 1)
    grow(frame, 7)
    assert not room.grew(frame, frame, num_bytes=7, now_s=0.0)  # keeps its place
    assert room.num_bytes == 17
    assert room.start(now_s=-0.001) == [frame]
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
