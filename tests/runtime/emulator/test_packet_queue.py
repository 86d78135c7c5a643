"""One direction of a link of packets, in virtual time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headgate.profiles.trace import Trace
from headgate.runtime.emulator.packet_queue import PacketQueue
from headgate.runtime.emulator.shaper import Window

KILOBYTE = bytes(1000)  # a millisecond of 8 Mbit/s


def trace(*rates_mbps: float, step_s: float = 1.0) -> Trace:
    return Trace(
        "made",
        times_s=tuple(step_s * each for each in range(len(rates_mbps))),
        rates_bps=tuple(1e6 * rate for rate in rates_mbps),
        duration_s=step_s * len(rates_mbps),
    )


def test_packets_come_out_whole_in_order_and_late() -> None:
    queue = PacketQueue(trace(8.0), delay_s=0.01)
    queue.push(b"a" * 1000, now_s=0.0)
    queue.push(b"b" * 1000, now_s=0.0)
    assert queue.next_timer_s() == pytest.approx(0.011)
    assert queue.pop_due(now_s=0.0109) == []
    assert queue.pop_due(now_s=0.0111) == [b"a" * 1000]
    assert queue.next_timer_s() == pytest.approx(0.012)
    assert queue.pop_due(now_s=1.0) == [b"b" * 1000]
    assert queue.next_timer_s() is None


def test_a_link_that_was_idle_saves_nothing_up() -> None:
    queue = PacketQueue(trace(8.0))
    queue.push(KILOBYTE, now_s=0.5)
    assert queue.next_timer_s() == pytest.approx(0.501)


def test_a_packet_meets_the_rates_of_the_time_at_which_it_is_served() -> None:
    queue = PacketQueue(trace(8.0, 0.8))
    queue.push(KILOBYTE, now_s=0.9995)  # half of it at a tenth of the rate
    assert queue.next_timer_s() == pytest.approx(1.005)


def test_a_full_queue_drops_what_comes_and_keeps_what_waits() -> None:
    queue = PacketQueue(trace(8.0), queue_bytes=2500)
    for _ in range(4):
        queue.push(KILOBYTE, now_s=0.0)
    queue.push(bytes(500), now_s=0.0)  # a small one fits where a large one does not
    assert queue.counts.overflowed == 2
    queue.push(KILOBYTE, now_s=0.0011)  # one has left
    assert [len(packet) for packet in queue.pop_due(now_s=1.0)] == [1000, 1000, 500, 1000]
    assert (queue.counts.pushed, queue.counts.delivered) == (6, 4)


def test_packets_in_the_pipe_take_no_room_in_the_queue() -> None:
    queue = PacketQueue(trace(8.0), delay_s=1.0, queue_bytes=1000)
    for at_s in (0.0, 0.0015, 0.003):
        queue.push(KILOBYTE, now_s=at_s)
    assert len(queue.pop_due(now_s=2.0)) == 3


def test_a_queue_takes_one_packet_whatever_its_size() -> None:
    queue = PacketQueue(trace(8.0), queue_bytes=10)
    queue.push(KILOBYTE, now_s=0.0)
    queue.push(KILOBYTE, now_s=0.0)
    assert queue.pop_due(now_s=1.0) == [KILOBYTE]


def test_a_dead_link_has_no_timer_and_drops_what_it_has_no_room_for() -> None:
    queue = PacketQueue(trace(0.0), queue_bytes=2000)
    for _ in range(3):
        queue.push(KILOBYTE, now_s=0.0)
    assert queue.next_timer_s() is None
    assert queue.pop_due(now_s=1e9) == []
    assert queue.counts.overflowed == 1


def test_chance_takes_what_it_takes_and_the_link_carries_the_others_as_fast() -> None:
    lost: Iterator[bool] = iter([False, True, False])
    queue = PacketQueue(trace(8.0), loses=lambda: next(lost))
    for name in (b"a", b"b", b"c"):
        queue.push(1000 * name, now_s=0.0)
    assert queue.pop_due(now_s=0.0021) == [b"a" * 1000, b"c" * 1000]
    assert queue.counts.lost == 1


def test_in_a_cut_all_is_lost_that_comes_in_or_would_come_out() -> None:
    queue = PacketQueue(None, delay_s=0.01, cuts=(Window(1.0, 1.0),))
    queue.push(b"before", now_s=0.98)
    queue.push(b"on its way", now_s=0.995)
    queue.push(b"in it", now_s=1.5)
    queue.push(b"at its end", now_s=2.0)
    assert queue.pop_due(now_s=3.0) == [b"before", b"at its end"]
    assert queue.counts.lost == 2


def test_in_a_stall_nothing_moves_and_nothing_is_lost() -> None:
    queue = PacketQueue(trace(8.0), delay_s=0.01, stalls=(Window(1.0, 1.0),))
    queue.push(b"a" * 1000, now_s=0.985)  # served, and in the pipe when the stall begins
    queue.push(b"b" * 1000, now_s=0.9995)  # half served
    queue.push(b"c" * 1000, now_s=1.5)
    assert queue.pop_due(now_s=1.99) == [b"a" * 1000]
    assert queue.next_timer_s() == pytest.approx(2.0105)
    assert queue.pop_due(now_s=2.0106) == [b"b" * 1000]
    assert queue.next_timer_s() == pytest.approx(2.0115)


def test_a_link_without_a_limit_only_delays() -> None:
    queue = PacketQueue(None, delay_s=0.02)
    queue.push(KILOBYTE, now_s=0.0)
    queue.push(KILOBYTE, now_s=0.0)
    assert len(queue.pop_due(now_s=0.02)) == 2
