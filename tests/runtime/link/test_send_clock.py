"""Stamps of a device on the edge's clock."""

import pytest

from headgate.runtime.link.send_clock import BUCKET_S, SendClock

MODULUS_S = 4294.967296


def stamp(device_s: float) -> int:
    return round(device_s * 1e6) % (1 << 32)


def test_a_message_that_queued_is_dated_back_to_when_it_would_have_come() -> None:
    clock = SendClock()
    assert clock.heard(stamp(5.0), now_s=100.02) == pytest.approx(100.02)
    # 0.3 s in the queue of the uplink, on top of the 0.02 s of the first
    assert clock.heard(stamp(6.0), now_s=101.32) == pytest.approx(101.02)


def test_a_quicker_message_shows_that_the_first_had_waited() -> None:
    clock = SendClock()
    clock.heard(stamp(5.0), now_s=100.5)
    assert clock.heard(stamp(6.0), now_s=101.01) == pytest.approx(101.01)
    assert clock.heard(stamp(7.0), now_s=102.5) == pytest.approx(102.01)


def test_the_stamps_may_begin_anew() -> None:
    clock = SendClock()
    clock.heard(stamp(MODULUS_S - 0.5), now_s=100.0)
    assert clock.heard(stamp(MODULUS_S + 0.5), now_s=101.2) == pytest.approx(101.0)
    assert clock.heard(stamp(MODULUS_S - 0.2), now_s=101.3) == pytest.approx(100.3)


def test_the_least_delay_is_forgotten_after_ten_seconds_and_not_before_five() -> None:
    """A route that became 0.1 s longer is taken for a queue until the window has passed."""
    clock = SendClock()
    clock.heard(stamp(0.0), now_s=100.0)
    dated = {}
    for tick in range(1, 121):
        device_s = tick / 10
        dated[tick] = clock.heard(stamp(device_s), now_s=100.1 + device_s) - device_s
    assert dated[49] == pytest.approx(100.0)
    assert dated[round(20 * BUCKET_S)] == pytest.approx(100.1)
    assert dated[120] == pytest.approx(100.1)


def test_after_a_long_silence_nothing_of_before_counts() -> None:
    clock = SendClock()
    clock.heard(stamp(0.0), now_s=100.0)
    assert clock.heard(stamp(60.0), now_s=160.2) == pytest.approx(160.2)


@pytest.mark.parametrize("lie_s", [-2000.0, 1000.0, 2100.0])
def test_no_stamp_dates_a_message_later_than_it_came(lie_s: float) -> None:
    clock = SendClock()
    for tick in range(200):
        device_s = tick / 10 + (lie_s if tick % 3 else 0.0)
        assert clock.heard(stamp(device_s), now_s=100.0 + tick / 10) <= 100.0 + tick / 10
