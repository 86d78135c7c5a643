"""What the filter believes after made-up services."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.runtime.belief import LOG_RATES, Forecast, RateBelief, Waiting

NOISE_S = 0.0005


def feed(
    belief: RateBelief, rates_bps: list[float], *, start_s: float = 0.0, num_bits: float = 8e4
) -> float:
    """Let services follow each other every 33 ms; return the last one's end."""
    end_s = start_s
    for i, rate_bps in enumerate(rates_bps):
        begin_s = max(end_s, start_s + i / 30)
        end_s = begin_s + num_bits / rate_bps
        belief.observe(num_bits=num_bits, start_s=begin_s, end_s=end_s, noise_s=NOISE_S)
    return end_s


def chance(forecast: Forecast, mbps: float) -> float:
    return forecast.at_least(math.log(1e6 * mbps))


@pytest.mark.parametrize("mbps", [0.05, 0.7, 8.0, 120.0])
def test_steady_rate_is_found_and_hardly_doubted(mbps: float) -> None:
    belief = RateBelief()
    end_s = feed(belief, [1e6 * mbps] * 40, num_bits=1e4 * mbps)
    forecast = belief.forecast(at_s=end_s + 0.05)
    assert forecast.rate_bps == pytest.approx(1e6 * mbps, rel=0.05)
    assert chance(forecast, 0.75 * mbps) > 0.93
    assert chance(forecast, 1.5 * mbps) < 0.05


def test_restless_link_is_trusted_less_than_a_calm_one() -> None:
    dice = random.Random(5)
    calm, restless = RateBelief(), RateBelief()
    end_s = feed(calm, [8e6] * 200)
    restless_end_s = feed(restless, [8e6 * math.exp(dice.gauss(0, 0.7)) for _ in range(200)])
    assert chance(calm.forecast(at_s=end_s + 0.05), 5.0) > 0.95
    assert chance(restless.forecast(at_s=restless_end_s + 0.05), 5.0) < 0.92


def test_after_a_while_the_past_is_expected_again() -> None:
    belief = RateBelief()
    end_s = feed(belief, [8e6] * 300)
    end_s = feed(belief, [1e6] * 3, start_s=end_s + 0.1)
    assert belief.forecast(at_s=end_s + 0.02).rate_bps < 2e6
    assert belief.forecast(at_s=end_s + 20.0).rate_bps > 4e6


def test_what_hides_in_the_noise_is_only_a_lower_bound() -> None:
    belief = RateBelief()
    for i in range(30):  # 2 kB are through within 1 ms of jitter: 16 Mbit/s or more
        belief.observe(num_bits=16e3, start_s=i / 30, end_s=i / 30 + 0.0005, noise_s=0.001)
    forecast = belief.forecast(at_s=1.0)
    assert chance(forecast, 4.0) > 0.95
    assert 0.02 < chance(forecast, 100.0) < 0.9


def test_waiting_in_vain_lowers_the_chances() -> None:
    belief = RateBelief()
    end_s = feed(belief, [8e6] * 50)
    chances = [
        chance(
            belief.forecast(
                at_s=end_s + waited_s + 0.05,
                waiting=Waiting(8e4, end_s, end_s + waited_s),
                noise_s=NOISE_S,
            ),
            4.0,
        )
        for waited_s in (0.001, 0.02, 0.1, 0.4)
    ]
    assert chances[0] > 0.9
    assert chances[0] > chances[1] > chances[2]
    assert max(chances[2:]) < 0.1


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(1, 1e9), st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=20
    )
)
def test_chances_stay_chances_whatever_comes(
    services: list[tuple[float, float, float]],
) -> None:
    belief, now_s = RateBelief(), 0.0
    for num_bits, gap_s, service_s in services:
        start_s = now_s + gap_s
        now_s = start_s + service_s
        belief.observe(num_bits=num_bits, start_s=start_s, end_s=now_s, noise_s=NOISE_S)
        forecast = belief.forecast(
            at_s=now_s + 1, waiting=Waiting(num_bits, now_s, now_s + gap_s), noise_s=NOISE_S
        )
        asked = [forecast.at_least(at) for at in (-5.0, *LOG_RATES, 40.0)]
        assert all(-1e-9 <= each <= 1 + 1e-9 for each in asked)
        assert asked == sorted(asked, reverse=True)
        assert math.isfinite(forecast.rate_bps)
