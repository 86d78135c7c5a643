"""Progressive frames at the edge, in virtual time: what is answered from what, and when."""

import pytest

from headgate.runtime.edge.batch_choice import ANSWER_S
from headgate.runtime.edge.edge_events import EdgeLimits
from headgate.runtime.edge.edge_margin import LEAST_S
from headgate.runtime.edge.ripening import QUIET_S
from headgate.runtime.wire.fragments import fragment
from headgate.runtime.wire.messages import Ack, Frame, RejectReason, Result, stamp_us
from runtime.layered import P1, P2, P3, WHOLE, layers
from runtime.layered_edge import OFFSET_S, TAIL_S, UPLINK_S, Bench


def latest_start_s(device_deadline_s: float) -> float:
    """Return when a lone frame begins that is missing layers, on the edge's clock."""
    return OFFSET_S + UPLINK_S + device_deadline_s - TAIL_S - ANSWER_S - LEAST_S


def test_a_complete_frame_runs_at_once_from_all_its_layers() -> None:
    bench = Bench()
    sent_s = bench.device_s
    bench.layers(7, 0, sent_s=sent_s, deadline_s=sent_s + 0.2)
    assert (bench.items, bench.acks) == ([], [Ack(7, 1, round(bench.now_s * 1e6))])
    bench.now_s += 0.02
    bench.layers(7, 1, 2, sent_s=sent_s, deadline_s=sent_s + 0.2)
    ((item, began_s),) = bench.items
    assert began_s == bench.now_s
    assert (item.point.id, len(item.layers), item.payload) == ("b4r1-l16-p3", 3, b"")
    arrived_s = bench.now_s
    bench.run_until(bench.now_s + 1.0)
    (result,) = bench.results
    assert (result.frame_id, result.point_index) == (7, P3)
    assert result.arrived_us == pytest.approx(arrived_s * 1e6, abs=1)
    assert len(bench.acks) == 1  # the message that completed the frame is answered by the result


def test_the_last_mark_makes_a_frame_run_at_once_from_fewer() -> None:
    bench = Bench()
    bench.layers(7, 0, 2, sent_s=bench.device_s, deadline_s=bench.device_s + 0.2, last=True)
    ((item, began_s),) = bench.items
    assert (item.point.id, began_s) == ("b4r1-l16-p2", bench.now_s)
    assert bench.acks == []


def test_an_incomplete_frame_runs_at_its_latest_moment_and_makes_its_deadline() -> None:
    bench = Bench()
    sent_s = bench.device_s
    deadline_s = sent_s + 0.15
    bench.layers(7, 0, 2, sent_s=sent_s, deadline_s=deadline_s)
    arrived_s = bench.now_s
    bench.run_until(bench.now_s + 1.0)
    ((item, began_s),) = bench.items
    assert began_s == pytest.approx(latest_start_s(deadline_s))
    assert (item.point.id, item.layers) == ("b4r1-l16-p2", (b"\1" * 10, b"\2" * 20))
    (result,) = bench.results
    assert result.point_index == P2
    done_s = (result.arrived_us + result.residence_us) / 1e6
    assert OFFSET_S + UPLINK_S + deadline_s - 0.005 < done_s < OFFSET_S + UPLINK_S + deadline_s
    assert result.arrived_us / 1e6 == pytest.approx(arrived_s)
    assert result.queue_us == 0  # waiting for layers is not waiting for the worker
    stats = bench.session.stats(now_s=bench.now_s)
    assert (stats.frames_cut_short, stats.layers_late) == (1, 0)


def answered_in_time(bench: Bench, num_frames: int) -> list[bool]:
    """Send incomplete frames every 0.3 s; tell which were answered by their deadlines."""
    deadlines_s = {}
    for frame_id in range(1, num_frames + 1):
        sent_s = bench.device_s
        deadlines_s[frame_id] = OFFSET_S + UPLINK_S + sent_s + 0.15
        bench.layers(frame_id, 0, 2, sent_s=sent_s, deadline_s=sent_s + 0.15)
        bench.run_until(bench.now_s + 0.3)
    ended_s = {r.frame_id: (r.arrived_us + r.residence_us) / 1e6 for r in bench.results}
    return [ended_s.get(frame_id, 1e9) <= by_s for frame_id, by_s in deadlines_s.items()]


