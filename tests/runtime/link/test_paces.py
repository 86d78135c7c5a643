"""What is believed of links on which small messages take as long as larger ones."""

import math
import random

import pytest

from headgate.runtime.link.belief import RateBelief
from headgate.runtime.link.paces import Paces

NOISE_S = 0.0005
SIZES_BYTES = (150, 300, 1200)


def waits_s(dice: random.Random) -> float:
    """Return how long a packet waits for its turn: 6 ms in the mean, now and then much more."""
    return max(0.001, dice.expovariate(1 / 0.006))


def fed(*, by_size: bool, behind: bool = False, num: int = 400) -> RateBelief:
    """Return what is believed after services that take as long as their turn, or their bytes."""
    dice, belief, now_s = random.Random(3), RateBelief(), 0.0
    for _ in range(num):
        num_bits, foreseen = 8.0 * dice.choice(SIZES_BYTES), belief.levels
        service_s = num_bits / 1e6 * dice.uniform(0.7, 1.4) if by_size else waits_s(dice)
        now_s += 1 / 30
        belief.observe(
            num_bits=num_bits,
            service_s=service_s,
            foreseen=foreseen,
            noise_s=NOISE_S,
            behind=behind,
            now_s=now_s,
        )
        if not behind:
            belief.alone(
                num_bytes=round(num_bits / 8), time_s=service_s, foreseen=foreseen, now_s=now_s
            )
    return belief


def chance(belief: RateBelief, num_bytes: int, *, within_s: float, num: int = 400) -> float:
    timing = belief.timing(now_s=num / 30)
    assert timing is not None
    return timing.at_least(math.log(8 * (num_bytes + timing.floor_bytes) / within_s))


def test_where_packets_wait_for_their_turns_larger_messages_are_as_likely_in_time() -> None:
    belief = fed(by_size=False)
    for num_bytes in SIZES_BYTES:
        true = 1 - math.exp(-0.015 / 0.006)
        assert chance(belief, num_bytes, within_s=0.015) == pytest.approx(true, abs=0.08)


def test_what_the_link_carries_is_told_without_a_floor_all_the_same() -> None:
    forecast = fed(by_size=False).forecast(now_s=400 / 30)
    assert forecast.floor_bytes == 0
    assert forecast.rate_bps < 8 * max(SIZES_BYTES) / 0.006


def test_where_time_grows_with_size_no_floor_is_believed() -> None:
    belief = fed(by_size=True)
    assert belief.timing(now_s=400 / 30) is None


def test_where_messages_always_wait_for_others_no_floor_is_believed() -> None:
    assert RateBelief().timing(now_s=0.0) is not None
    assert fed(by_size=True, behind=True).timing(now_s=400 / 30) is None


def test_a_message_counts_for_the_floor_beside_its_bits() -> None:
    assert Paces(6000).counted_bits(8000) == 8000 + 8 * 6000


def test_waits_within_the_noise_tell_how_likely_a_frame_is_in_time() -> None:
    """Were they only bounds, all that is known of turns would be the longest waits for them."""
    dice, belief, now_s = random.Random(5), RateBelief(), 0.0
    for _ in range(400):
        now_s += 1 / 30
        num_bytes, time_s, foreseen = dice.choice(SIZES_BYTES), waits_s(dice), belief.levels
        belief.alone(num_bytes=num_bytes, time_s=time_s, foreseen=foreseen, now_s=now_s)
        belief.bounded(num_bits=8.0 * num_bytes, within_s=0.05, foreseen=foreseen, now_s=now_s)
    for num_bytes in SIZES_BYTES:
        true = 1 - math.exp(-0.015 / 0.006)
        assert chance(belief, num_bytes, within_s=0.015) == pytest.approx(true, abs=0.1)
