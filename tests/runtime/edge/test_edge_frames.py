"""What becomes of a frame at the edge, in virtual time."""

from dataclasses import replace

import numpy as np
import pytest

from headgate.runtime.edge.edge_events import (
    FULL_GRAPH_KEY,
    EdgeLimits,
    ItemOutcome,
    RunBatch,
    SendTo,
)
from headgate.runtime.wire.fragments import fragment
from headgate.runtime.wire.messages import NO_BUDGET_US, NamedTensor, Reject, RejectReason, Result
from runtime.edge_bench import (
    DONE,
    LOCAL,
    MANIFEST,
    OFFLOAD,
    PROBABILITIES,
    SPLIT,
    Bench,
    frame,
    reasons,
    rejections,
)


def test_an_answer_tells_how_the_frames_slices_came_in() -> None:
    bench = Bench()
    bench.hello(b"a")
    first, second = fragment(frame(7), 4)
    bench.say(b"a", first)
    bench.now_s += 0.004
    bench.say(b"a", second)
    (_, result), *_ = bench.finish()
    assert isinstance(result, Result)
    assert (result.burst.arrivals, result.burst.spread_us) == (2, 4000)


def test_a_lone_frame_runs_at_once_and_its_result_says_where_the_time_went() -> None:
    bench = Bench()
    bench.hello(b"a")
    assert bench.say(b"a", frame(7)) == []
    assert bench.running is not None
    assert bench.running.graph_key == "b2r1"
    (item,) = bench.running.items
    assert (item.peer, item.frame_id, item.payload) == (b"a", 7, b"features")
    assert item.point is MANIFEST.points[SPLIT]
    ((peer, result),) = bench.finish(after_s=0.005)
    assert peer == b"a"
    assert isinstance(result, Result)
    assert (result.frame_id, result.point_index) == (7, SPLIT)
    assert result.arrived_us == 100_000_000
    assert (result.residence_us, result.queue_us) == (5000, 0)
    assert (result.decode_us, result.tail_us) == (200, 4000)
    assert result.tensors == PROBABILITIES
    assert result.load.frames_queued == 0


def test_an_offloaded_picture_goes_to_the_whole_network() -> None:
    bench = Bench()
    bench.hello(b"a")
    bench.say(b"a", frame(7, point=OFFLOAD))
    assert bench.running is not None
    assert bench.running.graph_key == FULL_GRAPH_KEY


def test_frames_that_come_while_the_worker_is_busy_share_the_next_batch() -> None:
    bench = Bench()
    bench.hello(b"a", b"b")
    bench.say(b"a", frame(1))
    bench.now_s += 0.001
    bench.say(b"b", frame(2, budget_ms=90))
    bench.say(b"a", frame(3, budget_ms=80))
    ((_, result),) = bench.finish(after_s=0.004)
    assert isinstance(result, Result)
    assert bench.running_ids == [3, 2]
    said = bench.finish(after_s=0.006)
    queues = {m.frame_id: (m.queue_us, m.residence_us) for _, m in said if isinstance(m, Result)}
    assert queues == {2: (4000, 10000), 3: (4000, 10000)}


def test_the_next_batch_is_started_before_results_are_sent() -> None:
    bench = Bench()
    bench.hello(b"a")
    bench.say(b"a", frame(1))
    bench.say(b"a", frame(2))
    assert bench.running is not None
    effects = bench.session.batch_finished(bench.running.batch_id, [DONE], now_s=100.01)
    assert [type(effect) for effect in effects] == [RunBatch, SendTo]


def test_an_expired_frame_is_rejected_before_it_is_decoded() -> None:
    bench = Bench()
    bench.hello(b"a")
    bench.say(b"a", frame(1))
    bench.say(b"a", frame(2, budget_ms=3))
    timer_s = bench.session.next_timer_s()
    assert timer_s == pytest.approx(100.003)
    bench.now_s = 100.0031
    assert rejections(bench.timer()) == [(2, RejectReason.EXPIRED)]
    bench.finish()
    assert bench.running is None


def test_a_frame_that_arrives_without_budget_is_rejected_at_once() -> None:
    bench = Bench()
    bench.hello(b"a")
    assert reasons(bench.say(b"a", frame(1, budget_ms=0))) == [RejectReason.EXPIRED]
    assert bench.running is None


def test_a_frame_without_deadline_waits_as_long_as_it_takes() -> None:
    bench = Bench()
    bench.hello(b"a")
    bench.say(b"a", frame(1))
    bench.say(b"a", replace(frame(2), budget_us=NO_BUDGET_US))
    bench.finish(after_s=60.0)
    assert bench.running_ids == [2]


