"""Progressive frames at the edge, in virtual time: what is answered from what, and when."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.runtime.batcher import ANSWER_S
from headgate.runtime.edge_events import (
    BatchItem,
    EdgeEffect,
    EdgeLimits,
    Ignored,
    ItemOutcome,
    RunBatch,
    SendTo,
)
from headgate.runtime.edge_margin import LEAST_S
from headgate.runtime.edge_session import EdgeSession
from headgate.runtime.fragments import fragment
from headgate.runtime.messages import (
    NO_BUDGET_US,
    Ack,
    Frame,
    Goodbye,
    Hello,
    Message,
    NamedTensor,
    Probe,
    Reject,
    RejectReason,
    Result,
    Welcome,
    stamp_us,
)
from headgate.runtime.ripening import QUIET_S
from headgate.runtime.wire import decode, encode
from runtime.layered import LAYERED, P1, P2, P3, WHOLE, layers

UPLINK_S = 0.010  # the least delay to the edge
OFFSET_S = 1000.0  # the edge's clock is ahead of the devices' by that
TAIL_S = 0.008
PROBABILITIES = (NamedTensor("probabilities", np.array([0.25, 0.75], np.float32)),)


class Bench:
    """An edge whose tail takes TAIL_S a batch, its clock, and all it was asked to run and say."""

    def __init__(self, limits: EdgeLimits | None = None, *peers: bytes, version: int = 3) -> None:
        self.session = EdgeSession({LAYERED.digest: LAYERED}, limits)
        self.now_s = OFFSET_S
        self.said: list[tuple[bytes, Message]] = []
        self.items: list[tuple[BatchItem, float]] = []  # and when their batch began
        self.batches: list[RunBatch] = []
        self.ends_s: float | None = None
        self.late_s = 0.0  # of its timers and of what it is told of finished batches
        self.version = version
        if version > 2:
            self.warm_up()
        for peer in peers or (b"a",):
            self.greet(peer)

    def greet(self, peer: bytes) -> None:
        versions = tuple(range(self.version, 1, -1))
        self.say(peer, Hello(versions, LAYERED.digest, 1 << 20))
        assert isinstance(self.said.pop()[1], Welcome)
        if self.version > 2:
            self.say(peer, Probe(0, b"", stamp_us(self.device_s)))
            self.said.pop()

    def warm_up(self) -> None:
        """Let the edge learn that a batch takes TAIL_S, whatever its size."""
        self.greet(b"warm")
        frame_id = 0
        for num in range(1, 5):
            for _ in range(num + 1):  # one runs at once, the others after it
                frame_id += 1
                sent_s = self.device_s
                self.layers(frame_id, 0, 3, sent_s=sent_s, deadline_s=None, peer=b"warm")
            self.run_until(self.now_s + 1.0)
        self.say(b"warm", Goodbye())
        self.said.clear()
        self.items.clear()
        self.batches.clear()

    @property
    def device_s(self) -> float:
        """What the devices' clock said when a message left that comes now without having waited."""
        return self.now_s - OFFSET_S - UPLINK_S

    def say(self, peer: bytes, message: Message) -> None:
        self.obey(
            self.session.received(peer, encode(message, version=self.version), now_s=self.now_s)
        )

    def layers(
        self,
        frame_id: int,
        first: int,
        num: int = 1,
        *,
        sent_s: float,
        deadline_s: float | None,
        peer: bytes = b"a",
        point: int = P3,
        last: bool = False,
    ) -> None:
        """Let layers come now that were sent at `sent_s`."""
        self.say(
            peer,
            layers(
                frame_id, first, num, point=point, sent_s=sent_s, deadline_s=deadline_s, last=last
            ),
        )

    def run_until(self, until_s: float) -> None:
        """Let time pass, timers and batches included: all of them are late by `late_s`."""
        while True:
            timer_s = self.session.next_timer_s()
            late_s = None if timer_s is None else timer_s + self.late_s
            due_s = min(
                (each for each in (late_s, self.ends_s) if each is not None), default=until_s
            )
            if due_s >= until_s:
                break
            self.now_s = max(self.now_s, due_s)
            if self.ends_s is not None and self.ends_s <= self.now_s:
                batch, self.ends_s = self.batches[-1], None
                done = ItemOutcome(PROBABILITIES, None, decode_s=0.0, tail_s=TAIL_S)
                effects = self.session.batch_finished(
                    batch.batch_id, [done] * len(batch.items), now_s=self.now_s
                )
            else:
                effects = self.session.handle_timer(now_s=self.now_s)
            self.obey(effects)
        self.now_s = until_s

    def obey(self, effects: list[EdgeEffect]) -> None:
        for effect in effects:
            match effect:
                case SendTo(peer, parts):
                    self.said.append((peer, decode(parts)))
                case RunBatch():
                    assert self.ends_s is None, "one batch at a time"
                    self.ends_s = self.now_s + TAIL_S + self.late_s
                    self.batches.append(effect)
                    self.items += [(item, self.now_s) for item in effect.items]
                case Ignored():
                    pass

    @property
    def results(self) -> list[Result]:
        return [message for _, message in self.said if isinstance(message, Result)]

    @property
    def acks(self) -> list[Ack]:
        return [message for _, message in self.said if isinstance(message, Ack)]

    @property
    def rejects(self) -> list[Reject]:
        return [message for _, message in self.said if isinstance(message, Reject)]


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


