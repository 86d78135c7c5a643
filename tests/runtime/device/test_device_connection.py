"""What a device says to an edge, and what it makes of the edge's answers and silence."""

import numpy as np
import pytest

from headgate.profiles.errors import WireError
from headgate.profiles.manifest import PointKind
from headgate.runtime.records import Source
from headgate.runtime.session.events import Complain
from headgate.runtime.wire.messages import (
    Frame,
    Goodbye,
    Hello,
    Load,
    Message,
    NamedTensor,
    Probe,
    Reject,
    RejectReason,
    Result,
    Welcome,
)
from headgate.runtime.wire.wire import encode
from runtime.device_bench import HELPED, MANIFEST, SPLIT, WELCOME, Bench, result


def test_connection_is_greeted_and_frames_go_to_the_edge_once_welcomed() -> None:
    bench = Bench(SPLIT)
    bench.take(bench.session.connected(now_s=bench.now_s))
    assert isinstance(bench.sent[0], Hello)
    assert bench.sent[0].family_digest == MANIFEST.digest
    assert not bench.session.has_edge
    bench.receive(WELCOME)
    assert bench.session.has_edge
    bench.answer_probes()
    bench.capture()
    assert bench.compute().kind is PointKind.SPLIT
    assert isinstance(bench.sent[-1], Frame)


def test_greeting_is_repeated_until_it_is_answered() -> None:
    bench = Bench()
    bench.take(bench.session.connected(now_s=bench.now_s))
    for _ in range(3):
        bench.timer()
    assert [type(message) for message in bench.sent] == [Hello] * 4
    assert 3.0 < bench.now_s - 100.0 < 6.0


def test_lost_connection_ends_what_waits_and_the_next_frame_is_local() -> None:
    bench = Bench().welcomed()
    bench.capture()
    assert bench.compute().kind is PointKind.SPLIT
    bench.take(bench.session.disconnected(now_s=bench.now_s))
    assert bench.records[0].source is Source.LOCAL
    assert bench.records[0].reason == "edge disconnected"
    bench.capture()
    assert bench.compute().kind is PointKind.LOCAL


@pytest.mark.parametrize(
    "reason", [RejectReason.WRONG_FAMILY, RejectReason.WRONG_VERSION, RejectReason.UNAUTHORISED]
)
def test_refusal_is_told_and_not_questioned_on_its_connection(reason: RejectReason) -> None:
    bench = Bench()
    bench.take(bench.session.connected(now_s=bench.now_s))
    bench.receive(Reject(None, reason, "no"))
    refusal = bench.session.edge.refusal
    assert refusal is not None
    assert (refusal.reason, refusal.detail) == (reason.name.lower(), "no")
    bench.sent.clear()
    bench.capture()
    assert bench.compute().kind is PointKind.LOCAL
    bench.now_s += 60.0
    bench.take(bench.session.handle_timer(now_s=bench.now_s))
    assert bench.sent == []


def test_edge_that_comes_back_with_the_right_family_is_used_again() -> None:
    bench = Bench(SPLIT)
    bench.take(bench.session.connected(now_s=bench.now_s))
    bench.receive(Reject(None, RejectReason.WRONG_FAMILY, "no"))
    bench.take(bench.session.disconnected(now_s=bench.now_s))
    assert bench.session.edge.refusal is not None  # what the run ends with, if nobody comes
    bench.sent.clear()
    bench.welcomed()
    assert bench.session.edge.refusal is None
    bench.capture()
    assert bench.compute().kind is PointKind.SPLIT


def test_busy_edge_is_left_alone_for_a_while_and_longer_each_time() -> None:
    bench = Bench().welcomed()
    silences_s = []
    for _ in range(3):
        frame_id = bench.capture()
        assert bench.compute().kind is PointKind.SPLIT
        bench.receive(Reject(frame_id, RejectReason.BUSY, ""))
        began_s = bench.now_s
        while True:
            bench.now_s += 0.01
            bench.capture()
            if bench.computes[-1].point.kind is not PointKind.LOCAL:
                bench.next_id -= 1
                bench.compute()
                bench.receive(Reject(bench.next_id, RejectReason.LOST_REFERENCE, ""))
                bench.next_id += 1
                break
            bench.compute()
        silences_s.append(bench.now_s - began_s)
    assert silences_s[0] < silences_s[1] < silences_s[2] < 0.5