def test_an_edge_whose_timers_are_8_ms_late_makes_its_deadlines_after_a_few_frames() -> None:
    bench = Bench()
    bench.late_s = 0.008
    in_time = answered_in_time(bench, 20)
    assert not in_time[0]  # it had been punctual until then
    assert all(in_time[5:])
    began_s = bench.items[-1][1]
    late_start_s = latest_start_s(bench.device_s - 0.3 + 0.15)
    assert late_start_s - began_s < 0.02  # and still waits nearly as long as is safe


def test_a_punctual_edge_waits_until_the_least_margin_is_left() -> None:
    bench = Bench()
    assert all(answered_in_time(bench, 20))
    assert bench.items[-1][1] == pytest.approx(latest_start_s(bench.device_s - 0.3 + 0.15))


def test_a_frame_that_queued_long_on_the_uplink_still_makes_its_deadline() -> None:
    """Its budget counts from when it was sent, though the two clocks have nothing in common."""
    bench = Bench()
    sent_s = bench.device_s - 0.1  # 0.1 s in the uplink's queue
    deadline_s = sent_s + 0.15
    bench.layers(7, 0, sent_s=sent_s, deadline_s=deadline_s)
    bench.run_until(bench.now_s + 1.0)
    ((_, began_s),) = bench.items
    assert began_s == pytest.approx(latest_start_s(deadline_s))
    (result,) = bench.results
    done_s = (result.arrived_us + result.residence_us) / 1e6
    assert done_s < OFFSET_S + UPLINK_S + deadline_s


def test_a_frame_whose_time_was_over_when_it_came_is_rejected_at_once() -> None:
    bench = Bench()
    sent_s = bench.device_s - 0.2
    bench.layers(7, 0, sent_s=sent_s, deadline_s=sent_s + 0.15)
    assert [reject.reason for reject in bench.rejects] == [RejectReason.EXPIRED]
    bench.layers(7, 1, sent_s=sent_s, deadline_s=sent_s + 0.15)  # was on its way
    assert bench.acks[-1] == Ack(7, 1, round(bench.now_s * 1e6))
    assert bench.session.stats(now_s=bench.now_s).layers_late == 1


def test_each_message_of_a_frame_tells_its_deadline_anew() -> None:
    bench = Bench()
    sent_s = bench.device_s
    bench.layers(7, 0, sent_s=sent_s, deadline_s=sent_s + 0.30)
    bench.layers(7, 1, sent_s=sent_s, deadline_s=sent_s + 0.20)
    bench.run_until(bench.now_s + 1.0)
    assert bench.items[0][1] == pytest.approx(latest_start_s(sent_s + 0.20))


@pytest.mark.parametrize("newer_point", [P3, WHOLE])
def test_a_newer_frame_ends_the_older_one_which_then_runs_at_once(newer_point: int) -> None:
    bench = Bench()
    sent_s = bench.device_s
    bench.layers(7, 0, 2, sent_s=sent_s, deadline_s=sent_s + 0.5)
    bench.now_s += 0.03
    bench.layers(8, 0, sent_s=bench.device_s, deadline_s=sent_s + 0.6, point=newer_point)
    assert [(item.frame_id, began_s) for item, began_s in bench.items] == [(7, bench.now_s)]
    bench.run_until(bench.now_s + 1.0)
    assert [(r.frame_id, r.point_index) for r in bench.results] == [
        (7, P2),
        (8, P1 if newer_point == P3 else WHOLE),
    ]


def test_the_first_slice_of_a_newer_frame_ends_the_older_one_too() -> None:
    bench = Bench()
    sent_s = bench.device_s
    bench.layers(7, 0, sent_s=sent_s, deadline_s=sent_s + 0.5)
    newer = Frame(8, WHOLE, 500_000, bytes(100), sent_us=stamp_us(sent_s))
    bench.say(b"a", fragment(newer, 60)[0])
    assert [item.frame_id for item, _ in bench.items] == [7]


