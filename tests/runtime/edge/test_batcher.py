"""Which frames share a batch, and when it starts: in virtual time."""

from dataclasses import replace
from math import inf

import pytest

from headgate.runtime.edge.batch_times import GraphKey
from headgate.runtime.edge.batcher import SPARE_S, Batcher
from headgate.runtime.edge.layers import LayeredFrame
from headgate.runtime.edge.queued import Queued
from runtime.batches import KEY, OTHER, batcher, frame, ids, known_times


def test_a_lone_frame_runs_at_once() -> None:
    made = batcher(frame(1))
    assert ids(made.start(now_s=0.0)) == [1]
    assert made.running
    assert len(made) == 0


def test_one_batch_runs_at_a_time() -> None:
    made = batcher(frame(1))
    made.start(now_s=0.0)
    made.add(frame(2))
    assert made.start(now_s=0.001) is None
    made.finished(now_s=0.005)
    assert ids(made.start(now_s=0.005)) == [2]


def test_frames_that_came_meanwhile_share_a_batch_in_the_order_of_their_deadlines() -> None:
    made = batcher(
        frame(1, deadline_s=0.3), frame(2, deadline_s=0.1), frame(3, deadline_s=0.2), frame_s=0.01
    )
    assert ids(made.start(now_s=0.0)) == [2, 3, 1]


def test_a_batch_holds_one_graph_only_and_the_earliest_frame_picks_it() -> None:
    made = batcher(frame(1, deadline_s=0.2), frame(2, key=OTHER, deadline_s=0.1), frame(3))
    assert ids(made.start(now_s=0.0)) == [2]
    made.finished(now_s=0.01)
    assert ids(made.start(now_s=0.01)) == [1, 3]


def test_a_batch_is_no_larger_than_allowed() -> None:
    made = batcher(*(frame(i) for i in range(5)), max_batch=2)
    assert ids(made.start(now_s=0.0)) == [0, 1]


def test_a_batch_is_no_larger_than_its_earliest_frame_can_afford() -> None:
    made = batcher(
        frame(1, deadline_s=0.025), frame(2), frame(3), frame_s=0.01
    )  # three would take 0.03 s
    assert ids(made.start(now_s=0.0)) == [1, 2]


def test_frames_too_late_to_finish_are_given_up() -> None:
    made = batcher(frame(1, deadline_s=0.02), frame(2, deadline_s=0.009), frame_s=0.01)
    assert made.next_timer_s() == pytest.approx(-0.001)
    assert ids(made.take_too_late(now_s=0.0)) == [2]
    assert made.next_timer_s() == pytest.approx(0.01)
    assert ids(made.take_too_late(now_s=0.0099)) == []
    assert ids(made.take_too_late(now_s=0.0101)) == [1]
    assert made.next_timer_s() is None


def in_layers(one: Queued) -> Queued:
    layers = LayeredFrame(one.frame_id, 0, 4, arrived_s=0.0, layers=[b"x"], num_bytes=1)
    return replace(one, layers=layers)


def test_an_idle_edge_begins_with_a_frame_in_layers_a_little_after_its_budget() -> None:
    """The budget is what it may wait for layers: an answer right after it can be in time."""
    made = batcher(in_layers(frame(1, deadline_s=0.02)), frame_s=0.01)
    assert ids(made.take_too_late(now_s=0.0099 + SPARE_S)) == []
    assert ids(made.start(now_s=0.0099 + SPARE_S)) == [1]
    made = batcher(in_layers(frame(1, deadline_s=0.02)), frame_s=0.01)
    assert ids(made.take_too_late(now_s=0.0101 + SPARE_S)) == [1]
    made = batcher(frame(1, deadline_s=0.02), frame_s=0.01)
    assert ids(made.take_too_late(now_s=0.0101)) == [1]


def test_a_frame_in_layers_is_late_with_its_budget_where_others_need_the_worker() -> None:
    made = batcher(in_layers(frame(1, deadline_s=0.02)), frame(2), frame_s=0.01)
    assert ids(made.take_too_late(now_s=0.0101)) == [1]
    made = batcher(frame_s=0.9)  # busy lately
    made.add(in_layers(frame(1, deadline_s=0.91)))
    assert ids(made.take_too_late(now_s=0.0101)) == [1]


