"""How far chances are believed that were not borne out."""

import random

import pytest

from headgate.profiles.manifest import ByteStats, OperatingPoint, PointKind
from headgate.runtime.choice.trust import LIKELY, MEMORY_UNSENT, Trust


def of_size(num_bytes: float) -> OperatingPoint:
    size = ByteStats(*5 * [num_bytes])
    return OperatingPoint(f"s{num_bytes:g}", PointKind.SPLIT, {"top1": 0.7}, bytes=size)


SMALL, POINT, LARGE = of_size(1000), of_size(2000), of_size(4000)


def taught(*, on_time: float, hits: float, num: int = 300, seed: int = 0) -> Trust:
    """Return what is believed after frames with that chance, of which that share came in time."""
    source, trust = random.Random(seed), Trust()
    for _ in range(num):
        trust.learn(POINT, on_time=on_time, by_edge=source.random() < hits)
    return trust


def test_chances_are_believed_before_anything_is_known() -> None:
    assert Trust().share(POINT) == 1.0


@pytest.mark.parametrize("on_time", [0.6, 0.8, 0.95, 0.99])
def test_chances_that_are_borne_out_are_believed(on_time: float) -> None:
    shares = [taught(on_time=on_time, hits=on_time, seed=seed).share(POINT) for seed in range(20)]
    assert sum(shares) / len(shares) > 0.98
    assert min(shares) > 0.85


@pytest.mark.parametrize("hits", [0.4, 0.6, 0.75])
def test_chances_that_are_not_borne_out_are_believed_about_as_far_as_they_were(hits: float) -> None:
    shares = [taught(on_time=0.98, hits=hits, seed=seed).share(POINT) for seed in range(20)]
    mean = sum(shares) / len(shares)
    assert hits < 0.98 * mean < hits + 0.25


def test_a_miss_or_two_is_chance() -> None:
    trust = Trust()
    for by_edge in (True, True, False, True, False):
        trust.learn(POINT, on_time=0.98, by_edge=by_edge)
    assert trust.share(POINT) > 0.95


def test_frames_that_were_likely_late_anyhow_say_nothing() -> None:
    trust = Trust()
    for _ in range(100):
        trust.learn(POINT, on_time=LIKELY - 0.1, by_edge=False)
    assert trust.share(POINT) == 1.0


def test_trust_returns_while_frames_are_answered_here() -> None:
    trust = taught(on_time=0.98, hits=0.5)
    before = trust.share(POINT)
    for _ in range(round(MEMORY_UNSENT)):
        trust.unsent()
    assert before < 0.8
    assert before + 0.1 < trust.share(POINT) <= 1.0


def test_a_link_that_has_become_good_is_believed_again() -> None:
    trust = taught(on_time=0.98, hits=0.5)
    for _ in range(150):
        trust.learn(POINT, on_time=0.98, by_edge=True)
    assert trust.share(POINT) == 1.0


def test_a_doubtful_chance_gets_the_benefit_unless_chances_were_not_borne_out() -> None:
    assert Trust().benefit(POINT, 0.8) == pytest.approx(0.889, abs=0.001)  # odds of 8, not of 4
    assert Trust().benefit(POINT, 0.0) == 0.0
    assert Trust().benefit(POINT, 1.0) == 1.0
    assert taught(on_time=0.98, hits=0.5).benefit(POINT, 0.8) == 0.8


def test_a_point_that_is_always_late_by_a_hair_takes_no_trust_from_a_smaller_one() -> None:
    trust = Trust()
    for _ in range(30):
        trust.learn(SMALL, on_time=0.98, by_edge=True)
    for _ in range(60):
        trust.learn(LARGE, on_time=0.9, by_edge=False)
    assert trust.share(LARGE) < 0.5
    assert trust.share(SMALL) == 1.0
    for _ in range(60):
        trust.learn(SMALL, on_time=0.98, by_edge=True)
    assert trust.share(LARGE) < 0.7  # not tried since


def test_a_point_that_was_never_sent_is_believed_as_far_as_those_no_larger() -> None:
    trust = taught(on_time=0.98, hits=0.5)
    assert trust.share(LARGE) == pytest.approx(trust.share(POINT), abs=0.05)
    assert trust.share(SMALL) == 1.0


def test_a_point_that_was_late_is_believed_again_once_others_were_sent_for_long() -> None:
    trust = Trust()
    for _ in range(30):
        trust.learn(LARGE, on_time=0.9, by_edge=False)
    for _ in range(3 * round(MEMORY_UNSENT)):
        trust.learn(SMALL, on_time=0.98, by_edge=True)
    assert trust.share(LARGE) > 0.9