# --- what is not in order


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (layers(7, 2, sent_s=0.0), "layer 2 came where layer 1 could follow"),
        (layers(7, 0, sent_s=0.0), "layer 0 came after frame 7 began"),
        (layers(7, 1, 3, sent_s=0.0), "layers up to 3"),
        (layers(7, 1, point=P2, sent_s=0.0), "the frame began as point"),
        (layers(7, 1, point=WHOLE, sent_s=0.0), "layers 1 to 1 of point b2r1-l16, expected 0"),
    ],
)
def test_disorder_ends_its_frame_with_a_sentence_and_the_next_one_runs(
    wrong: Frame, sentence: str
) -> None:
    bench = Bench()
    sent_s = bench.device_s
    bench.layers(7, 0, sent_s=sent_s, deadline_s=sent_s + 0.2)
    bench.say(b"a", wrong)
    (reject,) = bench.rejects
    assert (reject.frame_id, reject.reason) == (7, RejectReason.MALFORMED)
    assert sentence in reject.detail
    bench.layers(7, 1, sent_s=sent_s, deadline_s=sent_s + 0.2)  # passed over
    bench.layers(8, 0, 3, sent_s=sent_s, deadline_s=sent_s + 0.2)
    bench.run_until(bench.now_s + 1.0)
    assert [(r.frame_id, r.point_index) for r in bench.results] == [(8, P3)]
    assert len(bench.rejects) == 1


def test_a_frame_that_is_spoiled_while_it_runs_has_one_answer_too() -> None:
    bench = Bench()
    sent_s = bench.device_s
    bench.layers(7, 0, 2, sent_s=sent_s, deadline_s=sent_s + 0.2, last=True)
    bench.layers(7, 0, sent_s=sent_s, deadline_s=sent_s + 0.2)
    bench.run_until(bench.now_s + 1.0)
    assert [type(message) for _, message in bench.said] == [Reject]
    bench.layers(8, 0, 3, sent_s=sent_s, deadline_s=sent_s + 2.0)
    bench.run_until(bench.now_s + 1.0)
    assert [result.frame_id for result in bench.results] == [8]


def test_a_layer_of_an_older_frame_is_refused_and_the_newer_one_is_unharmed() -> None:
    bench = Bench(EdgeLimits(max_batch=1), b"a", b"b")
    sent_s = bench.device_s
    bench.layers(4, 0, 3, sent_s=sent_s, deadline_s=sent_s + 0.2, peer=b"b")  # the worker is busy
    bench.layers(7, 0, sent_s=sent_s, deadline_s=sent_s + 0.2)
    bench.layers(8, 0, sent_s=sent_s, deadline_s=sent_s + 0.2)
    bench.layers(7, 1, sent_s=sent_s, deadline_s=sent_s + 0.2)
    (reject,) = bench.rejects
    assert (reject.frame_id, reject.reason) == (7, RejectReason.MALFORMED)
    assert "layer 1 came after frame 8 began" in reject.detail
    bench.run_until(bench.now_s + 1.0)
    assert [(r.frame_id, r.point_index) for r in bench.results] == [(4, P3), (8, P1)]


def test_layers_of_a_point_that_the_family_lacks_are_refused_as_that() -> None:
    bench = Bench()
    bench.layers(7, 0, 2, point=99, sent_s=bench.device_s, deadline_s=None)
    bench.layers(8, 0, point=99, sent_s=bench.device_s, deadline_s=None)
    assert [(r.frame_id, r.reason) for r in bench.rejects] == [
        (7, RejectReason.UNKNOWN_POINT),
        (8, RejectReason.UNKNOWN_POINT),
    ]
    assert "point 99, the family has 0 to 6" in bench.rejects[0].detail


def test_a_progressive_frame_does_not_take_the_id_of_a_whole_one_that_runs() -> None:
    bench = Bench()
    bench.say(b"a", Frame(7, WHOLE, 500_000, b"payload", sent_us=stamp_us(bench.device_s)))
    bench.layers(7, 0, sent_s=bench.device_s, deadline_s=None)
    assert "sent twice" in bench.rejects[0].detail
    bench.run_until(bench.now_s + 1.0)
    assert [result.point_index for result in bench.results] == [WHOLE]