def test_a_fragmented_frame_runs_when_its_last_slice_came() -> None:
    bench = Bench()
    bench.hello(b"a")
    slices = fragment(frame(7, budget_ms=10), 3)
    for piece in slices[:-1]:
        assert bench.say(b"a", piece) == []
        assert bench.running is None
        bench.now_s += 0.003
    bench.say(b"a", slices[-1])
    assert bench.running is not None
    assert bench.running.items[0].payload == b"features"
    ((_, result),) = bench.finish(after_s=0.002)
    assert isinstance(result, Result)
    assert (result.arrived_us, result.residence_us) == (100_006_000, 2000)


def test_the_budget_counts_from_the_first_slice() -> None:
    bench = Bench()
    bench.hello(b"a")
    first, last = fragment(frame(7, budget_ms=10), 4)
    bench.say(b"a", first)
    bench.now_s += 0.011
    assert reasons(bench.say(b"a", last)) == [RejectReason.EXPIRED]


def test_disordered_slices_are_malformed_and_the_next_frame_is_fine() -> None:
    bench = Bench()
    bench.hello(b"a")
    first, second, third = fragment(frame(7), 3)
    bench.say(b"a", first)
    assert reasons(bench.say(b"a", third)) == [RejectReason.MALFORMED]
    assert bench.say(b"a", second) == []
    bench.say(b"a", frame(8))
    assert bench.running_ids == [8]


@pytest.mark.parametrize("point", [LOCAL, 4, 65535])
def test_a_point_the_edge_cannot_answer_is_rejected(point: int) -> None:
    bench = Bench()
    bench.hello(b"a")
    assert reasons(bench.say(b"a", frame(7, point=point))) == [RejectReason.UNKNOWN_POINT]


def test_a_layer_that_does_not_exist_is_malformed() -> None:
    bench = Bench()
    bench.hello(b"a")
    assert reasons(bench.say(b"a", replace(frame(7), layer=1))) == [RejectReason.MALFORMED]
    more = replace(frame(8), more_layers=(b"layer 1",))  # of a point that is sent whole
    assert reasons(bench.say(b"a", more)) == [RejectReason.MALFORMED]
    assert bench.running is None


def test_a_frame_id_in_flight_is_not_taken_twice() -> None:
    bench = Bench()
    bench.hello(b"a")
    bench.say(b"a", frame(7))
    assert reasons(bench.say(b"a", frame(7))) == [RejectReason.MALFORMED]
    bench.finish()
    bench.say(b"a", frame(7))
    assert bench.running_ids == [7]


def test_a_payload_that_does_not_decode_is_rejected_and_counts_against_its_device() -> None:
    bench = Bench(EdgeLimits(max_malformed=0))
    bench.hello(b"a", b"b")
    bench.say(b"a", frame(7))
    bad = ItemOutcome(None, "not a zstd frame", decode_s=0.001, tail_s=0.0)
    ((_, reject),) = bench.finish(bad)
    assert reject == Reject(7, RejectReason.MALFORMED, "not a zstd frame")
    assert bench.say(b"a", frame(8)) == []
    assert bench.running is None
    bench.say(b"b", frame(8))
    assert bench.running_ids == [8]


def test_a_failing_graph_is_not_held_against_the_device() -> None:
    bench = Bench(EdgeLimits(max_malformed=0))
    bench.hello(b"a")
    bench.say(b"a", frame(7))
    failed = ItemOutcome(None, "the graph failed", 0.0, 0.0, RejectReason.FAILED)
    assert rejections(bench.finish(failed)) == [(7, RejectReason.FAILED)]
    bench.say(b"a", frame(8))
    assert bench.running_ids == [8]


def test_a_result_larger_than_the_device_takes_is_not_sent() -> None:
    bench = Bench()
    bench.hello(b"a")
    bench.say(b"a", frame(7))
    big = (NamedTensor("masks", np.zeros(2000, np.float32)),)
    said = bench.finish(ItemOutcome(big, None, 0.0, 0.0))
    assert rejections(said) == [(7, RejectReason.FAILED)]


def test_the_load_in_a_result_counts_waiting_frames_and_the_busy_share() -> None:
    bench = Bench(EdgeLimits(max_batch=1))
    bench.hello(b"a")
    for frame_id in range(4):
        bench.say(b"a", replace(frame(frame_id), budget_us=NO_BUDGET_US))
    ((_, result),) = bench.finish(after_s=5.0)
    assert isinstance(result, Result)
    assert result.load.frames_queued == 2
    assert result.load.busy_permille >= 990
