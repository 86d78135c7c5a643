"""What rates amount to: needs, ratios, paired differences and break-even rates, by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from math import comb, inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.rate_rows import NUM, RATES, ROWS, right, row
from headgate.export.bench.rates.rates_rows import (
    Full,
    Rates,
    Sample,
    Series,
)
from headgate.export.bench.rates.rates_verdict import judge, need
from headgate.export.bench.rates.rates_words import goals, verdict_json, verdict_lines
from headgate.export.paired import difference, mcnemar_p, resample_counts, resampled_means


def test_a_need_is_interpolated_over_the_logarithm_of_bytes() -> None:
    curve = [(100.0, 0.5), (400.0, 0.7)]
    assert need([curve], at_least=0.6) == pytest.approx(200.0)
    assert need([curve], at_least=0.5) == pytest.approx(100.0)
    assert need([curve], at_least=0.71) == inf
    assert need([], at_least=0.1) == inf


def test_a_need_is_that_of_the_curve_that_gets_there_with_the_fewest_bytes() -> None:
    assert need([[(100.0, 0.5), (400.0, 0.7)], [(150.0, 0.65)]], at_least=0.6) == 150.0


def test_a_lucky_small_picture_counts_for_the_format_that_sent_it() -> None:
    assert need([[(100.0, 0.5), (200.0, 0.6), (400.0, 0.55)]], at_least=0.6) == pytest.approx(200.0)


@given(
    st.lists(st.tuples(st.floats(1, 1e5), st.floats(0, 1)), min_size=1, max_size=6),
    st.floats(0, 1),
)
def test_a_need_lies_between_the_smallest_picture_and_the_smallest_that_is_good(
    curve: list[tuple[float, float]], at_least: float
) -> None:
    found = need([curve], at_least=at_least)
    good = [num_bytes for num_bytes, accuracy in curve if accuracy >= at_least]
    assert found <= min(good, default=inf) * 1.000001
    assert found >= min(num_bytes for num_bytes, _ in curve) * 0.999999


def test_the_verdict_sets_the_smallest_split_point_against_interpolated_webp() -> None:
    verdict = judge(RATES, resamples=50)
    assert verdict is not None
    under, lossless = verdict.levels
    assert under.ours is not None
    assert under.ours.id == "b4-l4"
    assert under.webp.measured is not None
    assert under.webp.measured.id == "webp-q20"
    # 0.885 lies half way between 0.88 at 1500 and 0.90 at 3000 bytes, less a quarter.
    assert under.webp.interpolated_bytes == pytest.approx(1500 * 2**0.25)
    assert under.ratio == pytest.approx(150 / (1500 * 2**0.25))
    assert lossless.ours is not None
    assert lossless.ours.id == "b8-l4"
    assert lossless.ratio == pytest.approx(400 / 3000)
    assert [goal.met for goal in goals(verdict)] == [True, True, True]


def test_half_of_webp_is_a_bound_on_bytes_for_whatever_is_compared_there() -> None:
    rows = (*ROWS, row("b16-l4", Series.SPLIT, 190, 900), row("b1-l4", Series.SPLIT, 150, 100))
    verdict = judge(Rates(rows[1:], RATES.full, NUM), resamples=20)  # without b4-l4
    assert verdict is not None
    assert verdict.half_point is not None
    assert verdict.half_point.id == "b8-l4"  # half of 1784 bytes is less than 900
    worst = verdict.worst_at_half
    assert worst is not None
    assert worst.ours is not None
    assert (worst.picture.id, worst.ours.id) == ("webp-q5", "b8-l4")
    assert worst.gap is not None
    assert worst.gap.value == pytest.approx((182 - 176) / NUM)
    never = judge(Rates(rows, Full(1.0, 0.0, right(NUM)), NUM), resamples=20)
    assert never is not None  # WebP never gets there, and what never is has no half
    assert (never.half_point, never.half_budget) == (None, None)


def test_a_split_point_that_loses_nothing_at_all_counts_as_lossless() -> None:
    verdict = judge(Rates((row("b5-l4", Series.SPLIT, 180, 300), *ROWS), RATES.full, NUM))
    assert verdict is not None
    assert verdict.levels[1].ours is not None
    assert verdict.levels[1].ours.id == "b5-l4"


def test_the_interval_holds_95_percent_of_resamples() -> None:
    split = row("b4-l4", Series.SPLIT, NUM, 100)
    assert split.sample is not None
    sizes_N = np.tile([60, 140], NUM // 2)  # deviation 40
    split = replace(split, sample=replace(split.sample, sizes_N=sizes_N))
    rates = Rates((split, row("webp-q9", Series.WEBP, NUM, 1000)), Full(1.0, 0.0, right(NUM)), NUM)
    verdict = judge(rates)
    assert verdict is not None
    half_width = 1.96 * 40 / NUM**0.5 / 1000
    level = verdict.levels[1]
    assert level.ratio_low == pytest.approx(0.1 - half_width, abs=0.15 * half_width)
    assert level.ratio_high == pytest.approx(0.1 + half_width, abs=0.15 * half_width)


def test_resamples_allow_the_margin_too_and_do_not_count_where_nobody_gets_there() -> None:
    rows = (row("b4-l4", Series.SPLIT, 199, 100), row("webp-q9", Series.WEBP, NUM, 1000))
    verdict = judge(Rates(rows, Full(1.0, 0.0, right(NUM)), NUM), resamples=40)
    assert verdict is not None
    under, lossless = verdict.levels
    assert (under.ratio_low, under.ratio_high) == (0.1, 0.1)
    assert lossless.ratio_high == inf
    nobody = judge(Rates(ROWS, Full(1.0, 0.0, right(NUM)), NUM), resamples=40)
    assert nobody is not None
    assert (nobody.levels[0].ratio_low, nobody.levels[0].ratio_high) == (None, None)


def test_resamples_put_an_interval_around_the_ratio() -> None:
    verdict = judge(RATES, resamples=200)
    assert verdict is not None
    level = verdict.levels[0]
    assert level.ratio_low is not None
    assert level.ratio_high is not None
    assert level.ratio is not None
    assert level.ratio_low <= level.ratio <= level.ratio_high


def test_the_family_s_own_pictures_keep_it_from_losing_at_large_sizes() -> None:
    weak = tuple(replace(each, accuracy=0.5) if each.id[0] == "b" else each for each in ROWS)
    rows = tuple(
        replace(each, sample=Sample(right(100), each.sample.sizes_N))
        if each.id[0] == "b" and each.sample is not None
        else each
        for each in weak
    )
    verdict = judge(Rates(rows, RATES.full, NUM), resamples=20)
    assert verdict is not None
    assert verdict.worst_at_size is not None
    assert (
        verdict.worst_at_size.picture.id == "webp-q5"
    )  # not its own; jpeg-q10 is the next smaller
    assert verdict.worst_at_size.gap is not None
    assert verdict.worst_at_size.gap.value == pytest.approx((170 - 176) / NUM)
    assert [goal.met for goal in goals(verdict)] == [False, False, False]


def test_never_worse_allows_for_the_noise_of_the_worst_of_many() -> None:
    for num_right, met in ((1991, True), (1989, False)):  # of 2,000: 0.45 and 0.55 points less
        split, webp = (
            replace(
                row(name, series, NUM, num_bytes, own=series is Series.SPLIT),
                accuracy=float(answers_N.mean()),
                sample=Sample(answers_N, np.full(2000, num_bytes, np.int64)),
            )
            for name, series, num_bytes, answers_N in (
                ("b4", Series.SPLIT, 100, np.arange(2000) < num_right),
                ("webp-q9", Series.WEBP, 1000, np.ones(2000, np.bool_)),
            )
        )
        full = Full(1.0, 0.0, np.ones(2000, np.bool_))
        found = goals(judge(Rates((split, webp), full, 2000), resamples=5))
        assert found[-1].text.startswith("never worse than WebP at any size")
        assert found[-1].met == met


def test_a_family_with_nothing_to_compare_has_no_verdict() -> None:
    local_only = Rates(ROWS[-1:], RATES.full, NUM)
    assert judge(local_only) is None
    assert goals(None) == ()
    assert verdict_json(None) is None
    assert "no verdict" in verdict_lines(None)[0]
    assert judge(Rates(ROWS, None, NUM)) is None


def test_rates_of_a_manifest_have_a_verdict_without_intervals() -> None:
    rows = tuple(replace(each, sample=None) for each in ROWS)
    verdict = judge(Rates(rows, Full(0.9, None), None))
    assert verdict is not None
    assert verdict.levels[0].ratio == pytest.approx(150 / (1500 * 2**0.25))
    assert verdict.levels[0].ratio_low is None
    said = " ".join(verdict_lines(verdict))
    assert "resamples" not in said
    assert "half" not in said
    assert "; 0.084 of WebP's interpolated bytes, 11.9 times fewer (" in said
    assert len(goals(verdict)) == 2
    json.dumps(verdict_json(verdict), allow_nan=False)


def test_an_interval_from_nothing_says_what_nothing_means() -> None:
    verdict = judge(RATES)
    assert verdict is not None
    level = replace(verdict.levels[0], ratio_low=0.0, ratio_high=inf)
    said = " ".join(verdict_lines(replace(verdict, levels=(level,))))
    wanted = "give 0 (in some, no WebP is as accurate) to no split point as accurate"
    assert wanted in said


def test_more_bytes_than_webp_are_not_called_times_fewer() -> None:
    heavy = (row("b4-l4", Series.SPLIT, 178, 3000), *ROWS[2:])
    said = verdict_lines(judge(Rates(heavy, Full(0.9, None), NUM)))[1]
    assert (
        "; 1.682 of WebP's interpolated bytes, 1.7 times as many (as many against the measured one)"
        in said
    )
    assert "times fewer" not in said


def test_what_is_as_many_times_fewer_of_either_webp_is_said_once() -> None:
    verdict = judge(RATES)
    assert verdict is not None
    (level, *others) = verdict.levels
    assert level.webp.measured is not None
    assert level.ours is not None
    sizes = replace(level.webp.measured.bytes, mean=4 * level.ours.mean_bytes)
    measured = replace(level.webp.measured, bytes=sizes)
    same = replace(level, ratio=0.25, webp=replace(level.webp, measured=measured))
    said = " ".join(verdict_lines(replace(verdict, levels=(same, *others))))
    assert "4.0 times fewer (also against the measured one)" in said


def test_a_verdict_that_nobody_meets_is_still_said_and_is_valid_json() -> None:
    perfect = Rates(ROWS, Full(1.0, 0.0, right(NUM)), NUM)
    verdict = judge(perfect, resamples=20)
    said = " ".join(verdict_lines(verdict))
    assert "no split point is as accurate" in said
    assert "never reaches it" in said
    json.dumps(verdict_json(verdict), allow_nan=False)


def test_only_pictures_on_which_two_differ_make_a_difference() -> None:
    same = difference(right(150), right(150))
    assert (same.value, same.error, same.p_value) == (0.0, 0.0, 1.0)
    gap = difference(right(160), right(150))  # the ten more are right in one only
    assert gap.value == pytest.approx(0.05)
    assert gap.p_value == pytest.approx(2 / 2**10)
    assert gap.error == pytest.approx((10 - 10**2 / NUM) ** 0.5 / NUM)
    assert gap.significant
    noise = difference(right(150), right(150, first_wrong=50))
    assert noise.value == 0.0
    assert noise.error > 0
    assert not noise.significant
    assert difference(right(156), right(150)).significant  # 2 / 2 ** 6 = 0.031
    assert not difference(right(155), right(150)).significant  # 2 / 2 ** 5 = 0.063


def test_mcnemar_goes_over_to_the_normal_smoothly() -> None:
    assert mcnemar_p(450, 550) == pytest.approx(mcnemar_p(451, 551), rel=0.1)
    exact = 2 * sum(comb(1200, k) for k in range(551)) / 2**1200
    assert mcnemar_p(550, 650) == pytest.approx(exact, rel=0.01)
    assert mcnemar_p(0, 0) == 1.0
    assert mcnemar_p(600, 600) == 1.0


def test_resamples_keep_the_number_of_pictures_and_means_stay_near() -> None:
    counts_RN = resample_counts(NUM, resamples=100)
    assert np.all(counts_RN.sum(axis=1) == NUM)
    means_RP = resampled_means(counts_RN, np.stack([right(180), right(100)]))
    assert means_RP.mean(axis=0) == pytest.approx([0.9, 0.5], abs=0.02)
