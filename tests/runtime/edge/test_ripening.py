"""How long incomplete frames may wait for layers, in virtual time."""

import pytest

from headgate.runtime.edge.batch_choice import ANSWER_S
from headgate.runtime.edge.batch_times import GraphKey
from headgate.runtime.edge.batcher import Batcher
from headgate.runtime.edge.edge_margin import FIRST_S, Margin
from headgate.runtime.edge.layers import LayeredFrame
from headgate.runtime.edge.queued import Queued
from headgate.runtime.edge.ripening import QUIET_S, Ripening

TAIL = GraphKey("family", "tail")
OTHER = GraphKey("family", "other")
ALONE_S = 0.010


def batcher(*, both_s: float = 0.012) -> Batcher:
    """Return one that knows how long batches of one and two frames take."""
    made = Batcher(max_batch=4)
    for key in (TAIL, OTHER):
        made.times.measured(key, size=1, elapsed_s=ALONE_S)
        made.times.measured(key, size=2, elapsed_s=both_s)
    return made


def frame(
    frame_id: int, *, deadline_s: float, arrived_s: float = 0.0, key: GraphKey = TAIL
) -> Queued:
    layered = LayeredFrame(frame_id, 0, 3, arrived_s, layers=[b"x"], num_bytes=1)
    return Queued(key, b"peer", frame_id, 0, b"", arrived_s, deadline_s, layers=layered)


def whole(frame_id: int, *, deadline_s: float = 9.0) -> Queued:
    return Queued(OTHER, b"peer", frame_id, 0, b"payload", 0.0, deadline_s)


def test_at_an_idle_edge_a_frame_is_ripe_one_batch_before_its_deadline_and_not_before() -> None:
    ripening = Ripening(batcher(), Margin())
    ripening.put(waiting := frame(7, deadline_s=1.0))
    due_s = 1.0 - ALONE_S - ANSWER_S - FIRST_S
    assert ripening.next_timer_s() == pytest.approx(due_s)
    assert ripening.first_ripe(now_s=due_s - 0.0001) is None
    assert ripening.first_ripe(now_s=due_s) is waiting


def test_a_frame_goes_ahead_of_its_time_when_the_worker_will_not_be_free_by_then() -> None:
    busy = batcher()
    ripening = Ripening(busy, Margin())
    ripening.put(waiting := frame(7, deadline_s=0.020))
    assert ripening.first_ripe(now_s=0.0) is None
    busy.add(whole(8))
    assert ripening.first_ripe(now_s=0.0) is waiting  # before the other's batch has begun
    assert busy.start(now_s=0.0) is not None
    assert ripening.first_ripe(now_s=0.0) is waiting


def test_a_backlog_moves_the_timer_and_its_end_moves_it_back() -> None:
    busy = batcher()
    ripening = Ripening(busy, Margin())
    ripening.put(frame(7, deadline_s=1.0))
    free_s = ripening.next_timer_s()
    assert free_s is not None
    busy.add(whole(8))
    assert ripening.next_timer_s() == pytest.approx(free_s - ALONE_S)
    assert busy.start(now_s=0.0) is not None
    assert ripening.next_timer_s() == pytest.approx(free_s)


def test_of_two_frames_with_one_deadline_the_first_leaves_time_for_the_second() -> None:
    shared = batcher()
    ripening = Ripening(shared, Margin())
    ripening.put(first := frame(1, deadline_s=1.0))
    ripening.put(second := frame(2, deadline_s=1.0))
    alone_s = ALONE_S + ANSWER_S + FIRST_S
    due_s = 1.0 - alone_s - 0.006  # its share of the best batch
    assert ripening.next_timer_s() == pytest.approx(due_s)
    ripe = ripening.first_ripe(now_s=due_s)
    assert ripe in (first, second)
    # While that one runs the other would be late: it is ripe too, and they share a batch.
    ripening.remove(ripe)
    shared.add(ripe)
    other = ripening.first_ripe(now_s=due_s)
    assert {first, second} == {ripe, other}
    assert other is not None
    shared.add(other)
    assert len(shared.start(now_s=due_s) or []) == 2


def test_a_later_deadline_does_not_hurry_an_earlier_one_that_is_far_from_it() -> None:
    ripening = Ripening(batcher(), Margin())
    ripening.put(frame(1, deadline_s=1.0))
    alone_s = ripening.next_timer_s()
    ripening.put(frame(2, deadline_s=2.0))
    assert ripening.next_timer_s() == pytest.approx(alone_s)


@pytest.mark.parametrize("deadline_s", [float("inf"), 1000.0])
def test_without_a_near_deadline_a_frame_waits_until_no_layer_came_for_long(
    deadline_s: float,
) -> None:
    ripening = Ripening(batcher(), Margin())
    ripening.put(frame(7, deadline_s=deadline_s, arrived_s=100.0))
    assert ripening.first_ripe(now_s=100.0 + QUIET_S - 0.1) is None
    assert ripening.first_ripe(now_s=100.0 + QUIET_S) is not None


def test_a_graph_that_never_ran_has_the_margin_only() -> None:
    ripening = Ripening(Batcher(max_batch=4), Margin())
    ripening.put(frame(7, deadline_s=1.0))
    assert ripening.next_timer_s() == pytest.approx(1.0 - ANSWER_S - FIRST_S)


def test_what_a_batch_takes_is_looked_up_anew_when_it_was_measured() -> None:
    slow = batcher()
    ripening = Ripening(slow, Margin())
    ripening.put(frame(7, deadline_s=1.0))
    before_s = ripening.next_timer_s()
    for _ in range(20):
        slow.times.measured(TAIL, size=1, elapsed_s=0.050)
    after_s = ripening.next_timer_s()
    assert before_s is not None
    assert after_s is not None
    assert after_s < before_s - 0.03


def test_a_removed_frame_needs_no_timer() -> None:
    ripening = Ripening(batcher(), Margin())
    ripening.put(waiting := frame(7, deadline_s=1.0))
    assert waiting in ripening
    ripening.remove(waiting)
    assert (waiting in ripening, len(ripening), ripening.next_timer_s()) == (False, 0, None)


def test_an_edge_that_is_late_lets_frames_ripen_sooner_at_once() -> None:
    margin = Margin()
    ripening = Ripening(batcher(), margin)
    ripening.put(frame(7, deadline_s=1.0))
    before_s = ripening.next_timer_s()
    margin.timer_went_off(late_s=0.010)
    after_s = ripening.next_timer_s()
    assert before_s is not None
    assert after_s is not None
    assert before_s - after_s == pytest.approx(margin.margin_s - FIRST_S)
