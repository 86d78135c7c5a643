"""The edge's side of the protocol, in virtual time: many peers, good and bad."""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.runtime.edge_peers import device_identity
from headgate.runtime.edge_session import (
    FULL_GRAPH_KEY,
    EdgeEffect,
    EdgeLimits,
    EdgeSession,
    Ignored,
    ItemOutcome,
    RunBatch,
    SendTo,
)
from headgate.runtime.fragments import fragment
from headgate.runtime.wire import (
    NO_BUDGET_US,
    Frame,
    Goodbye,
    Hello,
    Message,
    NamedTensor,
    Probe,
    ProbeReply,
    Reject,
    RejectReason,
    Result,
    Welcome,
    decode,
    encode,
)
from profiles.manifests import small_manifest

MANIFEST = small_manifest({})
OTHER_MANIFEST = replace(MANIFEST, task="another")
SPLIT, OFFLOAD, LOCAL = 0, 1, 2
PROBABILITIES = (NamedTensor("probabilities", np.array([0.25, 0.75], np.float32)),)
DONE = ItemOutcome(PROBABILITIES, None, decode_s=0.0002, tail_s=0.004)


class Bench:
    """An edge session, its clock, and what it was last asked to run."""

    def __init__(self, limits: EdgeLimits | None = None) -> None:
        families = {m.digest: m for m in (MANIFEST, OTHER_MANIFEST)}
        self.session = EdgeSession(families, limits)
        self.now_s = 100.0
        self.running: RunBatch | None = None
        self.ignored: list[Ignored] = []

    def say(self, peer: bytes, message: Message) -> list[Message]:
        """Let a peer say something; return what the edge says to that peer at once."""
        return self.raw(peer, encode(message))

    def raw(self, peer: bytes, parts: list[bytes], *, authorised: bool = True) -> list[Message]:
        effects = self.session.received(peer, parts, now_s=self.now_s, authorised=authorised)
        said = self.take(effects)
        assert all(to == peer for to, _ in said)
        return [message for _, message in said]

    def hello(self, *peers: bytes) -> None:
        for peer in peers:
            assert isinstance(self.say(peer, hello())[0], Welcome)

    def finish(
        self, outcome: ItemOutcome = DONE, *, after_s: float = 0.005
    ) -> list[tuple[bytes, Message]]:
        """Let the running batch end; return what the edge says to whom."""
        assert self.running is not None
        batch, self.running = self.running, None
        self.now_s += after_s
        outcomes = [outcome] * len(batch.items)
        return self.take(self.session.batch_finished(batch.batch_id, outcomes, now_s=self.now_s))

    def timer(self) -> list[tuple[bytes, Message]]:
        return self.take(self.session.handle_timer(now_s=self.now_s))

    def take(self, effects: list[EdgeEffect]) -> list[tuple[bytes, Message]]:
        said: list[tuple[bytes, Message]] = []
        for effect in effects:
            match effect:
                case SendTo(peer, parts):
                    said.append((peer, decode(parts)))
                case RunBatch():
                    assert self.running is None, "one batch at a time"
                    self.running = effect
                case Ignored():
                    self.ignored.append(effect)
        return said

    @property
    def running_ids(self) -> list[int]:
        return [] if self.running is None else [item.frame_id for item in self.running.items]


def hello(*, versions: tuple[int, ...] = (3, 2), digest: str = MANIFEST.digest) -> Hello:
    return Hello(versions, digest, max_message_bytes=4096)


def frame(frame_id: int, *, point: int = SPLIT, budget_ms: float = 100.0) -> Frame:
    return Frame(frame_id, point, round(1000 * budget_ms), b"features")


def reasons(messages: list[Message]) -> list[RejectReason]:
    return [message.reason for message in messages if isinstance(message, Reject)]


def rejections(said: list[tuple[bytes, Message]]) -> list[tuple[int | None, RejectReason]]:
    return [(m.frame_id, m.reason) for _, m in said if isinstance(m, Reject)]


# --- HELLO


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


def test_an_unauthorised_device_is_told_so_and_after_a_while_not_even_that() -> None:
    bench = Bench(EdgeLimits(max_malformed=2))
    for _ in range(3):
        messages = bench.raw(b"a", encode(hello()), authorised=False)
        assert reasons(messages) == [RejectReason.UNAUTHORISED]
    assert bench.raw(b"a", encode(hello()), authorised=False) == []


# --- frames


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


# --- many peers


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


def test_devices_beyond_the_limit_are_told_that_the_edge_is_full() -> None:
    bench = Bench(EdgeLimits(max_peers=2))
    bench.hello(b"a", b"b")
    assert reasons(bench.say(b"c", hello())) == [RejectReason.BUSY]
    bench.say(b"a", Goodbye())
    bench.hello(b"c")


def test_strangers_never_take_the_place_of_a_device() -> None:
    bench = Bench(EdgeLimits(max_peers=3))
    bench.hello(b"a")
    for index in range(50):
        bench.raw(b"stranger %d" % index, [b"garbage"])
    bench.hello(b"b")
    bench.say(b"a", frame(1))
    assert bench.running_ids == [1]


# --- coming and going


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


# --- anything at all


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


# --- a device's second connection


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
