"""Slices of large frames, their arrivals, and the rate these show."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.runtime.wire.bursts import (
    FIRST_WINDOW_BYTES,
    MAX_SLICES,
    MESSAGE_OVERHEAD_BYTES,
    MIN_SLICES,
    TOGETHER_S,
    ArrivalMeter,
    BurstPace,
    TcpWindow,
    pace,
    slice_bytes,
)
from headgate.runtime.wire.messages import NO_BURST, Burst


def metered(*arrivals: tuple[float, int]) -> Burst:
    """Return what a meter says of slices with that payload at those times."""
    meter = ArrivalMeter()
    for now_s, num_bytes in arrivals:
        meter.add(num_bytes, now_s=now_s)
    return meter.burst()


@pytest.mark.parametrize(
    ("payload_bytes", "expected"),
    [(1, 1), (9_999, 9_999), (10_000, 2_000), (14_000, 2_000), (20_000, 2_000), (64_000, 6_400)],
)
def test_frames_of_10_kb_and_more_are_sliced(payload_bytes: int, expected: int) -> None:
    assert slice_bytes(payload_bytes) == expected


@given(st.integers(1, 1 << 22))
def test_a_frame_is_whole_or_has_a_bounded_number_of_slices(payload_bytes: int) -> None:
    num_slices = -(-payload_bytes // slice_bytes(payload_bytes))
    assert num_slices == 1 or MIN_SLICES <= num_slices <= MAX_SLICES


def test_one_arrival_says_nothing() -> None:
    assert metered() == NO_BURST
    assert metered((1.0, 2000)) == NO_BURST
    assert metered((1.0, 2000), (1.0 + TOGETHER_S / 2, 2000)) == NO_BURST


def test_slices_read_together_are_one_arrival_at_the_time_of_the_last() -> None:
    """Four slices come in a first read, four more 8 ms later: 8 kB in 8 ms."""
    together = [(1.0 + i * 0.0001, 2000 - MESSAGE_OVERHEAD_BYTES) for i in range(4)]
    later = [(1.0083 + i * 0.0001, 2000 - MESSAGE_OVERHEAD_BYTES) for i in range(4)]
    burst = metered(*together, *later)
    assert (burst.arrivals, burst.num_bytes) == (2, 8000)
    assert burst.spread_us == pytest.approx(8300, abs=1)
    assert burst.largest_gap_us == pytest.approx(8000, abs=1)


def test_a_steady_link_shows_its_rate_whatever_waited_before() -> None:
    """2064 bytes every 4 ms are 4.128 Mbit/s."""
    burst = metered(*[(7.0 + 0.004 * i, 2000) for i in range(5)])
    found = pace(burst, sent_bytes=5 * 2064, window_bytes=FIRST_WINDOW_BYTES, delay_s=0.02)
    assert found == BurstPace(4 * 2064, 0.016, held_up=False)


def test_few_arrivals_or_very_close_ones_say_nothing() -> None:
    assert pace(NO_BURST, sent_bytes=20_000, window_bytes=FIRST_WINDOW_BYTES, delay_s=0.02) is None
    two = Burst(arrivals=2, spread_us=9000, num_bytes=8000, largest_gap_us=9000)
    assert pace(two, sent_bytes=20_000, window_bytes=FIRST_WINDOW_BYTES, delay_s=0.02) is None
    quick = Burst(arrivals=4, spread_us=900, num_bytes=8000, largest_gap_us=300)
    assert pace(quick, sent_bytes=20_000, window_bytes=FIRST_WINDOW_BYTES, delay_s=0.02) is None


@pytest.mark.parametrize(
    ("sent_bytes", "delay_s", "held_up"),
    [
        (FIRST_WINDOW_BYTES + 1, 0.05, True),  # waited for acknowledgements
        (FIRST_WINDOW_BYTES, 0.05, False),  # such a frame needs none: it was the link
        (FIRST_WINDOW_BYTES + 1, 0.2, False),  # too short a wait for this path
    ],
)
def test_a_wait_of_a_round_trip_inside_a_large_frame_is_the_senders(
    sent_bytes: int, delay_s: float, held_up: bool
) -> None:
    times_s = [0.001 * i for i in range(7)] + [0.046 + 0.001 * i for i in range(7)]
    found = pace(
        metered(*[(t, 2000) for t in times_s]),
        sent_bytes=sent_bytes,
        window_bytes=FIRST_WINDOW_BYTES,
        delay_s=delay_s,
    )
    assert found is not None
    assert found.held_up is held_up


def test_a_frame_of_three_and_a_half_windows_waits_twice_and_is_known_by_it() -> None:
    """50 kB at 16 Mbit/s and 50 ms, from a first window: 14 kB, 28 kB, the rest; as measured."""
    times_s = [0.0, 0.0025, 0.0445, 0.047, 0.0495, 0.052, 0.0945, 0.097, 0.0995, 0.102]
    burst = metered(*[(t, 5000) for t in times_s])
    found = pace(burst, sent_bytes=50_640, window_bytes=FIRST_WINDOW_BYTES, delay_s=0.05)
    assert found is not None
    assert found.held_up
    again = pace(burst, sent_bytes=50_640, window_bytes=50_640, delay_s=0.05)
    assert again is not None
    assert not again.held_up  # the window held such a frame before: it was the link


def test_the_window_grows_with_what_gets_through_and_shrinks_in_a_pause() -> None:
    window = TcpWindow()
    assert window.sent(delay_s=0.05, now_s=0.0) == FIRST_WINDOW_BYTES
    window.answered(2000)
    window.answered(50_000)
    assert window.sent(delay_s=0.05, now_s=0.2) == 50_000
    assert window.sent(delay_s=0.05, now_s=0.4) == 50_000
    assert window.sent(delay_s=0.05, now_s=0.66) == FIRST_WINDOW_BYTES


def test_a_slow_link_does_not_look_like_a_small_window() -> None:
    """20 ms from slice to slice is the delay there and back, but each gap is like the others."""
    burst = metered(*[(0.02 * i, 2000) for i in range(10)])
    found = pace(burst, sent_bytes=20_640, window_bytes=FIRST_WINDOW_BYTES, delay_s=0.02)
    assert found is not None
    assert not found.held_up
