"""Claims about a level of one pace, and about which pace foretells what."""

import math
import random

import pytest

from headgate.runtime.link.level import FIRST_LEVEL, NUM_RESIDUALS, Level

QUICK_S, SLOW_S = 0.05, 1.5
FRAME_S = 1 / 30


def follow(level: Level, log_rates: list[float]) -> None:
    """Let the level hear of one sample a frame, each foreseen as it was right before."""
    level.begin(log_rates[0])
    for log_rate in log_rates[1:]:
        level.follow(log_rate, foreseen=level.value, since_s=FRAME_S, hidden=0.0)


def test_the_first_sample_is_taken_whole_unless_it_falls_far() -> None:
    up, down = Level(QUICK_S), Level(QUICK_S)
    up.begin(FIRST_LEVEL + 4)
    down.begin(FIRST_LEVEL - 4)
    assert up.value == FIRST_LEVEL + 4
    assert down.value == FIRST_LEVEL - 1.5


@pytest.mark.parametrize("link", ["jitters", "steps"])
def test_the_pace_that_suits_a_link_scores_higher_there(link: str) -> None:
    dice = random.Random(3)
    if link == "jitters":  # about one mean: the newest sample says least
        log_rates = [15 + 0.5 * dice.gauss(0, 1) for _ in range(600)]
    else:  # a rate that stays for a second and then is another one
        log_rates = [15 + 2 * (i // 30 % 2) for i in range(600)]
    quick, slow = Level(QUICK_S), Level(SLOW_S)
    follow(quick, log_rates)
    follow(slow, log_rates)
    assert (slow.score > quick.score) == (link == "jitters")


def test_a_slower_rate_counts_by_what_noise_cannot_explain_of_it() -> None:
    clear, hidden = Level(QUICK_S), Level(QUICK_S)
    for level, share in ((clear, 0.0), (hidden, 0.9)):
        level.begin(15.0)
        level.follow(14.0, foreseen=15.0, since_s=FRAME_S, hidden=share)
    assert clear.value < hidden.value < 15.0


def test_a_bound_lifts_and_never_lowers() -> None:
    level = Level(QUICK_S)
    level.begin(15.0)
    level.rise_to(14.0, foreseen=15.0)
    assert level.value == 15.0
    level.rise_to(16.0, foreseen=15.0)
    assert level.value == 16.0


def test_a_link_that_stumbles_is_not_thought_bad_where_quick_samples_are_only_bounds() -> None:
    level = Level(SLOW_S)
    level.begin(15.0)
    for i in range(400):
        foreseen = level.value
        if i % 20 == 0:
            level.follow(13.5, foreseen=foreseen, since_s=FRAME_S, hidden=0.0)
        else:
            level.rise_to(15.0, foreseen=foreseen)
    slow = sum(residual < -0.5 for residual in level.residuals)
    assert slow < 0.15 * len(level.residuals)


def test_a_bound_far_below_what_is_foreseen_makes_the_forecast_no_surer() -> None:
    level = Level(QUICK_S)
    level.begin(15.0)
    before = list(level.residuals)
    for _ in range(100):
        level.rise_to(12.0, foreseen=15.0)
    assert level.residuals == before


def test_residuals_stay_sorted_and_their_number_bounded() -> None:
    dice = random.Random(1)
    level = Level(QUICK_S)
    follow(level, [15 + dice.gauss(0, 1) for _ in range(2 * NUM_RESIDUALS)])
    assert level.residuals == sorted(level.residuals)
    assert len(level.residuals) == NUM_RESIDUALS
    assert all(math.isfinite(residual) for residual in level.residuals)
