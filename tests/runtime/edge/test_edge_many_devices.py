"""Many devices at one edge, good and bad: none takes what is another's."""

from collections import Counter

from headgate.runtime.edge.edge_events import EdgeLimits
from headgate.runtime.edge.edge_peers import Peers
from headgate.runtime.wire.fragments import fragment
from headgate.runtime.wire.identities import device_identity
from headgate.runtime.wire.messages import (
    Goodbye,
    Probe,
    Reject,
    RejectReason,
    Result,
    Welcome,
)
from runtime.edge_bench import OFFLOAD, Bench, frame, hello, reasons


def test_one_device_may_not_have_more_in_flight_than_its_limit() -> None:
    bench = Bench(EdgeLimits(max_in_flight=2))
    bench.hello(b"a", b"b")
    for frame_id in (1, 2):
        assert bench.say(b"a", frame(frame_id)) == []
    assert reasons(bench.say(b"a", frame(3))) == [RejectReason.BUSY]
    assert bench.say(b"b", frame(3)) == []
    bench.finish()
    assert bench.say(b"a", frame(4)) == []


def test_the_queue_is_bounded_over_all_devices() -> None:
    bench = Bench(EdgeLimits(max_queued=2))
    bench.hello(b"a", b"b")
    for frame_id in (1, 2):
        assert bench.say(b"a", frame(frame_id)) == []
    assert bench.say(b"b", frame(1)) == []
    assert reasons(bench.say(b"b", frame(2))) == [RejectReason.BUSY]


def test_memory_for_payloads_is_bounded_over_all_devices_and_given_back() -> None:
    bench = Bench(EdgeLimits(max_held_bytes=20))
    bench.hello(b"a", b"b", b"c")
    bench.say(b"a", frame(1))  # runs: no longer held
    bench.say(b"a", frame(2))
    first, _ = fragment(frame(1), 7)
    bench.say(b"b", first)
    assert reasons(bench.say(b"c", frame(1))) == [RejectReason.BUSY]
    bench.say(b"b", Goodbye())
    assert bench.say(b"c", frame(2)) == []
    assert reasons(bench.say(b"c", fragment(frame(3), 7)[0])) == [RejectReason.BUSY]
    bench.finish()
    assert bench.say(b"c", frame(4)) == []


def test_a_flood_of_one_device_does_not_delay_another_by_more_than_a_batch_or_two() -> None:
    bench = Bench(EdgeLimits(max_batch=2))
    bench.hello(b"flood", b"quiet")
    answered: Counter[bytes] = Counter()
    slowest_us = 0
    for step in range(300):
        for index in range(10):
            bench.say(b"flood", frame(100 * step + index, point=OFFLOAD, budget_ms=90))
        if step % 5 == 0:
            bench.say(b"quiet", frame(step, budget_ms=100))
        for peer, message in bench.finish(after_s=0.01):
            if isinstance(message, Result):
                answered[peer] += 1
                if peer == b"quiet":
                    slowest_us = max(slowest_us, message.residence_us)
    assert answered[b"quiet"] >= 58
    assert slowest_us <= 60_000
    assert answered[b"flood"] >= 300


def test_frames_of_others_keep_flowing_past_a_device_that_sends_garbage() -> None:
    bench = Bench(EdgeLimits(max_malformed=3, ignore_s=10.0))
    bench.hello(b"good", b"bad")
    heard = 0
    for frame_id in range(50):
        heard += len(bench.raw(b"bad", [b"garbage"]))
        bench.say(b"good", frame(frame_id))
        ((peer, result),) = bench.finish()
        assert peer == b"good"
        assert isinstance(result, Result)
    assert heard == 4
    assert bench.session.stats(now_s=bench.now_s).messages_ignored == 46
    assert "ignored for 10 s" in bench.ignored[-1].reason


def test_an_ignored_device_is_heard_again_later() -> None:
    bench = Bench(EdgeLimits(max_malformed=0, ignore_s=10.0))
    bench.raw(b"a", [b"garbage"])
    bench.now_s += 9.9
    assert bench.say(b"a", hello()) == []
    bench.now_s += 0.2
    bench.hello(b"a")


def test_a_device_that_errs_now_and_then_is_not_ignored() -> None:
    bench = Bench(EdgeLimits(max_malformed=2, ignore_s=10.0))
    for _ in range(20):
        assert reasons(bench.raw(b"a", [b"garbage"])) == [RejectReason.MALFORMED]
        bench.now_s += 6.0


def test_a_device_is_ignored_that_errs_more_often_than_is_forgiven() -> None:
    """With 8 in 10 s: 7 in 10 s for ever are forgiven, and 9 in 10 s are not."""
    for per_s, heard in ((0.7, True), (0.9, False)):
        bench = Bench(EdgeLimits(max_malformed=8, ignore_s=10.0))
        answers = []
        for _ in range(120):
            bench.now_s += 1 / per_s
            answers.append(bool(bench.raw(b"a", [b"garbage"])))
        assert all(answers) == heard
        assert any(answers[-9:])  # nor is it ignored for good


def test_devices_beyond_the_limit_are_told_that_the_edge_is_full() -> None:
    bench = Bench(EdgeLimits(max_peers=2))
    bench.hello(b"a", b"b")
    assert reasons(bench.say(b"c", hello())) == [RejectReason.BUSY]
    bench.say(b"a", Goodbye())
    bench.hello(b"c")