def test_a_peer_of_version_2_cannot_send_a_progressive_frame_and_is_served_otherwise() -> None:
    bench = Bench(version=2)
    bench.say(b"a", Frame(7, P3, 100_000, b"payload"))
    assert [reject.reason for reject in bench.rejects] == [RejectReason.UNKNOWN_POINT]
    assert "which version 2 has not" in bench.rejects[0].detail
    bench.say(b"a", Frame(8, WHOLE, 100_000, b"payload"))
    bench.run_until(bench.now_s + 1.0)
    assert [result.frame_id for result in bench.results] == [8]


# --- bounds, and coming and going


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


def test_the_queue_counts_frames_that_wait_for_layers() -> None:
    bench = Bench(EdgeLimits(max_queued=2), b"a", b"b", b"c")
    sent_s = bench.device_s
    for peer in (b"a", b"b", b"c"):
        bench.layers(7, 0, sent_s=sent_s, deadline_s=sent_s + 0.5, peer=peer)
    assert [(peer, m.reason) for peer, m in bench.said if isinstance(m, Reject)] == [
        (b"c", RejectReason.BUSY)
    ]


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


# --- anything at all


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_every_progressive_frame_ends_in_exactly_one_answer_from_layers_that_came(
    seed: int,
) -> None:
    rng = random.Random(seed)
    peers = [b"a", b"b", b"c"]
    limits = EdgeLimits(
        max_in_flight=rng.randint(1, 4), max_batch=rng.randint(1, 4), max_queued=rng.randint(2, 9)
    )
    bench = Bench(limits, *peers)
    sent: Counter[tuple[bytes, int]] = Counter()
    growing: dict[bytes, tuple[int, int]] = {}  # frame and its next layer
    for frame_id in range(10, 90):
        peer = rng.choice(peers)
        for _ in range(rng.randint(1, 4)):
            now_s = bench.device_s
            budget_s = rng.choice([0.005, 0.05, 0.3])
            current, first = growing.get(peer, (0, 3))
            if first >= 3 or rng.random() < 0.2:
                current, first = frame_id, 0
                if sent[peer, frame_id]:
                    break
                sent[peer, frame_id] += 1
            num = rng.randint(1, 3 - first)
            bench.layers(
                current,
                first,
                num,
                sent_s=now_s - rng.choice([0.0, 0.02]),
                deadline_s=now_s + budget_s,
                peer=peer,
            )
            growing[peer] = current, first + num
            bench.run_until(bench.now_s + rng.choice([0.0, 0.001, 0.02]))
    bench.run_until(bench.now_s + 5.0)
    ended = Counter((to, m.frame_id) for to, m in bench.said if isinstance(m, Result | Reject))
    assert ended == +sent
    for item, _ in bench.items:
        assert item.point.prefix == len(item.layers)
    assert RejectReason.MALFORMED not in {reject.reason for reject in bench.rejects}
    stats = bench.session.stats(now_s=bench.now_s)
    assert stats.frames_queued == 0


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda frame_id, point, layer, num, last, sent_us, piece: Frame(
                frame_id,
                point,
                NO_BUDGET_US if sent_us % 2 else 50_000,
                b"x",
                layer,
                fragment=piece if num == 1 else 0,
                fragments=2 if num == 1 else 1,
                more_layers=(b"y",) * (num - 1),
                last=last,
                sent_us=sent_us,
            ),
            st.integers(10, 13),
            st.sampled_from([WHOLE, P1, P2, P3, 3, 99]),
            st.integers(0, 3),
            st.integers(1, 3),
            st.booleans(),
            st.integers(0, 2**32 - 1),
            st.integers(0, 1),
        ),
        max_size=30,
    )
)
def test_whatever_a_peer_sends_nothing_is_left_of_it_and_others_are_served(
    messages: list[Frame],
) -> None:
    bench = Bench(EdgeLimits(max_malformed=1000), b"odd", b"good")
    for message in messages:
        bench.say(b"odd", message)
        bench.run_until(bench.now_s + 0.001)
    now_s = bench.device_s
    bench.layers(7, 0, 3, sent_s=now_s, deadline_s=now_s + 0.5, peer=b"good")
    bench.run_until(bench.now_s + 2 * QUIET_S)
    answered = [m for peer, m in bench.said if peer == b"good" and isinstance(m, Result)]
    assert [result.point_index for result in answered] == [P3]
    bench.say(b"odd", Goodbye())
    assert bench.session._intake.held_bytes == 0
