"""The least delay of a path, and what part of it is its message's own service."""

import pytest

from headgate.runtime.link.least_delay import (
    MIN_NOISE_S,
    WINDOW_S,
    Least,
    LeastDelay,
    excess_s,
    smoothed_noise_s,
)

PATH_S = 0.01


def seen(now_s: float, *, service_s: float, believed_s: float | None, num_bytes: int = 64) -> Least:
    """A message that was served so long, and would have been for `believed_s` by belief."""
    return Least(now_s, PATH_S + service_s, num_bytes, believed_s)


def own_s(delays: LeastDelay, now_s: float) -> float | None:
    least = delays.at(now_s)
    assert least is not None
    return least.own_s


def test_the_least_of_ten_seconds_is_kept_and_then_forgotten() -> None:
    delays = LeastDelay()
    for now_s, service_s in ((0.0, 0.004), (1.0, 0.002), (2.0, 0.003)):
        delays.add(seen(now_s, service_s=service_s, believed_s=None), noise_s=MIN_NOISE_S)
    least = delays.newest
    assert least is not None
    assert least.delay_s == pytest.approx(PATH_S + 0.002)
    late = seen(1.1 + WINDOW_S, service_s=0.02, believed_s=None)
    delays.add(late, noise_s=MIN_NOISE_S)
    assert delays.newest is not None
    assert delays.newest.delay_s == pytest.approx(PATH_S + 0.003)


def test_a_line_that_rises_with_the_clocks_is_moved_to_the_present() -> None:
    delays = LeastDelay()
    delays.add(seen(0.0, service_s=0.0, believed_s=None), noise_s=MIN_NOISE_S, skew=1e-4)
    least = delays.at(5.0, skew=1e-4)
    assert least is not None
    assert least.delay_s == pytest.approx(PATH_S + 5e-4)


def test_service_in_the_least_delay_is_that_of_the_rate_believed_then() -> None:
    delays = LeastDelay()
    delays.add(seen(0.0, service_s=0.025, believed_s=0.026), noise_s=MIN_NOISE_S)
    assert own_s(delays, 0.0) == 0.026


def test_a_link_that_recovers_is_not_taken_for_one_that_is_still_slow() -> None:
    """The delay fell by 25 ms: the belief is wrong, and not the path."""
    delays = LeastDelay()
    delays.add(seen(0.0, service_s=0.0256, believed_s=0.0256), noise_s=MIN_NOISE_S)
    fast = seen(1.0, service_s=0.0006, believed_s=0.046, num_bytes=115)
    delays.add(fast, noise_s=MIN_NOISE_S)
    known_s = own_s(delays, 1.0)
    assert known_s is not None
    assert known_s == pytest.approx(0.0006, abs=2 * MIN_NOISE_S)


def test_nothing_is_said_of_service_before_the_rate_was_measured() -> None:
    delays = LeastDelay()
    delays.add(seen(0.0, service_s=0.02, believed_s=None), noise_s=MIN_NOISE_S)
    assert own_s(delays, 0.0) is None
    delays.add(seen(1.0, service_s=0.02, believed_s=0.021), noise_s=MIN_NOISE_S)
    assert own_s(delays, 1.0) == 0.021


def test_excess_is_what_neither_path_nor_service_explains() -> None:
    least = Least(0.0, PATH_S + 0.001, 64, 0.001)
    assert excess_s(PATH_S + 0.032, own_s=0.03, least=least) == pytest.approx(0.002)


def test_one_outage_does_not_make_a_noisy_path() -> None:
    noise_s = smoothed_noise_s(0.001, excess_s=5.0)
    assert noise_s < 0.002
    for _ in range(60):
        noise_s = smoothed_noise_s(noise_s, excess_s=0.0005)
    assert noise_s == pytest.approx(0.0005, rel=0.05)