def test_without_a_measurement_a_frame_is_given_up_at_its_deadline_only() -> None:
    made = batcher(frame(1, deadline_s=0.01))
    assert ids(made.take_too_late(now_s=0.0099)) == []
    assert ids(made.take_too_late(now_s=0.01)) == [1]


@pytest.mark.parametrize(("fps", "shut_out_s"), [(30.0, 1.9), (2.0, 2.0), (0.2, 5.0)])
def test_one_slow_batch_does_not_shut_a_graph_out_for_long(fps: float, shut_out_s: float) -> None:
    made = batcher(frame_s=12.0)  # the machine stood still
    for frame_id in range(1, 100):
        now_s = frame_id / fps
        made.add(frame(frame_id, arrived_s=now_s, deadline_s=now_s + 0.1))
        if not made.take_too_late(now_s=now_s):
            break
    assert now_s <= shut_out_s
    made.start(now_s=now_s)
    made.finished(now_s=now_s + 0.005)
    assert made.times.predict_s(KEY, size=1) == pytest.approx(0.005)


def test_a_graph_that_is_slow_indeed_is_tried_now_and_then() -> None:
    made = batcher(frame_s=1.0)
    num_tried, free_s = 0, 0.0
    for frame_id in range(1, 300):
        now_s = frame_id / 10
        made.add(frame(frame_id, arrived_s=now_s, deadline_s=now_s + 0.1))
        if now_s < free_s:
            made.take_all()
        elif not made.take_too_late(now_s=now_s):
            num_tried += 1
            made.start(now_s=now_s)
            free_s = now_s + 1.0
            made.finished(now_s=free_s)
    assert 10 <= num_tried <= 16


def test_expired_frames_do_not_change_the_estimate() -> None:
    made = batcher(frame_s=0.01)
    for frame_id in range(50):
        made.add(frame(frame_id, deadline_s=-1.0))
        made.take_too_late(now_s=0.0)
    assert made.times.predict_s(KEY, size=1) == pytest.approx(0.01)


def test_a_frame_without_a_deadline_is_never_given_up_and_not_starved() -> None:
    made = batcher(frame(1, peer=b"patient", deadline_s=inf), max_batch=1)
    assert made.take_too_late(now_s=1e9) == []
    for step in range(100):
        now_s = 0.1 * step
        made.add(frame(100 + step, arrived_s=now_s, deadline_s=now_s + 0.5))
        if ids(made.start(now_s=now_s)) == [1]:
            break
        made.finished(now_s=now_s + 0.05)
    assert now_s < 1.5


def test_a_peer_that_leaves_takes_its_frames_along() -> None:
    made = batcher(frame(1, peer=b"a"), frame(2, peer=b"b"), frame(3, peer=b"a"))
    assert ids(made.forget(b"a")) == [1, 3]
    assert ids(made.take_all()) == [2]
    assert len(made) == 0


@pytest.mark.parametrize("flood_key", [KEY, OTHER])
def test_a_flooding_peer_with_hurried_deadlines_does_not_starve_another(
    flood_key: GraphKey,
) -> None:
    made = Batcher(max_batch=2)
    waiting: dict[bytes, set[int]] = {b"flood": set(), b"quiet": set()}
    quiet_waits_s: list[float] = []
    next_id, now_s = 0, 0.0
    while now_s < 5.0:
        for peer, wanted, budget_s in ((b"flood", 8, 0.2), (b"quiet", 1, 0.5)):
            key = flood_key if peer == b"flood" else KEY
            while len(waiting[peer]) < wanted:
                next_id += 1
                waiting[peer].add(next_id)
                made.add(
                    frame(next_id, peer=peer, key=key, arrived_s=now_s, deadline_s=now_s + budget_s)
                )
        for one in made.take_too_late(now_s=now_s):
            waiting[one.peer].remove(one.frame_id)
        batch = made.start(now_s=now_s)
        assert batch is not None
        now_s += 0.02
        made.finished(now_s=now_s)
        for one in batch:
            waiting[one.peer].remove(one.frame_id)
            if one.peer == b"quiet":
                quiet_waits_s.append(now_s - one.arrived_s)
    assert len(quiet_waits_s) >= 25
    assert max(quiet_waits_s) < 0.5


