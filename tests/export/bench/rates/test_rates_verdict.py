"""What rates amount to: needs, ratios, paired differences and break-even rates, by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from math import comb, inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.export.bench.rates.bench_rates import sla_lines, table_row
from headgate.export.bench.rates.break_even import (
    Cost,
    Match,
    break_even_bps,
    break_even_sentence,
    cost_of,
    equal_pairs,
    matching_picture,
    rate_text,
)
from headgate.export.bench.rates.rates_rows import (
    Full,
    Rates,
    Row,
    Sample,
    Series,
    standard_error,
    undominated,
)
from headgate.export.bench.rates.rates_verdict import judge, need
from headgate.export.bench.rates.rates_words import exit_lines, goals, verdict_json, verdict_lines
from headgate.export.paired import difference, mcnemar_p, resample_counts, resampled_means
from headgate.export.points.points import byte_stats
from headgate.profiles.manifest import PointTime

NUM = 200


def right(num_right: int, *, first_wrong: int = 0) -> np.ndarray:
    """Return answers of which so many are right; the wrong ones start at `first_wrong`."""
    answers_N = np.ones(NUM, bool)
    wrong = (first_wrong + np.arange(NUM - num_right)) % NUM
    answers_N[wrong] = False
    return answers_N


def row(
    name: str,
    series: Series,
    num_right: int,
    num_bytes: int,
    *,
    own: bool = True,
    device_ms: float = 1.0,
    group: str | None = None,
) -> Row:
    answers_N = right(num_right)
    sizes_N = np.full(NUM, num_bytes, np.int64)
    return Row(
        id=name,
        series=series,
        group=group or series.value,
        accuracy=float(answers_N.mean()),
        error=0.01,
        bytes=byte_stats(sizes_N.tolist()),
        own=own,
        time=PointTime(device_ms / 1000, 0.002),
        sample=Sample(answers_N, sizes_N),
    )


ROWS = (
    row("b4-l4", Series.SPLIT, 178, 150, device_ms=6.0),
    row("b8-l4", Series.SPLIT, 182, 400, device_ms=6.0),
    row("webp-q1", Series.WEBP, 160, 1000),
    row("webp-q5", Series.WEBP, 176, 1500, own=False),
    row("webp-q20", Series.WEBP, 180, 3000),
    row("jpeg-q10", Series.JPEG, 170, 1400),
    row("jpeg-q90", Series.JPEG, 180, 9000),
    row("local-exit", Series.LOCAL, 140, 0),
)
RATES = Rates(ROWS, Full(0.9, 0.02, right(180)), NUM)


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


def test_break_even_is_where_both_take_the_same_time() -> None:
    split, picture = Cost(200, 0.006, 0.002), Cost(2200, 0.001, 0.003)
    rate_bps = break_even_bps(split, picture)
    assert rate_bps == pytest.approx(4e6)
    assert split.time_s(rate_bps=rate_bps, rtt_s=0.02) == pytest.approx(
        picture.time_s(rate_bps=rate_bps, rtt_s=0.02)
    )
    assert break_even_bps(replace(split, device_s=0.001), picture) == inf
    assert break_even_bps(replace(split, num_bytes=2200), picture) == 0
    assert break_even_bps(Cost(0, 0.001, 0), Cost(0, 0.002, 0)) == inf
    assert break_even_bps(replace(picture, num_bytes=200), picture) == inf  # nothing to pay for it
    assert break_even_bps(picture, picture) == 0
    assert split.time_s(rate_bps=1e5, rtt_s=0.02) == pytest.approx(0.006 + 0.002 + 0.016 + 0.02)
    slow = cost_of(ROWS[0], device_factor=4)
    assert slow is not None
    assert slow.device_s == pytest.approx(0.024)
    assert slow.edge_s == 0.002  # as it was


def test_an_sla_needs_a_rate_or_cannot_be_met() -> None:
    cost = Cost(1000, 0.01, 0.01)
    assert cost.least_rate_bps(sla_s=0.1, rtt_s=0.02) == pytest.approx(8000 / 0.06)
    assert cost.least_rate_bps(sla_s=0.04, rtt_s=0.02) == inf
    assert Cost(0, 0.01, 0).least_rate_bps(sla_s=0.02, rtt_s=1.0) == 0
    assert Cost(0, 0.01, 0).least_rate_bps(sla_s=0.005, rtt_s=0.0) == inf


def test_a_split_point_is_paired_with_the_smallest_picture_as_accurate_or_the_closest() -> None:
    pictures = RATES.of(Series.WEBP, Series.JPEG)
    assert matching_picture(ROWS[0], pictures) == (ROWS[4], Match.AS_ACCURATE)
    assert matching_picture(ROWS[1], pictures) == (ROWS[4], Match.WITHIN_NOISE)
    blind = replace(ROWS[1], sample=None)
    assert matching_picture(blind, pictures) == (ROWS[4], Match.LESS_ACCURATE)
    assert matching_picture(ROWS[1], []) is None


def test_break_even_is_one_sentence_for_every_kind_of_family() -> None:
    pairs = equal_pairs(RATES, device_factor=1.0)
    said = break_even_sentence(pairs, device_factor=1.0)
    assert "below 4.2 Mbit/s to 4.6 Mbit/s" in said
    assert "b8-l4 sends 400 bytes where webp-q20 needs 3000" in said
    assert "4 times slower" in break_even_sentence(pairs, device_factor=4.0)
    quick = [replace(pair, split_cost=Cost(150, 0, 0)) for pair in pairs]
    assert "at any bandwidth" in break_even_sentence(quick, device_factor=1.0)
    large = [replace(pair, split_cost=Cost(9000, 0.1, 0)) for pair in pairs]
    assert "at no bandwidth" in break_even_sentence(large, device_factor=1.0)
    assert "missing" in break_even_sentence([], device_factor=1.0)


def test_rows_that_a_smaller_one_equals_are_dominated() -> None:
    assert [each.id for each in undominated(RATES.of(Series.WEBP, Series.JPEG))] == [
        "webp-q1",
        "jpeg-q10",
        "webp-q5",
        "webp-q20",
    ]


def test_the_error_of_a_share_shrinks_with_the_root_of_the_pictures() -> None:
    assert standard_error(0.5, 100) == pytest.approx(0.05)
    assert standard_error(0.9, 10_000) == pytest.approx(0.003)
    assert standard_error(1.0, 1) == 0.0


def test_rates_are_written_with_the_unit_that_suits_them() -> None:
    assert [rate_text(rate) for rate in (12.0, 3.14e3, 56e3, 7.8e6, 2e9, inf)] == [
        "12 bit/s",
        "3.1 kbit/s",
        "56 kbit/s",
        "7.8 Mbit/s",
        "2 Gbit/s",
        "any rate",
    ]


def test_an_early_exit_that_is_right_as_often_as_any_split_point_is_told_of() -> None:
    split, local = row("b4", Series.SPLIT, 170, 500), row("local-exit", Series.LOCAL, 180, 0)
    (said,) = exit_lines(Rates((split, local), None, NUM))
    assert said.startswith("the early exit (local-exit, 0 bytes) is right about 90.0 % of the")
    assert "(b4, 85.0 %)" in said
    assert exit_lines(Rates((row("b8", Series.SPLIT, 181, 900), split, local), None, NUM)) == ()
    assert exit_lines(Rates((local,), None, NUM)) == ()
    equal = row("b6", Series.SPLIT, 180, 600)
    assert len(exit_lines(Rates((equal, local), None, NUM))) == 1
    whole = row("local-full", Series.LOCAL, 190, 0)  # no news: it is what split points lose from
    assert exit_lines(Rates((split, whole), None, NUM)) == ()


def test_the_rates_of_an_sla_come_with_the_accuracies_that_they_buy() -> None:
    split = row("b4", Series.SPLIT, 190, 500)
    worse = row("webp-q80", Series.WEBP, 188, 2000)
    pairs = equal_pairs(Rates((split, worse), None, NUM), device_factor=1.0)
    (line,) = sla_lines(pairs, slas_s=(0.063,), rtt_s=0.02)
    assert line == (
        "SLA 63 ms, RTT 20 ms: b4 (95.0 %) answers in time from 100 kbit/s up, "
        "webp-q80 (94.0 %, not measurably less accurate) from 400 kbit/s"
    )


def test_the_sla_s_example_is_the_most_accurate_that_can_be_in_time() -> None:
    pairs = equal_pairs(RATES, device_factor=1.0)
    (line,) = sla_lines(pairs, slas_s=(0.1,), rtt_s=0.02)
    assert line.startswith("SLA 100 ms, RTT 20 ms: b8-l4 (91.0 %) answers in time from")


def test_the_smallest_picture_as_good_is_named_with_its_share_of_bytes() -> None:
    row_of = {each.id: each for each in (*ROWS, row("b5-l4", Series.SPLIT, 180, 1500))}
    assert table_row(row_of["b4-l4"], RATES)[-1] == "webp-q20, 20.0 x the bytes"
    assert table_row(row_of["b5-l4"], RATES)[-1] == "webp-q20, 2.0 x the bytes"  # just as good
    assert table_row(row_of["b8-l4"], RATES)[-1] == "none"
    assert table_row(row_of["webp-q1"], RATES)[-1] == ""
