"""Layers in virtual time: what goes when, over a link that the test makes up."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headgate.runtime.choice.backlog import Backlog, Step
from headgate.runtime.choice.layer_worth import LayerPlan
from headgate.runtime.link.forecast import Forecast
from headgate.runtime.link.outlook import Outlook
from headgate.runtime.session.layer_sender import (
    LayerSender,
    OutgoingFrame,
    Release,
    message_bytes,
    room_bytes,
)

SIZES = (2000, 3000, 5000, 10_000, 30_000)
QUALITIES = (0.68, 0.705, 0.73, 0.75, 0.772)
PERIOD_S, SLA_S, EDGE_S, DELAY_S = 1 / 30, 0.1, 0.002, 0.02
BACKLOG = Backlog(
    tuple(Step(sum(SIZES[: i + 1]), QUALITIES[i]) for i in range(len(SIZES))),
    starts_s=0.003,
    window_s=0.076,
    period_s=PERIOD_S,
    fallback=0.6,
)
PLAN = LayerPlan(QUALITIES, 0.55, PERIOD_S, BACKLOG, num_steps=5)


def outlook(
    mbps: float, *, now_s: float = 0.0, ahead_bytes: int = 0, busy_since_s: float | None = None
) -> Outlook:
    """A link that is sure of its rate."""
    return Outlook(
        now_s=now_s,
        delay_s=DELAY_S,
        forecast=Forecast(level=math.log(mbps * 1e6), residuals=(0.0,)),
        ahead_bytes=ahead_bytes,
        busy_since_s=now_s if busy_since_s is None else busy_since_s,
        age_s=0.0,
    )


def frame(
    frame_id: int, *, captured_s: float = 0.0, sizes: tuple[int, ...] = SIZES
) -> OutgoingFrame:
    plan = replace(PLAN, qualities=QUALITIES[: len(sizes)])
    return OutgoingFrame(frame_id, captured_s, captured_s + SLA_S, EDGE_S, sizes, plan)


def all_releases(sender: LayerSender, link: Outlook, *, now_s: float = 0.0) -> list[Release]:
    """Everything of a lone frame that is released before anything arrives."""
    found: list[Release] = []
    while (release := sender.next_release(link, now_s=now_s)) is not None:
        found.append(release)
        whole = sum(SIZES[release.layer : release.layer + release.num_layers])
        ahead_bytes = link.ahead_bytes + whole // release.fragments + 64
        link = replace(link, ahead_bytes=ahead_bytes)
    return found


def test_layers_go_best_first_in_messages_that_are_neither_tiny_nor_huge() -> None:
    sender = LayerSender()
    sender.add(frame(1))
    link = outlook(100.0)
    releases = all_releases(sender, link)
    assert [r.layer for r in releases] == sorted(r.layer for r in releases)
    assert releases == [
        Release(1, 0, 3),  # 10 kB: small layers share a message
        Release(1, 3, 1),
        Release(1, 4, 1, fragment=0, fragments=2, last=True),
        Release(1, 4, 1, fragment=1, fragments=2, last=True),
    ]
    assert sender.next_release(link, now_s=0.0) is None


def test_no_more_is_on_the_link_than_keeps_it_busy_for_a_round_trip() -> None:
    sender = LayerSender()
    sender.add(frame(1))
    room = room_bytes(outlook(8.0))
    assert room == pytest.approx(28_000)  # 8 Mbit/s for the delay and 8 ms
    assert sender.next_release(outlook(8.0, ahead_bytes=int(room) + 1), now_s=0.0) is None
    assert sender.next_release(outlook(8.0, ahead_bytes=int(room)), now_s=0.0) is not None


def test_nothing_leaves_that_cannot_be_in_time() -> None:
    sender = LayerSender()
    sender.add(frame(1))
    late_s = SLA_S - DELAY_S - EDGE_S
    assert sender.next_release(outlook(8.0, now_s=late_s), now_s=late_s) is None
    assert len(sender) == 0


def test_frame_stops_at_the_layer_that_would_be_late_and_says_so() -> None:
    sender = LayerSender()
    sender.add(frame(1))
    now_s = 0.06  # 12.5 ms until its layers must be through: 6 kB at 4 Mbit/s
    releases = all_releases(sender, outlook(4.0, now_s=now_s), now_s=now_s)
    assert {r.layer for r in releases} == {0, 1}
    assert releases[-1].last


def test_newer_frame_takes_over_where_the_older_ones_rest_is_worth_less() -> None:
    sender = LayerSender()
    sender.add(frame(1))
    link = outlook(2.4)  # 10 kB a period: as much as three layers
    first = all_releases(sender, link, now_s=0.003)
    assert {r.frame_id for r in first} == {1}
    sender = LayerSender()
    sender.add(frame(1))
    assert sender.next_release(link, now_s=0.003) is not None
    sender.add(frame(2, captured_s=PERIOD_S))
    now_s = PERIOD_S + 0.003
    busy = replace(link, now_s=now_s, ahead_bytes=7000, busy_since_s=now_s)
    releases = [r for _ in range(20) if (r := sender.next_release(busy, now_s=now_s)) is not None]
    by_frame = [r.frame_id for r in releases]
    assert by_frame == sorted(by_frame)
    assert 2 in by_frame
    assert max(r.layer + r.num_layers for r in releases if r.frame_id == 1) < len(SIZES)


def test_frame_in_fragments_is_given_up_between_two_of_them() -> None:
    sender = LayerSender()
    sender.add(frame(1, sizes=(2000, 60_000)))
    link = outlook(10.0)
    sender.next_release(link, now_s=0.0)
    second = sender.next_release(link, now_s=0.0)
    assert second is not None
    assert (second.layer, second.fragment) == (1, 0)
    assert second.fragments > 2
    sender.add(frame(2, captured_s=PERIOD_S))
    slow = outlook(0.5, now_s=0.04)  # it will not come through any more
    third = sender.next_release(slow, now_s=0.04)
    assert third is not None
    assert third.frame_id == 2


def test_layer_of_a_few_kilobytes_goes_as_one_message_however_slow_the_link() -> None:
    """Half of it would be worth nothing, and each half has a header."""
    sender = LayerSender()
    sender.add(frame(1, sizes=(4000, 30_000)))
    first = sender.next_release(outlook(1.0), now_s=0.0)
    assert first is not None
    assert (first.layer, first.fragments) == (0, 1)


def test_dropped_frame_sends_no_more() -> None:
    sender = LayerSender()
    sender.add(frame(1))
    sender.drop(1)
    assert sender.next_release(outlook(8.0), now_s=0.0) is None


def test_what_waits_is_what_was_worth_sending_and_has_not_left() -> None:
    sender = LayerSender()
    assert sender.planned_bytes == 0
    planned = replace(frame(1), plan=replace(PLAN, num_steps=3))
    sender.add(planned)
    assert sender.planned_bytes == sum(SIZES[:3])
    assert sender.first_bytes == SIZES[0]
    first = sender.next_release(outlook(10.0), now_s=0.0)
    assert first is not None
    assert sender.planned_bytes == sum(SIZES[first.num_layers : 3])
    assert sender.first_bytes == 0
    sender.clear()
    assert sender.planned_bytes == 0


def test_fragments_that_have_left_do_not_wait_any_more() -> None:
    sender = LayerSender()
    alone = frame(1, sizes=(60_000,))
    sender.add(replace(alone, plan=replace(alone.plan, num_steps=1)))
    first = sender.next_release(outlook(40.0), now_s=0.0)
    assert first is not None
    assert first.fragments > 1
    assert sender.planned_bytes == 60_000 - 60_000 // first.fragments
    assert sender.first_bytes == sender.planned_bytes


def test_frame_that_is_not_worth_it_waits_for_news_while_none_follows() -> None:
    sender = LayerSender()
    sender.add(frame(1))
    assert sender.next_release(outlook(0.05), now_s=0.003) is None
    assert sender.next_release(outlook(5.0, now_s=0.01), now_s=0.01) is not None


@settings(max_examples=60, deadline=None)
@given(
    rates=st.lists(st.floats(0.2, 60.0), min_size=3, max_size=12),
    sizes=st.lists(st.integers(1, 40_000), min_size=1, max_size=5),
    dropped=st.sets(st.integers(0, 9)),
)
@example(rates=[*[1.0] * 11, 0.5], sizes=[1, 1, 3700, 482, 4], dropped=set())
def test_nothing_is_lost_sent_twice_or_out_of_order(
    rates: list[float], sizes: list[int], dropped: set[int]
) -> None:
    """A link of changing rate acknowledges in order; frames come, and some are dropped."""
    sender = LayerSender()
    out: list[tuple[float, int]] = []  # when each arrives, and its bytes
    log: list[Release] = []
    now_s = free_s = 0.0
    for step in range(10 * 12):
        now_s = step * 0.003
        frame_id, beginning = divmod(step, 11)
        if beginning == 0 and frame_id < 10:
            sender.add(frame(frame_id, captured_s=now_s, sizes=tuple(sizes)))
        if beginning == 7 and frame_id in dropped:
            sender.drop(frame_id)
        out = [(arrives_s, size) for arrives_s, size in out if arrives_s + DELAY_S > now_s]
        mbps = rates[step % len(rates)]
        while True:
            ahead = sum(size for _, size in out)
            since_s = now_s if not out else min(now_s, out[0][0] - 8 * out[0][1] / (mbps * 1e6))
            link = outlook(mbps, now_s=now_s, ahead_bytes=ahead, busy_since_s=since_s)
            release = sender.next_release(link, now_s=now_s)
            if release is None:
                break
            assert ahead <= room_bytes(link)
            whole = sum(sizes[release.layer : release.layer + release.num_layers])
            size = whole // release.fragments + 64
            all_at_once = release.layer == 0 and release.last  # the edge waits for no second one
            assert release.num_layers == 1 or all_at_once or whole <= message_bytes(link)
            free_s = max(free_s, now_s) + 8 * size / (mbps * 1e6)
            out.append((free_s, size))
            log.append(release)
    ids = [r.frame_id for r in log]
    assert ids == sorted(ids)
    for each in set(ids):
        mine = [r for r in log if r.frame_id == each]
        assert (mine[0].layer, mine[0].fragment) == (0, 0)
        for before, after in pairwise(mine):
            assert not before.last or before.fragment + 1 < before.fragments
            if before.fragment + 1 < before.fragments:
                assert (after.layer, after.fragment) == (before.layer, before.fragment + 1)
                assert (after.fragments, after.last) == (before.fragments, before.last)
            else:
                assert (after.layer, after.fragment) == (before.layer + before.num_layers, 0)


def test_what_was_planned_goes_at_once_before_a_frame_that_goes_whole() -> None:
    sender = LayerSender()
    sender.add(replace(frame(1), plan=replace(PLAN, num_steps=3)))
    busy = outlook(8.0, ahead_bytes=40_000)
    assert sender.next_release(busy, now_s=0.0) is None
    assert sender.rush(busy, now_s=0.0) == [Release(1, 0, 3, last=True)]
    assert len(sender) == 0


def test_what_is_late_or_was_not_worth_it_is_not_rushed() -> None:
    sender = LayerSender()
    sender.add(replace(frame(1), plan=replace(PLAN, num_steps=0)))
    sender.add(replace(frame(2), plan=replace(PLAN, num_steps=3)))
    assert sender.rush(outlook(0.5, ahead_bytes=20_000), now_s=0.0) == []
    assert len(sender) == 0


def test_a_layer_that_has_begun_is_rushed_to_its_end() -> None:
    sender = LayerSender()
    alone = frame(1, sizes=(60_000,))
    sender.add(replace(alone, plan=replace(alone.plan, num_steps=1)))
    first = sender.next_release(outlook(40.0), now_s=0.0)
    assert first is not None
    rushed = sender.rush(outlook(40.0), now_s=0.0)
    assert [r.fragment for r in (first, *rushed)] == list(range(first.fragments))


def test_where_little_time_is_left_layers_go_in_one_message() -> None:
    sender = LayerSender()
    sizes, qualities = (4000, 1000), (0.5, 0.62)
    plan = replace(PLAN, qualities=qualities, quality=0.4, num_steps=2)
    sender.add(replace(frame(1, sizes=sizes), plan=plan))
    in_time_s = SLA_S - DELAY_S - EDGE_S - 0.022  # 20.6 ms for both, and the edge's margin is 3.5
    link = outlook(2.0, now_s=in_time_s)
    assert sender.next_release(link, now_s=in_time_s) == Release(1, 0, 2, last=True)
    assert sender.next_release(link, now_s=in_time_s) is None
