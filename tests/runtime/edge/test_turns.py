"""In which order waiting frames get their turn."""

import random
from dataclasses import dataclass

import pytest

from headgate.runtime.edge.batch_times import GraphKey
from headgate.runtime.edge.turns import SERVED_TAU_S, Turns

CHEAP, DEAR = GraphKey("family", "cheap"), GraphKey("family", "dear")
COST_S = {CHEAP: 0.004, DEAR: 0.009}


@dataclass(frozen=True)
class Frame:
    peer: bytes
    arrived_s: float
    deadline_s: float
    key: GraphKey = CHEAP


def turns() -> Turns:
    return Turns(COST_S.__getitem__)


def test_equal_peers_go_by_deadline_and_of_equal_deadlines_the_first_given_goes_first() -> None:
    late, early = Frame(b"a", 0.0, 0.2), Frame(b"b", 0.01, 0.1)
    twin = Frame(b"c", 0.02, 0.1)
    assert turns().ordered([late, twin, early], now_s=0.02) == [twin, early, late]


def test_second_frame_of_a_peer_goes_behind_what_the_first_will_take() -> None:
    first, second = Frame(b"a", 0.0, 0.100, DEAR), Frame(b"a", 0.0, 0.101, DEAR)
    other = Frame(b"b", 0.0, 0.105)
    assert turns().ordered([first, second, other], now_s=0.0) == [first, other, second]


def test_a_peer_that_had_much_goes_later_until_that_is_long_ago() -> None:
    order = turns()
    order.served([b"a", b"a"], share_s=0.02, now_s=5.0)
    busy, idle = Frame(b"a", 5.0, 5.10), Frame(b"b", 5.0, 5.12)
    assert order.ordered([busy, idle], now_s=5.0) == [idle, busy]
    now_s = 5.0 + 2 * SERVED_TAU_S  # 0.04 s have become 0.005
    assert order.ordered([busy, idle], now_s=now_s) == [busy, idle]


def test_what_a_peer_had_decays_alike_whoever_else_was_served_meanwhile() -> None:
    one, other = turns(), turns()
    one.served([b"a"], share_s=0.05, now_s=0.0)
    other.served([b"a"], share_s=0.05, now_s=0.0)
    for step in range(1, 50):
        other.served([b"c"], share_s=0.001, now_s=0.1 * step)
    frames = [Frame(b"a", 5.0, 5.1), Frame(b"b", 5.0, 5.1 + 0.05 * 2.718281828**-5.0 + 1e-6)]
    assert one.ordered(frames, now_s=5.0) == other.ordered(frames, now_s=5.0) == frames
    hurried = [frames[0], Frame(b"b", 5.0, 5.1 + 0.05 * 2.718281828**-5.0 - 1e-6)]
    assert one.ordered(hurried, now_s=5.0) == other.ordered(hurried, now_s=5.0) == hurried[::-1]


def test_of_two_that_had_as_much_the_one_that_had_it_later_goes_later() -> None:
    order = turns()
    order.served([b"a"], share_s=0.02, now_s=5.0)
    order.served([b"b"], share_s=0.02, now_s=5.9)
    sooner, later = Frame(b"a", 5.9, 6.0), Frame(b"b", 5.9, 6.0)
    assert order.ordered([later, sooner], now_s=5.9) == [sooner, later]


@pytest.mark.parametrize("now_s", [0.0, 1e7])
def test_what_a_peer_has_counts_whatever_the_clock_shows_at_the_start(now_s: float) -> None:
    order = turns()
    order.served([b"a"], share_s=0.02, now_s=now_s)
    busy, idle = Frame(b"a", now_s, now_s + 0.1), Frame(b"b", now_s, now_s + 0.1)
    assert order.ordered([busy, idle], now_s=now_s) == [idle, busy]


def test_peers_served_long_ago_are_forgotten() -> None:
    order = turns()
    for peer in range(500):
        order.served([b"%d" % peer], share_s=0.01, now_s=0.1 * peer)
    assert len(order._had_s) < 200


def test_a_frame_without_a_deadline_lets_others_pass_for_a_second_and_no_longer() -> None:
    patient = Frame(b"a", 0.0, float("inf"))
    sooner, later = Frame(b"b", 0.9, 0.95), Frame(b"c", 1.0, 1.05)
    assert turns().ordered([later, patient, sooner], now_s=1.0) == [sooner, patient, later]


@pytest.mark.parametrize("seed", range(20))
def test_work_ahead_is_that_of_the_frames_whose_turn_is_before(seed: int) -> None:
    source = random.Random(seed)
    order = turns()
    for _ in range(20):
        order.served([b"%d" % source.randrange(6)], share_s=source.random() / 50, now_s=0.5)

    def frame() -> Frame:
        sent_s = 0.5 + source.random() / 20
        key = source.choice([CHEAP, DEAR])
        return Frame(b"%d" % source.randrange(6), sent_s, sent_s + source.random() / 5, key)

    waiting, new = [frame() for _ in range(source.randrange(12))], frame()
    ordered = order.ordered([*waiting, new], now_s=0.6)
    place = next(index for index, each in enumerate(ordered) if each is new)
    ahead_s = sum(COST_S[each.key] for each in ordered[:place])
    assert order.line(waiting, now_s=0.6).ahead_s(new) == pytest.approx(ahead_s)
