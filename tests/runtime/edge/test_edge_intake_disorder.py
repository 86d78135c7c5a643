"""Layers that come in no order, or make no sense, cost at most their own frame."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.runtime.edge.edge_events import EdgeLimits
from headgate.runtime.edge.ripening import QUIET_S
from headgate.runtime.wire.messages import (
    NO_BUDGET_US,
    Frame,
    Goodbye,
    Reject,
    RejectReason,
    Result,
    stamp_us,
)
from runtime.layered import P1, P2, P3, WHOLE, layers
from runtime.layered_edge import Bench


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