def test_a_full_edge_lets_the_longest_silent_device_of_which_nothing_waits_make_room() -> None:
    bench = Bench(EdgeLimits(max_peers=3, yield_s=10.0))
    bench.hello(b"waits")
    bench.say(b"waits", frame(1))
    bench.hello(b"silent", b"talks")
    bench.say(b"silent", fragment(frame(1), 4)[0])
    bench.now_s += 9.9
    bench.say(b"talks", Probe(0, b"", 0))
    assert reasons(bench.say(b"new", hello())) == [RejectReason.BUSY]
    bench.now_s += 0.2
    bench.hello(b"new")
    assert bench.session.stats(now_s=bench.now_s).num_peers == 3
    assert reasons(bench.say(b"other", hello())) == [RejectReason.BUSY]
    assert [peer for peer, _ in bench.finish()] == [b"waits"]


def test_a_device_that_made_room_is_told_to_say_hello_again() -> None:
    bench = Bench(EdgeLimits(max_peers=2, yield_s=10.0))
    bench.hello(b"a", b"b")
    bench.now_s += 10.0
    bench.say(b"b", Probe(0, b"", 0))
    bench.hello(b"c")
    bench.now_s += 10.0
    assert reasons(bench.say(b"a", frame(7))) == [RejectReason.UNKNOWN_PEER]
    bench.hello(b"a")


def test_strangers_never_take_the_place_of_a_device() -> None:
    bench = Bench(EdgeLimits(max_peers=3))
    bench.hello(b"a")
    for index in range(50):
        bench.raw(b"stranger %d" % index, [b"garbage"])
    bench.hello(b"b")
    bench.say(b"a", frame(1))
    assert bench.running_ids == [1]


def test_of_any_number_of_strangers_an_edge_remembers_no_more_than_its_limit() -> None:
    peers = Peers(EdgeLimits(max_peers=3))
    for index in range(50):
        assert peers.hear(b"stranger %d" % index, now_s=float(index)) is not None
    assert [peer.id for peer in peers] == [b"stranger 47", b"stranger 48", b"stranger 49"]


def test_a_device_that_connects_anew_leaves_nothing_behind_on_its_earlier_connection() -> None:
    bench = Bench()
    name, other = bytes(range(16)), bytes(16)
    first, second = device_identity(name, 0), device_identity(name, 1)
    stranger = device_identity(other, 0)
    bench.hello(first, stranger)
    for frame_id in (1, 2):
        bench.say(first, frame(frame_id))
    bench.say(stranger, frame(1))
    bench.say(first, fragment(frame(3), 4)[0])
    bench.hello(second)
    assert bench.session.stats(now_s=bench.now_s).num_peers == 2
    assert bench.running_ids == [1]  # cannot be stopped
    answered = bench.finish()
    assert [peer for peer, _ in answered if peer == first] == []
    assert bench.running_ids == [1]  # the stranger's; frame 2 of the first is gone
    assert [peer for peer, _ in bench.finish()] == [stranger]


def test_frames_that_come_late_on_the_earlier_connection_are_refused_and_disturb_nobody() -> None:
    bench = Bench()
    name = bytes(range(16))
    first, second = device_identity(name, 0), device_identity(name, 1)
    bench.hello(first)
    bench.hello(second)
    assert reasons(bench.say(first, frame(9))) == [RejectReason.UNKNOWN_PEER]
    bench.say(second, frame(9))
    ((peer, result),) = bench.finish()
    assert peer == second
    assert isinstance(result, Result)


def test_identities_that_name_no_device_never_replace_each_other() -> None:
    bench = Bench()
    bench.hello(b"\0auto", b"\0auth", b"d" + bytes(16), b"d" + bytes(15) + b"\1")
    assert bench.session.stats(now_s=bench.now_s).num_peers == 4


def test_one_key_with_many_connections_leaves_room_for_the_frames_of_others() -> None:
    bench = Bench(EdgeLimits(max_queued=8, max_in_flight=4))
    for number in range(3):
        assert isinstance(bench.say(b"x%d" % number, hello(), owner="greedy")[0], Welcome)
    assert isinstance(bench.say(b"other", hello(), owner="modest")[0], Welcome)
    said = [bench.say(b"x%d" % n, frame(i, budget_ms=1e4)) for n in range(3) for i in range(4)]
    refused = [message for messages in said for message in messages]
    assert len(bench.running_ids) == 1
    assert reasons(refused) == [RejectReason.BUSY] * 5  # one runs, and 6 of 8 may wait
    assert isinstance(refused[0], Reject)
    assert "6 frames of devices with this key are waiting" in refused[0].detail
    assert bench.say(b"other", frame(0)) == []
    answered = {peer for _ in range(2) for peer, _ in bench.finish()}
    assert b"other" in answered
    assert bench.say(b"x0", frame(9)) == []  # there is room again


def test_one_key_with_many_connections_leaves_places_for_others() -> None:
    bench = Bench(EdgeLimits(max_peers=8))
    for number in range(6):
        assert isinstance(bench.say(b"x%d" % number, hello(), owner="greedy")[0], Welcome)
    (refused,) = bench.say(b"x6", hello(), owner="greedy")
    assert isinstance(refused, Reject)
    assert (refused.reason, "6 with one key" in refused.detail) == (RejectReason.BUSY, True)
    assert isinstance(bench.say(b"other", hello(), owner="modest")[0], Welcome)
    bench.say(b"x0", Goodbye())
    assert isinstance(bench.say(b"x6", hello(), owner="greedy")[0], Welcome)
    bench.now_s += 20.0  # one that has been silent for long makes room for the next of its key
    bench.say(b"other", Probe(1, b"", 0))
    assert isinstance(bench.say(b"x7", hello(), owner="greedy")[0], Welcome)