def test_edge_that_forgot_us_is_greeted_at_once_and_one_that_leaves_a_little_later() -> None:
    bench = Bench(SPLIT).welcomed()
    bench.capture()
    bench.compute()
    bench.sent.clear()
    bench.receive(Reject(None, RejectReason.UNKNOWN_PEER, ""))
    assert [type(message) for message in bench.sent] == [Hello]
    assert bench.records[0].source is Source.LOCAL
    bench.receive(WELCOME)
    bench.sent.clear()
    bench.receive(Goodbye())
    assert bench.sent == []
    assert not bench.session.has_edge
    bench.timer()
    assert [type(message) for message in bench.sent] == [Hello]


def test_probes_stop_when_frames_stop() -> None:
    bench = Bench().welcomed()
    bench.capture()
    bench.compute()
    bench.receive(result(0))
    for _ in range(100):
        if bench.session.next_timer_s() is None:
            break
        bench.timer()
        bench.answer_probes()
    assert bench.session.next_timer_s() is None


@pytest.mark.parametrize(
    "message",
    [
        Hello((1,), MANIFEST.digest, 1000),
        Probe(1),
        Frame(0, 0, 0, b"x"),
        Welcome(3, "00" * 32, 1000, 1),
    ],
)
def test_what_no_proper_edge_says_is_a_wire_error(message: Message) -> None:
    bench = Bench().welcomed()
    with pytest.raises(WireError):
        bench.session.received(encode(message), now_s=bench.now_s)


ZEROS = NamedTensor("x", np.zeros(2, np.float32))
NAN = NamedTensor("probabilities", np.array([0.5, np.nan], np.float32))


@pytest.mark.parametrize(
    ("tensor", "message"), [(ZEROS, "expected 'probabilities'"), (NAN, "not finite")]
)
def test_an_answer_that_cannot_be_used_ends_its_frame_as_none(
    tensor: NamedTensor, message: str
) -> None:
    bench = Bench(SPLIT).welcomed()
    frame_id = bench.capture()
    bench.compute()
    bad = Result(frame_id, 0, 0, 0, 0, 0, 0, Load(0, 0), (tensor,))
    effects = bench.session.received(encode(bad), now_s=bench.now_s)
    (complaint,) = (effect.reason for effect in effects if isinstance(effect, Complain))
    assert message in complaint
    bench.take(effects)
    assert [(r.source, r.reason) for r in bench.records] == [
        (Source.LOCAL, "edge rejected: failed")
    ]
    assert bench.session.received(encode(bad), now_s=bench.now_s) == []  # it comes once more


def test_an_edge_whose_answers_cannot_be_used_is_asked_now_and_then_only() -> None:
    """Pictures, of which the device has no answer while it waits: each would be lost."""
    bench = Bench(HELPED).welcomed()
    num_sent = 0
    for _ in range(300):  # at 30 frames/s
        frame_id = bench.capture()
        while bench.computes:
            bench.compute()
        if any(isinstance(m, Frame) and m.frame_id == frame_id for m in bench.sent):
            num_sent += 1
            bench.now_s += 0.02
            bench.receive(Result(frame_id, 0, 0, 0, 0, 0, 0, Load(0, 0), (NAN,)))
            while bench.computes:
                bench.compute()
        bench.now_s += 0.033
        bench.answer_probes()
    assert 1 <= num_sent < 30
    assert len(bench.records) == 300
    assert {record.source for record in bench.records} == {Source.LOCAL}


@pytest.mark.filterwarnings("error")
def test_scores_whose_sum_is_too_large_are_an_answer_without_a_warning() -> None:
    bench = Bench(SPLIT).welcomed()
    frame_id = bench.capture()
    bench.compute()
    scores = NamedTensor("probabilities", np.array([3e38, 3e38], np.float32))
    bench.receive(Result(frame_id, 0, 0, 0, 0, 0, 0, Load(0, 0), (scores,)))
    assert bench.records[0].source is Source.EDGE