def test_the_busy_share_follows_the_worker() -> None:
    made = batcher(frame(1))
    assert made.busy_share(now_s=0.0) == 0.0
    made.start(now_s=0.0)
    assert made.busy_share(now_s=10.0) == pytest.approx(1.0, abs=1e-4)
    made.finished(now_s=10.0)
    assert made.busy_share(now_s=10.7) == pytest.approx(0.5, abs=0.01)


# --- waiting for one more frame


def busy_batcher(*, sizes: dict[int, float], gap_s: float) -> Batcher:
    """Return a batcher that was busy for long, knows these times, and sees a frame every gap."""
    made = Batcher(max_batch=4)
    made.add(frame(0, arrived_s=0.0, deadline_s=100.0))
    made.start(now_s=0.0)
    for step in range(100):
        arrived_s = 10.0 + gap_s * (step - 99)
        made.add(frame(1 + step, arrived_s=arrived_s, deadline_s=arrived_s + 0.1))
    made.finished(now_s=10.0)
    made.take_all()
    made.times = known_times(sizes)
    return made


BATCHING_PAYS = {1: 0.010, 2: 0.011, 3: 0.012}


def test_a_busy_worker_waits_for_one_more_where_batching_pays() -> None:
    made = busy_batcher(sizes=BATCHING_PAYS, gap_s=0.002)
    made.add(frame(50, arrived_s=10.0, deadline_s=10.1))
    assert made.start(now_s=10.0) is None
    timer_s = made.next_timer_s()
    assert timer_s is not None
    assert 10.0 < timer_s < 10.005
    assert ids(made.start(now_s=timer_s)) == [50]


def test_a_frame_that_cannot_afford_to_wait_runs_at_once() -> None:
    made = busy_batcher(sizes=BATCHING_PAYS, gap_s=0.002)
    made.add(frame(50, arrived_s=10.0, deadline_s=10.0105))
    assert ids(made.start(now_s=10.0)) == [50]


def test_a_frame_that_waited_for_layers_does_not_wait_for_others_too() -> None:
    made = busy_batcher(sizes=BATCHING_PAYS, gap_s=0.002)
    layers = LayeredFrame(50, 0, 4, arrived_s=10.0, layers=[b"x"], num_bytes=1)
    made.add(replace(frame(50, arrived_s=10.0, deadline_s=10.1), layers=layers))
    assert ids(made.start(now_s=10.0)) == [50]


def test_a_wait_ends_when_the_earliest_frame_can_afford_no_more() -> None:
    made = busy_batcher(sizes=BATCHING_PAYS, gap_s=0.002)
    made.add(frame(50, arrived_s=10.0, deadline_s=10.012))
    assert made.start(now_s=10.0) is None
    assert made.next_timer_s() == pytest.approx(10.001)


def test_nobody_waits_where_batching_saves_less_than_the_next_frame_takes_to_come() -> None:
    made = busy_batcher(sizes=BATCHING_PAYS, gap_s=0.02)
    made.add(frame(50, arrived_s=10.0, deadline_s=10.1))
    assert ids(made.start(now_s=10.0)) == [50]


def test_nobody_waits_where_two_frames_take_twice_as_long() -> None:
    made = busy_batcher(sizes={1: 0.010, 2: 0.020}, gap_s=0.002)
    made.add(frame(50, arrived_s=10.0, deadline_s=10.1))
    assert ids(made.start(now_s=10.0)) == [50]


def test_nobody_waits_for_what_was_never_measured() -> None:
    made = busy_batcher(sizes={1: 0.010}, gap_s=0.002)
    made.add(frame(50, arrived_s=10.0, deadline_s=10.1))
    assert ids(made.start(now_s=10.0)) == [50]


def test_an_idle_worker_does_not_wait_though_batching_pays() -> None:
    made = busy_batcher(sizes=BATCHING_PAYS, gap_s=0.002)
    made.add(frame(50, arrived_s=12.0, deadline_s=12.1))
    assert ids(made.start(now_s=12.0)) == [50]


def test_a_full_batch_does_not_wait() -> None:
    made = busy_batcher(sizes=BATCHING_PAYS, gap_s=0.002)
    for frame_id in range(4):
        made.add(frame(frame_id, arrived_s=10.0, deadline_s=10.1))
    assert ids(made.start(now_s=10.0)) == [0, 1, 2, 3]
