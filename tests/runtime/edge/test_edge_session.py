"""The edge's side of the protocol, in virtual time: who is welcomed, and how they leave."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.runtime.edge.edge_events import EdgeLimits, SendTo
from headgate.runtime.wire.fragments import fragment
from headgate.runtime.wire.messages import (
    Frame,
    Goodbye,
    Message,
    Probe,
    ProbeReply,
    Reject,
    RejectReason,
    Result,
    Welcome,
)
from headgate.runtime.wire.wire import encode
from runtime.edge_bench import (
    DONE,
    MANIFEST,
    OFFLOAD,
    OTHER_MANIFEST,
    SPLIT,
    Bench,
    frame,
    hello,
    reasons,
    rejections,
)


def test_a_device_is_welcomed_to_the_family_it_names() -> None:
    bench = Bench(EdgeLimits(max_payload_bytes=1000, max_in_flight=3))
    assert bench.say(b"a", hello()) == [Welcome(3, MANIFEST.digest, 1000, 3)]
    other = hello(digest=OTHER_MANIFEST.digest)
    assert bench.say(b"b", other) == [Welcome(3, OTHER_MANIFEST.digest, 1000, 3)]
    bench.say(b"b", frame(1))
    assert bench.running is not None
    assert bench.running.digest == OTHER_MANIFEST.digest


def test_a_foreign_family_is_refused_with_both_digests() -> None:
    (reject,) = Bench().say(b"a", hello(digest="ab" * 32))
    assert isinstance(reject, Reject)
    assert (reject.frame_id, reject.reason) == (None, RejectReason.WRONG_FAMILY)
    assert "abababababab" in reject.detail
    assert MANIFEST.digest[:12] in reject.detail
    assert OTHER_MANIFEST.digest[:12] in reject.detail


def test_a_device_of_the_future_is_refused_with_both_versions() -> None:
    (reject,) = Bench().say(b"a", hello(versions=(5, 4)))
    assert isinstance(reject, Reject)
    assert reject.reason is RejectReason.WRONG_VERSION
    assert "[3, 2]" in reject.detail
    assert "[5, 4]" in reject.detail


def test_a_device_that_speaks_more_versions_is_welcomed_in_the_common_one() -> None:
    (welcome,) = Bench().say(b"a", hello(versions=(4, 3)))
    assert isinstance(welcome, Welcome)
    assert welcome.version == 3


def test_a_device_of_the_version_before_is_answered_in_it() -> None:
    bench = Bench()
    (welcome,) = bench.say(b"a", hello(versions=(2, 1)))
    assert isinstance(welcome, Welcome)
    assert welcome.version == 2
    bench.raw(b"a", encode(frame(7), version=2))
    assert bench.running is not None
    done = [DONE] * len(bench.running.items)
    effects = bench.session.batch_finished(bench.running.batch_id, done, now_s=bench.now_s)
    assert [effect.parts[0][4] for effect in effects if isinstance(effect, SendTo)] == [2]


def test_a_fragmented_frame_before_hello_is_refused_once() -> None:
    bench = Bench()
    first, second = fragment(frame(7), 4)
    assert reasons(bench.say(b"a", first)) == [RejectReason.UNKNOWN_PEER]
    assert bench.say(b"a", second) == []


def test_frames_and_probes_before_hello_ask_for_one() -> None:
    bench = Bench()
    assert reasons(bench.say(b"a", frame(7))) == [RejectReason.UNKNOWN_PEER]
    assert reasons(bench.say(b"a", Probe(1))) == [RejectReason.UNKNOWN_PEER]
    bench.hello(b"a")
    assert bench.say(b"a", frame(7)) == []
    assert bench.running_ids == [7]


def test_a_refused_hello_ends_an_earlier_welcome() -> None:
    bench = Bench()
    bench.hello(b"a")
    bench.say(b"a", hello(digest="ab" * 32))
    assert reasons(bench.say(b"a", frame(7))) == [RejectReason.UNKNOWN_PEER]


def test_what_only_an_edge_says_is_malformed_from_a_device() -> None:
    bench = Bench()
    (reject,) = bench.say(b"a", Welcome(3, MANIFEST.digest, 1, 1))
    assert isinstance(reject, Reject)
    assert "WELCOME: only an edge says this" in reject.detail


def test_a_probe_is_answered_at_once_however_busy_the_edge_is() -> None:
    bench = Bench()
    bench.hello(b"a")
    for frame_id in range(8):
        bench.say(b"a", frame(frame_id))
    bench.now_s = 123.25
    assert bench.say(b"a", Probe(5, bytes(1000))) == [ProbeReply(5, 123_250_000, 0)]


def test_a_device_that_says_hello_again_starts_anew() -> None:
    bench = Bench(EdgeLimits(max_in_flight=2))
    bench.hello(b"a")
    bench.say(b"a", frame(1))
    bench.say(b"a", frame(2))
    bench.hello(b"a")  # same identity, new process: its frame ids start anew
    bench.say(b"a", frame(1))
    assert bench.finish() == []
    assert "frame 1: its device left, rejoined" in bench.ignored[-1].reason
    assert bench.running_ids == [1]
    ((_, result),) = bench.finish()
    assert isinstance(result, Result)
    assert bench.session.stats(now_s=bench.now_s).frames_answered == 1


def test_an_unfinished_frame_does_not_outlive_a_new_hello() -> None:
    bench = Bench()
    bench.hello(b"a")
    first, second = fragment(frame(1), 4)
    bench.say(b"a", first)
    bench.hello(b"a")
    assert reasons(bench.say(b"a", second)) == [RejectReason.MALFORMED]


def test_unfinished_frames_of_devices_that_fell_silent_do_not_fill_the_edge() -> None:
    """Though they go on with probes, their bytes are given back; what is slow is not dropped."""
    bench = Bench(EdgeLimits(max_held_bytes=40, unfinished_s=20.0))
    bench.hello(b"stuck", b"slow", b"modest")
    patient = Frame(7, SPLIT, 0xFFFF_FFFF, b"x" * 30)
    first, second, last = fragment(patient, 10)
    bench.say(b"stuck", first)
    bench.say(b"stuck", second)
    bench.now_s += 15.0
    bench.say(b"slow", first)
    assert reasons(bench.say(b"modest", replace(frame(1), payload=b"x" * 30))) == [
        RejectReason.BUSY
    ]
    bench.now_s += 10.0
    bench.say(b"stuck", Probe(1))
    bench.timer()
    assert bench.say(b"modest", replace(frame(2), payload=b"x" * 20)) == []
    bench.finish()
    assert bench.say(b"stuck", last) == []  # comes too late, and is no fault
    bench.say(b"slow", second)
    bench.now_s += 15.0
    bench.timer()
    bench.say(b"slow", last)  # 25 s after the first
    assert bench.running_ids == [7]


def test_a_device_that_says_goodbye_is_forgotten_with_its_frames() -> None:
    bench = Bench()
    bench.hello(b"a", b"b")
    bench.say(b"a", frame(1))
    bench.say(b"a", frame(2))
    bench.say(b"b", frame(3))
    assert bench.say(b"a", Goodbye()) == []
    assert bench.finish() == []
    assert bench.running_ids == [3]
    assert bench.session.stats(now_s=bench.now_s).num_peers == 1


def test_a_silent_device_is_forgotten_in_the_end_and_asked_to_say_hello() -> None:
    bench = Bench(EdgeLimits(forget_s=300.0))
    bench.hello(b"a")
    while bench.now_s < 500.0:
        timer_s = bench.session.next_timer_s()
        if timer_s is None:
            break
        bench.now_s = timer_s
        bench.timer()
    assert 400.0 <= bench.now_s <= 420.0
    assert bench.session.stats(now_s=bench.now_s).num_peers == 0
    assert reasons(bench.say(b"a", frame(1))) == [RejectReason.UNKNOWN_PEER]


def test_draining_rejects_what_waits_finishes_what_runs_and_says_goodbye() -> None:
    bench = Bench()
    bench.hello(b"a", b"b")
    bench.say(b"a", frame(1))
    bench.say(b"b", frame(2))
    said = bench.take(bench.session.drain(now_s=bench.now_s))
    assert rejections(said) == [(2, RejectReason.LEAVING)]
    assert not bench.session.drained
    assert reasons(bench.say(b"a", frame(3))) == [RejectReason.LEAVING]
    assert reasons(bench.say(b"c", hello())) == [RejectReason.LEAVING]
    said = bench.finish()
    assert isinstance(said[0][1], Result)
    assert sorted(said[1:], key=lambda to: to[0]) == [(b"a", Goodbye()), (b"b", Goodbye())]
    assert bench.session.drained
    assert bench.session.drain(now_s=bench.now_s) == []


def test_draining_an_idle_edge_is_over_at_once() -> None:
    bench = Bench()
    bench.hello(b"a")
    assert bench.take(bench.session.drain(now_s=bench.now_s)) == [(b"a", Goodbye())]
    assert bench.session.drained


def test_an_edge_without_peers_needs_no_timer() -> None:
    bench = Bench()
    assert bench.session.next_timer_s() is None
    bench.hello(b"a")
    bench.say(b"a", Goodbye())
    bench.now_s += 1000.0
    bench.timer()
    assert bench.session.next_timer_s() is None


def test_the_snapshot_counts_what_happened() -> None:
    bench = Bench(EdgeLimits(max_in_flight=2))
    bench.hello(b"a")
    for frame_id in range(3):
        bench.say(b"a", frame(frame_id))
    bench.finish()
    bench.finish()
    stats = bench.session.stats(now_s=bench.now_s)
    assert (stats.num_peers, stats.frames_received, stats.frames_answered) == (1, 3, 2)
    assert stats.frames_rejected == {RejectReason.BUSY: 1}
    assert (stats.batches, stats.frames_batched, stats.payload_bytes) == (2, 2, 24)
    assert stats.tail_s == pytest.approx(0.008)
    assert stats.queue_s == pytest.approx(0.005)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_every_frame_of_a_welcomed_device_ends_in_exactly_one_answer(seed: int) -> None:
    rng = random.Random(seed)
    bench = Bench(
        EdgeLimits(
            max_in_flight=rng.randint(1, 4),
            max_queued=rng.randint(1, 8),
            max_batch=rng.randint(1, 4),
            max_held_bytes=rng.choice([30, 10_000]),
        )
    )
    peers = [b"a", b"b", b"c"]
    bench.hello(*peers)
    sent: Counter[tuple[bytes, int]] = Counter()
    ended: Counter[tuple[bytes, int | None]] = Counter()

    def count(said: list[tuple[bytes, Message]]) -> None:
        ended.update((to, m.frame_id) for to, m in said if isinstance(m, Result | Reject))

    for frame_id in range(150):
        peer = rng.choice(peers)
        made = frame(frame_id, point=rng.choice([SPLIT, OFFLOAD, 9]), budget_ms=rng.choice([1, 50]))
        sent[peer, frame_id] += 1
        for piece in fragment(made, rng.choice([3, 100])):
            effects = bench.session.received(peer, encode(piece), now_s=bench.now_s)
            count(bench.take(effects))  # others' frames may be given up, too
        bench.now_s += rng.choice([0.0, 0.001, 0.01])
        if bench.running is not None and rng.random() < 0.5:
            count(bench.finish(after_s=rng.choice([0.001, 0.02])))
        timer_s = bench.session.next_timer_s()
        if timer_s is not None and timer_s <= bench.now_s:
            count(bench.timer())
    while bench.running is not None:
        count(bench.finish())
        count(bench.timer())
    bench.now_s += 1.0
    count(bench.timer())
    assert {key: n for key, n in ended.items() if key[1] is not None} == dict(sent)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([b"a", b"b"]), st.lists(st.binary(max_size=40), max_size=4)),
        max_size=10,
    )
)
def test_nothing_a_peer_sends_raises(sent: list[tuple[bytes, list[bytes]]]) -> None:
    bench = Bench()
    bench.hello(b"a")
    for peer, parts in sent:
        bench.raw(peer, parts)
        bench.raw(peer, [b"HDGT" + part for part in parts])
    bench.hello(b"c")
    bench.say(b"c", frame(1))
    assert bench.running_ids == [1]
