"""What is believed of a link's rate after made-up services."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.runtime.link.belief import RateBelief
from headgate.runtime.link.forecast import Forecast, Waiting

NOISE_S = 0.0005


def feed(
    belief: RateBelief, rates_bps: list[float], *, start_s: float = 0.0, num_bits: float = 8e4
) -> float:
    """Let services follow each other every 33 ms; return the last one's end."""
    end_s = start_s
    for i, rate_bps in enumerate(rates_bps):
        begin_s, foreseen = max(end_s, start_s + i / 30), belief.levels
        end_s = begin_s + num_bits / rate_bps
        belief.observe(
            num_bits=num_bits,
            service_s=end_s - begin_s,
            foreseen=foreseen,
            noise_s=NOISE_S,
            now_s=end_s,
        )
    return end_s


def chance(forecast: Forecast, mbps: float) -> float:
    return forecast.at_least(math.log(1e6 * mbps))


@pytest.mark.parametrize("mbps", [0.05, 0.7, 8.0, 120.0])
def test_steady_rate_is_found_and_hardly_doubted(mbps: float) -> None:
    belief = RateBelief()
    end_s = feed(belief, [1e6 * mbps] * 200, num_bits=1e4 * mbps)
    forecast = belief.forecast(now_s=end_s)
    assert forecast.rate_bps == pytest.approx(1e6 * mbps, rel=0.05)
    assert chance(forecast, 0.75 * mbps) > 0.93
    assert chance(forecast, 1.5 * mbps) < 0.05


def test_restless_link_is_trusted_less_than_a_calm_one() -> None:
    dice = random.Random(5)
    calm, restless = RateBelief(), RateBelief()
    end_s = feed(calm, [8e6] * 200)
    restless_end_s = feed(restless, [8e6 * math.exp(dice.gauss(0, 0.7)) for _ in range(200)])
    assert chance(calm.forecast(now_s=end_s), 5.0) > 0.95
    assert chance(restless.forecast(now_s=restless_end_s), 5.0) < 0.92


def test_a_link_that_jitters_about_its_mean_is_not_chased() -> None:
    """The middling rate comes to rest, which that of one quick pace never would."""
    dice = random.Random(11)
    belief, middles, end_s = RateBelief(), [], 0.0
    for _ in range(20):
        rates_bps = [3e6 * math.exp(dice.gauss(0, 0.5)) for _ in range(60)]
        end_s = feed(belief, rates_bps, start_s=end_s + 1 / 30)
        middles.append(math.log(belief.forecast(now_s=end_s).rate_bps / 3e6))
    assert max(map(abs, middles[10:])) < 0.25


def test_a_link_that_steps_is_followed_within_a_few_frames() -> None:
    belief, end_s = RateBelief(), 0.0
    for _ in range(10):
        for mbps in (1, 6):
            end_s = feed(belief, [1e6 * mbps] * 45, start_s=end_s + 1 / 30, num_bits=2e4)
    end_s = feed(belief, [1e6] * 5, start_s=end_s + 1 / 30, num_bits=2e4)
    assert belief.forecast(now_s=end_s).rate_bps < 2e6


def test_what_hides_in_the_noise_is_only_a_lower_bound() -> None:
    belief = RateBelief()
    for i in range(30):  # 2 kB are through within 1 ms of jitter: 16 Mbit/s or more
        belief.observe(
            num_bits=16e3, service_s=0.0005, foreseen=belief.levels, noise_s=0.001, now_s=i / 30
        )
    assert belief.level == pytest.approx(math.log(16e6))


def test_a_bound_below_the_level_never_draws_the_forecast_down() -> None:
    """Ten seconds of messages of 200 B on a link known to be of 8 Mbit/s: each says 0.5 or more."""
    belief = RateBelief()
    end_s = feed(belief, [8e6] * 100)
    before = belief.forecast(now_s=end_s)
    rate_bps, sure = before.rate_bps, chance(before, 6.0)
    for i in range(300):
        now_s = end_s + i / 30
        belief.bounded(num_bits=1600, within_s=0.0032, foreseen=belief.levels, now_s=now_s)
        belief.observe(
            num_bits=1600,
            service_s=0.001,
            foreseen=belief.levels,
            noise_s=0.0032,
            now_s=now_s,
        )
    after = belief.forecast(now_s=end_s)
    assert after.rate_bps == pytest.approx(rate_bps)
    assert chance(after, 6.0) == pytest.approx(sure)


