"""From which rate on a picture is quicker, and what is said of rates, rows and exits, by hand."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from export.rate_rows import NUM, RATES, ROWS, row
from headgate.export.bench.rates.bench_rates import sla_lines, table_row
from headgate.export.bench.rates.break_even import (
    Cost,
    Match,
    break_even_bps,
    break_even_lines,
    break_even_sentence,
    cost_of,
    equal_pairs,
    matching_picture,
    rate_text,
)
from headgate.export.bench.rates.rates_rows import (
    Rates,
    Series,
    standard_error,
    undominated,
)
from headgate.export.bench.rates.rates_words import exit_lines


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
    many = [
        replace(pair, split=replace(pair.split, id=f"b{i}"))
        for i in range(40)
        for pair in quick[:1]
    ]
    said = break_even_sentence(many, device_factor=1.0)
    assert "with b0, b1, b2, b3 and 36 more points: fewer bytes" in said
    assert "b4 and" not in said
    said = break_even_sentence(many[:5], device_factor=1.0)
    assert "with b0, b1, b2, b3, b4: fewer" in said


def test_what_is_missing_for_a_break_even_is_named() -> None:
    def lines(rates: Rates) -> list[str]:
        return break_even_lines(rates, equal_pairs(rates, device_factor=1.0), device_factor=1.0)

    def without(*series: Series) -> Rates:
        return replace(RATES, rows=tuple(row for row in ROWS if row.series not in series))

    assert len(lines(RATES)) == 1
    assert lines(without(Series.SPLIT)) == []
    assert lines(without(Series.JPEG, Series.WEBP))[0].startswith("Pictures to compare with are")
    timeless = replace(RATES, rows=tuple(replace(row, time=None) for row in ROWS))
    assert lines(timeless)[0].startswith("Times are missing")


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