def test_a_layer_that_comes_when_the_batch_has_begun_is_late_and_spoils_nothing() -> None:
    bench = Bench()
    sent_s = bench.device_s
    bench.layers(7, 0, sent_s=sent_s, deadline_s=sent_s + 0.1)
    bench.run_until(latest_start_s(sent_s + 0.1) + 0.001)
    bench.layers(7, 1, sent_s=sent_s, deadline_s=sent_s + 0.1)
    bench.run_until(bench.now_s + 0.1)
    bench.layers(7, 2, sent_s=sent_s, deadline_s=sent_s + 0.1)  # after its answer
    (result,) = bench.results
    assert result.point_index == P1
    assert [ack.layers for ack in bench.acks] == [1, 1, 1]
    assert bench.rejects == []
    assert bench.session.stats(now_s=bench.now_s).layers_late == 2


def test_a_layer_that_comes_while_its_frame_queues_is_used() -> None:
    bench = Bench(None, b"a", b"b")
    sent_s = bench.device_s
    bench.layers(10, 0, 3, sent_s=sent_s, deadline_s=sent_s + 0.1, peer=b"b")  # runs
    bench.layers(8, 0, sent_s=sent_s, deadline_s=sent_s + 0.018)
    assert bench.session.stats(now_s=bench.now_s).frames_queued == 1  # it must be the next
    bench.now_s += 0.004
    bench.layers(8, 1, sent_s=sent_s, deadline_s=sent_s + 0.018)
    bench.run_until(bench.now_s + 1.0)
    item, _ = bench.items[-1]
    assert (item.frame_id, item.point.id) == (8, "b4r1-l16-p2")
    assert bench.results[-1].point_index == P2


def test_frames_of_different_prefixes_share_a_batch() -> None:
    bench = Bench(None, b"a", b"b", b"c")
    sent_s = bench.device_s
    for peer, num in ((b"a", 1), (b"b", 2)):
        bench.layers(7, 0, num, sent_s=sent_s, deadline_s=sent_s + 0.1, peer=peer)
    bench.run_until(latest_start_s(sent_s + 0.1) - 0.005)
    assert bench.items == []
    bench.layers(7, 0, 3, sent_s=sent_s, deadline_s=sent_s + 0.3, peer=b"c")
    (batch,) = bench.batches
    assert batch.graph_key == "b4r1"
    assert {(item.peer, len(item.layers), item.point.prefix) for item in batch.items} == {
        (b"a", 1, 1),
        (b"b", 2, 2),
        (b"c", 3, 3),
    }
    bench.run_until(bench.now_s + 1.0)
    answered = {(peer, m.point_index) for peer, m in bench.said if isinstance(m, Result)}
    assert answered == {(b"a", P1), (b"b", P2), (b"c", P3)}


def test_many_frames_that_ripen_together_are_all_in_time() -> None:
    peers = [b"%d" % index for index in range(12)]
    bench = Bench(EdgeLimits(max_batch=4), *peers)
    sent_s = bench.device_s
    for index, peer in enumerate(peers):
        bench.layers(7, 0, sent_s=sent_s, deadline_s=sent_s + 0.1 + index / 1e4, peer=peer)
    bench.run_until(bench.now_s + 1.0)
    assert len(bench.results) == 12
    for result in bench.results:
        assert result.arrived_us + result.residence_us <= (OFFSET_S + UPLINK_S + 0.1 + sent_s) * 1e6


def test_without_a_deadline_a_frame_waits_for_its_layers_until_none_came_for_long() -> None:
    bench = Bench()
    bench.layers(7, 0, sent_s=bench.device_s, deadline_s=None)
    bench.run_until(bench.now_s + QUIET_S - 1.0)
    bench.layers(7, 1, sent_s=bench.device_s, deadline_s=None)
    second_s = bench.now_s
    bench.run_until(bench.now_s + 2 * QUIET_S)
    ((item, began_s),) = bench.items
    assert len(item.layers) == 2
    assert began_s == pytest.approx(second_s + QUIET_S, abs=0.02)


def test_slices_of_a_layer_are_acknowledged_without_it() -> None:
    bench = Bench()
    sent_s = bench.device_s
    whole = layers(7, 0, sent_s=sent_s, deadline_s=sent_s + 0.2)
    for piece in fragment(whole, 4):
        bench.say(b"a", piece)
    assert [ack.layers for ack in bench.acks] == [0, 0, 1]
    for piece in fragment(layers(7, 1, sent_s=sent_s, deadline_s=sent_s + 0.2, last=True), 15):
        bench.say(b"a", piece)
    assert [ack.layers for ack in bench.acks] == [0, 0, 1, 1]
    assert bench.items[0][0].layers == (b"\1" * 10, b"\2" * 20)