def test_a_bound_above_the_level_raises_it() -> None:
    belief = RateBelief()
    feed(belief, [2e4] * 100, num_bits=1000)
    belief.bounded(num_bits=1000, within_s=0.001, foreseen=belief.levels, now_s=4.0)
    assert belief.level == pytest.approx(math.log(1e6))


def test_while_bounds_come_in_doubts_grow_only_of_how_fast_the_link_has_become() -> None:
    """Small frames, answered at once for 5 s: it is not slower, and may be any amount faster."""
    dice = random.Random(3)
    answered, silent = RateBelief(), RateBelief()
    rates_bps = [4e6 * math.exp(dice.gauss(0, 0.2)) for _ in range(200)]
    for belief in (answered, silent):
        end_s = feed(belief, rates_bps)
    fresh = chance(answered.forecast(now_s=end_s), 2.8)
    for i in range(150):
        answered.bounded(
            num_bits=1600, within_s=0.0032, foreseen=answered.levels, now_s=end_s + i / 30
        )
    now_s = end_s + 5.0
    assert chance(answered.forecast(now_s=now_s), 2.8) == pytest.approx(fresh)
    assert chance(silent.forecast(now_s=now_s), 2.8) < fresh - 0.1
    for belief in (answered, silent):
        assert chance(belief.forecast(now_s=now_s), 6.0) > chance(belief.forecast(now_s=end_s), 6.0)


def test_service_hardly_clear_of_the_noise_hardly_lowers_the_level() -> None:
    """1 kB came after 22 ms; where messages wait for 20 ms anyway that need not be the link."""
    noisy, clear = RateBelief(), RateBelief()
    for belief in (noisy, clear):
        feed(belief, [8e6] * 30)
    for belief, noise_s in ((noisy, 0.02), (clear, NOISE_S)):
        belief.observe(
            num_bits=8e3, service_s=0.022, foreseen=belief.levels, noise_s=noise_s, now_s=1.2
        )
    assert noisy.level > math.log(6e6)
    assert clear.level < math.log(3e6)


def test_waiting_in_vain_lowers_the_chances() -> None:
    belief = RateBelief()
    end_s = feed(belief, [8e6] * 50)
    chances = [
        chance(belief.forecast(now_s=end_s + waited_s, waiting=Waiting(8e4, waited_s)), 4.0)
        for waited_s in (0.001, 0.02, 0.1, 0.4)
    ]
    assert chances[0] > 0.9
    assert chances == sorted(chances, reverse=True)
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
        foreseen = belief.levels
        now_s += gap_s + service_s
        belief.observe(
            num_bits=num_bits, service_s=service_s, foreseen=foreseen, noise_s=NOISE_S, now_s=now_s
        )
        forecast = belief.forecast(now_s=now_s + 1, waiting=Waiting(num_bits, gap_s))
        asked = [forecast.at_least(0.3 * i) for i in range(-20, 140)]
        assert all(0 <= each <= 1 for each in asked)
        assert asked == sorted(asked, reverse=True)
        assert math.isfinite(forecast.rate_bps)


@settings(max_examples=100, deadline=None)
@given(
    residuals=st.lists(st.floats(-2, 2), min_size=1, max_size=40),
    bound=st.none() | st.floats(8.0, 20.0),
    number=st.integers(1, 12),
)
def test_scenarios_are_as_likely_as_the_forecast_says(
    residuals: list[float], bound: float | None, number: int
) -> None:
    forecast = Forecast(14.0, sorted(residuals), bound=math.inf if bound is None else bound)
    scenarios = forecast.scenarios(number)
    assert sum(weight for _, weight in scenarios) == pytest.approx(1.0)
    assert all(rate_bps > 0 and weight > 0 for rate_bps, weight in scenarios)
    if bound is not None:
        assert all(math.log(rate_bps) <= bound + 0.06 for rate_bps, _ in scenarios)


def test_scenarios_of_an_overdue_message_are_slower_than_it_was() -> None:
    belief = RateBelief()
    end_s = feed(belief, [8e6] * 100)
    calm = belief.forecast(now_s=end_s).scenarios(7)
    assert min(rate_bps for rate_bps, _ in calm) > 4e6
    waiting = belief.forecast(now_s=end_s + 0.2, waiting=Waiting(8e4, 0.2)).scenarios(7)
    assert max(rate_bps for rate_bps, _ in waiting) < 8e4 / 0.2
