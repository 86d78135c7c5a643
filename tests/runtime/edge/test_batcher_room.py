"""Which frames there is room for, and what is dropped, where an edge is asked for too much."""

import sys
from math import inf

import pytest

from runtime.batches import KEY, OTHER, batcher, frame, ids


def test_there_is_room_for_what_can_be_done_behind_the_frames_ahead() -> None:
    ahead = (frame(1, peer=b"b", deadline_s=0.020), frame(2, peer=b"c", deadline_s=0.022))
    made = batcher(*ahead, frame_s=0.01)
    assert made.has_room(frame(3, deadline_s=0.031), now_s=0.0)
    assert not made.has_room(frame(3, deadline_s=0.025), now_s=0.0)
    assert made.has_room(frame(3, deadline_s=0.0205), now_s=0.0)  # before 2, which is then lost
    assert made.has_room(frame(3, deadline_s=inf), now_s=0.0)


def test_the_running_batch_takes_room() -> None:
    made = batcher(frame(1), frame_s=0.01)
    made.start(now_s=0.0)
    assert not made.has_room(frame(2, deadline_s=0.019), now_s=0.001)
    assert made.has_room(frame(2, deadline_s=0.021), now_s=0.001)


def test_a_frame_that_is_late_by_itself_is_not_refused_for_want_of_room() -> None:
    made = batcher(frame(1, peer=b"b", deadline_s=0.005), frame_s=0.01)
    assert made.has_room(frame(2, deadline_s=0.009), now_s=0.0)
    assert not made.has_room(frame(2, deadline_s=0.011), now_s=0.0)


def test_each_frame_that_is_let_in_leaves_less_room() -> None:
    made = batcher(*(frame(i, peer=b"%d" % i) for i in range(5)), frame_s=0.01)
    hurried = frame(9, peer=b"z", deadline_s=0.045)
    assert made.has_room(hurried, now_s=0.0)  # the others can wait
    for i in range(5, 9):
        made.add(frame(i, peer=b"%d" % i, deadline_s=0.03))
        assert made.has_room(hurried, now_s=0.0) == (i < 8)


def test_room_is_judged_by_what_frames_take_now() -> None:
    hurried = [frame(i, peer=b"%d" % i, deadline_s=0.03) for i in (1, 2)]
    made = batcher(*hurried, frame(3, peer=b"3"), frame_s=0.01)
    one_more = frame(9, peer=b"z", deadline_s=0.038)
    assert made.has_room(one_more, now_s=0.0)
    made.times.measured(KEY, size=1, elapsed_s=0.03)  # a mean of 14 ms: 42 ms for three
    assert not made.has_room(one_more, now_s=0.0)


def test_a_more_hurried_frame_is_given_up_before_those_that_came_before_it() -> None:
    made = batcher(frame(1, deadline_s=1.0), frame_s=0.01)
    assert made.next_timer_s() == pytest.approx(0.99)
    made.add(frame(2, deadline_s=0.5))
    assert made.next_timer_s() == pytest.approx(0.49)
    made.add(frame(3, deadline_s=2.0))
    assert made.next_timer_s() == pytest.approx(0.49)
    assert ids(made.take_too_late(now_s=0.5)) == [2]


def test_frames_that_have_left_are_not_kept_to_ask_for_room() -> None:
    ahead = frame(1, peer=b"b", deadline_s=0.020)
    made = batcher(ahead, frame_s=0.015)
    held = sys.getrefcount(ahead)
    assert not made.has_room(frame(2, deadline_s=0.0205), now_s=0.0)  # it is put in a queue
    assert sys.getrefcount(ahead) > held
    made.take_all()
    assert sys.getrefcount(ahead) == held - 1  # nor does it wait


def test_frames_that_are_let_in_and_come_later_take_room() -> None:
    made = batcher(frame_s=0.03)
    one_more = frame(3, peer=b"b", deadline_s=0.07)
    coming = [frame(1, deadline_s=0.05)]
    assert made.has_room(one_more, now_s=0.0, coming=coming)
    coming.append(frame(2, peer=b"c", deadline_s=0.06))
    assert not made.has_room(one_more, now_s=0.0, coming=coming)
    hurried = frame(4, peer=b"b", deadline_s=0.035)
    assert made.has_room(hurried, now_s=0.0, coming=coming)


def test_the_worker_is_clear_when_what_runs_and_all_that_waits_is_done() -> None:
    made = batcher(frame(1), frame_s=0.01, max_batch=2)
    assert made.clear_s(now_s=5.0) == pytest.approx(5.01)
    made.start(now_s=5.0)
    assert made.clear_s(now_s=5.004) == pytest.approx(5.01)
    made.add(frame(2))
    made.add(frame(3, key=OTHER))  # never measured
    assert made.backlog_s() == pytest.approx(0.01)
    assert made.clear_s(now_s=5.004) == pytest.approx(5.02)
    assert made.clear_s(now_s=5.5) == pytest.approx(5.51)


def test_a_frame_is_dropped_once_and_only_if_it_waits() -> None:
    one, twin = frame(1), frame(1)
    made = batcher(one, frame_s=0.01)
    assert made.drop(twin) == []
    assert made.drop(one) == [one]
    assert made.drop(one) == []
    assert (len(made), made.backlog_s()) == (0, 0.0)


def test_an_idle_edge_has_room_whatever_it_measured() -> None:
    made = batcher(frame_s=5.0)
    assert made.has_room(frame(1, deadline_s=0.1), now_s=0.0)


def test_a_frame_waits_behind_what_its_peer_has_waiting_already() -> None:
    flood = [frame(i, peer=b"flood", deadline_s=0.5) for i in range(4)]
    made = batcher(*flood, frame(9, peer=b"quiet", deadline_s=0.505), max_batch=2, frame_s=0.01)
    assert ids(made.start(now_s=0.0)) == [0, 9]


def test_times_are_not_doubted_while_a_graph_runs() -> None:
    made = batcher(frame(1), frame_s=0.01)
    made.start(now_s=0.0)
    made.finished(now_s=0.01)
    for frame_id in range(50):
        made.add(frame(frame_id, arrived_s=0.01, deadline_s=0.015))
        made.take_too_late(now_s=0.01)
    assert made.times.predict_s(KEY, size=1) == pytest.approx(0.01)
