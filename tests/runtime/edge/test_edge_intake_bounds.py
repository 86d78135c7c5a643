"""What unfinished frames may take of an edge, and that leaving gives it back."""

from headgate.runtime.edge.edge_events import EdgeLimits
from headgate.runtime.wire.fragments import fragment
from headgate.runtime.wire.messages import Goodbye, Reject, RejectReason, Result
from runtime.layered import P3, layers
from runtime.layered_edge import OFFSET_S, UPLINK_S, Bench


def test_unfinished_frames_count_against_what_a_device_may_have_in_flight() -> None:
    bench = Bench(EdgeLimits(max_in_flight=1))
    sent_s = bench.device_s
    bench.layers(7, 0, sent_s=sent_s, deadline_s=sent_s + 0.5)
    bench.layers(8, 0, sent_s=sent_s, deadline_s=sent_s + 0.5)
    assert [(r.frame_id, r.reason) for r in bench.rejects] == [(8, RejectReason.BUSY)]
    bench.layers(8, 1, sent_s=sent_s, deadline_s=sent_s + 0.5)  # was on its way: acknowledged
    assert bench.acks[-1].frame_id == 8
    bench.run_until(bench.now_s + 1.0)
    assert [r.frame_id for r in bench.results] == [7]


def test_memory_for_layers_is_bounded_over_all_devices_and_given_back() -> None:
    peers = [b"%d" % index for index in range(10)]
    bench = Bench(EdgeLimits(max_held_bytes=100), *peers)
    sent_s = bench.device_s
    for peer in peers[:3]:
        bench.layers(7, 0, 2, sent_s=sent_s, deadline_s=sent_s + 0.5, peer=peer)
    assert bench.rejects == []
    bench.layers(
        7, 0, 2, sent_s=sent_s, deadline_s=sent_s + 0.5, peer=peers[3]
    )  # 30 bytes too many
    assert [r.reason for r in bench.rejects] == [RejectReason.BUSY]
    bench.layers(7, 0, sent_s=sent_s, deadline_s=sent_s + 0.5, peer=peers[4])
    bench.layers(7, 1, sent_s=sent_s, deadline_s=sent_s + 0.5, peer=peers[4])  # grows too large
    assert [r.reason for r in bench.rejects] == [RejectReason.BUSY] * 2
    bench.say(peers[0], Goodbye())
    bench.layers(7, 0, 2, sent_s=sent_s, deadline_s=sent_s + 0.5, peer=peers[5])
    assert len(bench.rejects) == 2
    bench.run_until(bench.now_s + 1.0)
    assert len(bench.results) == 3
    bench.layers(8, 0, 2, sent_s=sent_s, deadline_s=sent_s + 9.0, peer=peers[1])
    assert len(bench.rejects) == 2


def test_a_layer_for_which_there_is_no_memory_is_acknowledged_and_its_frame_rejected() -> None:
    """By the one the device knows that the message has come, by the other what became of it."""
    bench = Bench(EdgeLimits(max_held_bytes=25))
    sent_s = bench.device_s
    bench.layers(7, 0, sent_s=sent_s, deadline_s=sent_s + 0.5)
    bench.layers(7, 1, sent_s=sent_s, deadline_s=sent_s + 0.5)  # 30 bytes in all
    assert [(ack.frame_id, ack.layers) for ack in bench.acks] == [(7, 1), (7, 2)]
    assert [(r.frame_id, r.reason) for r in bench.rejects] == [(7, RejectReason.BUSY)]
    bench.layers(8, 0, sent_s=sent_s, deadline_s=sent_s + 0.5)
    first, *_ = fragment(layers(8, 1, sent_s=sent_s, deadline_s=sent_s + 0.5), 18)
    bench.say(b"a", first)  # 28
    assert [(ack.frame_id, ack.layers) for ack in bench.acks[2:]] == [(8, 1), (8, 1)]
    assert [(r.frame_id, r.reason) for r in bench.rejects[1:]] == [(8, RejectReason.BUSY)]


def test_late_slices_for_which_there_is_no_memory_do_not_cost_their_frame_its_answer() -> None:
    bench = Bench(EdgeLimits(max_held_bytes=10))
    sent_s = bench.device_s
    bench.layers(7, 0, sent_s=sent_s, deadline_s=sent_s + 0.05)
    while len(bench.items) == 0:
        bench.run_until(bench.now_s + 0.001)
    late = fragment(layers(7, 1, sent_s=sent_s, deadline_s=sent_s + 0.05), 11)
    for piece in late:
        bench.say(b"a", piece)
    assert [ack.layers for ack in bench.acks] == [1, 1, 1]
    bench.run_until(bench.now_s + 0.1)
    assert [r.frame_id for r in bench.results] == [7]
    assert bench.rejects == []


