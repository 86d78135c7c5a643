"""What is asked of an outlook, with a forecast that the test makes up."""

import math
from dataclasses import replace

import pytest

from headgate.runtime.link.forecast import Forecast
from headgate.runtime.link.outlook import Outlook

RESIDUALS = [i / 20 - 0.5 for i in range(21)]  # about 8 Mbit/s: from 5 to 13


def outlook(*, ahead_bytes: int = 0, busy_since_s: float = 10.0) -> Outlook:
    return Outlook(
        now_s=10.0,
        delay_s=0.02,
        forecast=Forecast(math.log(8e6), RESIDUALS),
        ahead_bytes=ahead_bytes,
        busy_since_s=busy_since_s,
        age_s=0.0,
    )


def test_no_message_is_on_time_if_the_delay_alone_takes_longer() -> None:
    assert outlook().on_time(1, by_s=10.02) == 0.0
    assert outlook().on_time(1, by_s=10.05, leaving_s=10.04) == 0.0


def test_more_bytes_are_less_likely_on_time_and_so_are_those_behind_others() -> None:
    chances = [
        outlook().on_time(num_bytes, by_s=10.05) for num_bytes in range(5_000, 60_000, 5_000)
    ]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] > 0.9
    assert chances[-1] == 0.0
    behind = outlook(ahead_bytes=20_000)
    assert behind.on_time(10_000, by_s=10.05) == outlook().on_time(30_000, by_s=10.05)


def test_what_is_ahead_is_drained_when_a_message_right_behind_it_would_be_on_time() -> None:
    busy = outlook(ahead_bytes=30_000, busy_since_s=9.99)
    assert busy.drained(30_000, by_s=10.045) == pytest.approx(busy.on_time(0, by_s=10.045))
    assert 0 < busy.drained(30_000, by_s=10.045) < busy.drained(15_000, by_s=10.045)
    assert busy.drained(1, by_s=10.0) == 0.0  # before the delay is over


def waiting_for_turns() -> Outlook:
    """10 ms for a turn, whatever is sent; taken for a rate by messages of 500 B: 0.4 Mbit/s."""
    return replace(
        outlook(),
        forecast=Forecast(math.log(0.4e6), [0.0]),
        timing=Forecast(math.log(8 * 24_500 / 0.01), RESIDUALS, floor_bytes=24_000),
    )


def test_with_a_floor_the_chance_hardly_falls_with_size() -> None:
    chances = [waiting_for_turns().on_time(size, by_s=10.035) for size in (500, 1500, 3000)]
    assert chances[0] - chances[2] < 0.15
    assert replace(waiting_for_turns(), timing=None).on_time(3000, by_s=10.035) == 0.0


def test_with_a_floor_larger_messages_hold_up_the_link_for_hardly_longer() -> None:
    turns = waiting_for_turns()
    assert turns.counted_bytes(500) == pytest.approx(500)
    assert turns.counted_bytes(3000) == pytest.approx(500 * 27_000 / 24_500)
    assert replace(turns, timing=None).counted_bytes(3000) == 3000
    assert turns.counted_bytes(100) == 100  # never more than it has


def test_what_has_not_left_yet_leaves_now_and_not_when_the_link_became_free() -> None:
    """A link idles between the last message's arrival and the news of it."""
    idle = outlook(ahead_bytes=20_000, busy_since_s=9.9)  # 20 ms at 8 Mbit/s, 100 ms ago
    behind = replace(idle, unsent_bytes=10_000)
    assert behind.on_time(10_000, by_s=10.05) == outlook().on_time(20_000, by_s=10.05)
    busy = outlook(ahead_bytes=20_000)
    behind = replace(busy, unsent_bytes=10_000)
    assert behind.on_time(5_000, by_s=10.06) == busy.on_time(15_000, by_s=10.06)


def test_a_probe_takes_a_twentieth_second_at_most_but_where_messages_wait_for_a_turn() -> None:
    link = outlook()
    assert link.probe_bytes(1e6) == pytest.approx(8e6 / 8 / 20)
    assert link.probe_bytes(1000) == 1000
    in_turns = replace(link, timing=Forecast(math.log(8e6), RESIDUALS))
    assert in_turns.probe_bytes(1e6) == 1e6  # a smaller one would only look slower


def test_what_fits_into_the_turn_of_those_ahead_holds_up_nobody() -> None:
    fits = replace(waiting_for_turns(), turn_bytes=3000)
    assert fits.counted_bytes(3000) == 0.0
    behind = replace(fits, ahead_bytes=2000)
    assert behind.counted_bytes(1000) == 0.0
    assert behind.counted_bytes(1500) > 0.0
    full = replace(fits, ahead_bytes=3000)
    assert full.counted_bytes(1000) == waiting_for_turns().counted_bytes(1000)


def test_without_a_floor_no_turn_is_believed_in() -> None:
    assert replace(outlook(), turn_bytes=3000).counted_bytes(1000) == 1000


def test_a_probe_is_clear_of_the_noise_unless_that_takes_too_long() -> None:
    quiet = replace(outlook(), noise_s=0.001)
    assert quiet.clear_bytes() == pytest.approx(8e6 / 8 * 0.008)
    noisy = replace(outlook(), noise_s=0.1)
    assert noisy.clear_bytes() == pytest.approx(8e6 / 8 / 20)