def test_the_queue_counts_frames_that_wait_for_layers() -> None:
    bench = Bench(EdgeLimits(max_queued=2), b"a", b"b", b"c", b"d")
    sent_s = bench.device_s
    bench.layers(7, 0, 3, sent_s=sent_s, deadline_s=None, peer=b"d")  # and the worker is busy
    for peer in (b"a", b"b", b"c"):
        bench.layers(7, 0, sent_s=sent_s, deadline_s=sent_s + 0.5, peer=peer)
    assert [(peer, m.reason) for peer, m in bench.said if isinstance(m, Reject)] == [
        (b"c", RejectReason.BUSY)
    ]


def test_an_idle_edge_refuses_nobody_for_those_who_hope_for_layers() -> None:
    """With 256 messages, each from another connection, an edge was shut to all for ten seconds."""
    peers = [b"%d" % index for index in range(60)]
    bench = Bench(EdgeLimits(max_queued=60), b"a", *peers)
    for peer in peers:
        bench.layers(7, 0, sent_s=bench.device_s, deadline_s=None, peer=peer)
    for frame_id in range(1, 16):
        bench.run_until(bench.now_s + 0.2)
        sent_s = bench.device_s
        bench.layers(frame_id, 0, 3, sent_s=sent_s, deadline_s=sent_s + 0.1)
    bench.run_until(bench.now_s + 0.1)
    assert bench.rejects == []
    assert sum(peer == b"a" for peer, m in bench.said if isinstance(m, Result)) == 15


def test_more_frames_than_can_be_done_in_time_are_told_with_their_first_layer() -> None:
    peers = [b"%d" % index for index in range(40)]
    bench = Bench(EdgeLimits(max_batch=1), *peers)
    sent_s = bench.device_s
    for peer in peers:
        bench.layers(7, 0, sent_s=sent_s, deadline_s=sent_s + 0.1, peer=peer)
    refused = len(bench.rejects)
    bench.run_until(bench.now_s + 1.0)
    assert 10 <= len(bench.results) <= 12  # of 8 ms each in 0.1 s
    assert len(bench.results) + refused == 40  # nobody waited in vain
    for result in bench.results:
        assert result.arrived_us + result.residence_us <= (OFFSET_S + UPLINK_S + 0.1 + sent_s) * 1e6


def test_a_device_that_says_hello_again_continues_no_frame() -> None:
    bench = Bench()
    sent_s = bench.device_s
    bench.layers(7, 0, sent_s=sent_s, deadline_s=sent_s + 0.2)
    bench.greet(b"a")
    bench.layers(7, 1, sent_s=sent_s, deadline_s=sent_s + 0.2)
    assert "layer 1 came after nothing began" in bench.rejects[0].detail
    bench.layers(1, 0, 3, sent_s=sent_s, deadline_s=sent_s + 0.2)  # its ids begin anew
    bench.run_until(bench.now_s + 1.0)
    assert [(r.frame_id, r.point_index) for r in bench.results] == [(1, P3)]


def test_a_device_that_leaves_takes_its_unfinished_frame_along() -> None:
    bench = Bench()
    bench.layers(7, 0, sent_s=bench.device_s, deadline_s=bench.device_s + 0.2)
    bench.say(b"a", Goodbye())
    bench.run_until(bench.now_s + 1.0)
    assert bench.items == []


def test_layers_before_hello_are_refused_once_a_frame() -> None:
    bench = Bench()
    for first in range(3):
        bench.layers(7, first, sent_s=0.0, deadline_s=None, peer=b"stranger")
    assert [reject.reason for reject in bench.rejects] == [RejectReason.UNKNOWN_PEER]


def test_draining_rejects_what_waits_for_layers() -> None:
    bench = Bench()
    bench.layers(7, 0, sent_s=bench.device_s, deadline_s=bench.device_s + 0.2)
    bench.obey(bench.session.drain(now_s=bench.now_s))
    assert [(r.frame_id, r.reason) for r in bench.rejects] == [(7, RejectReason.LEAVING)]
    assert bench.session.drained


def test_a_quiet_devices_unfinished_frame_does_not_keep_it_for_ever() -> None:
    bench = Bench(EdgeLimits(forget_s=50.0))
    bench.layers(7, 0, sent_s=bench.device_s, deadline_s=None)
    bench.run_until(bench.now_s + 100.0)
    assert bench.session.stats(now_s=bench.now_s).num_peers == 0


def test_a_flood_of_unfinished_frames_does_not_crowd_out_a_modest_device() -> None:
    bench = Bench(EdgeLimits(max_batch=1), b"flood", b"modest")
    flood_id = 10
    answered = 0
    for step in range(40):
        for _ in range(10):
            flood_id += 1
            now_s = bench.device_s
            bench.layers(flood_id, 0, sent_s=now_s, deadline_s=now_s + 0.1, peer=b"flood")
        now_s = bench.device_s
        bench.layers(10 + step, 0, 3, sent_s=now_s, deadline_s=now_s + 0.1, peer=b"modest")
        bench.run_until(bench.now_s + 0.05)
    bench.run_until(bench.now_s + 1.0)
    answered = sum(peer == b"modest" and isinstance(m, Result) for peer, m in bench.said)
    assert answered >= 38
