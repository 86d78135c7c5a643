"""Claims about whose batches cross."""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.train.split_training.orchestrator import ITERATIONS, crossing_shares

LOSSES = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0.0, 5.0), min_size=1)


@given(LOSSES, st.floats(0.05, 1.0))
def test_the_mean_share_is_the_one_asked_for_and_nobody_is_forgotten(
    losses: dict[str, float], share: float
) -> None:
    found = crossing_shares(losses, share=share)
    assert found.keys() == losses.keys()
    assert all(0 < each <= 1 for each in found.values())
    assert fmean(found.values()) == pytest.approx(share, abs=2 / ITERATIONS)


@given(LOSSES, st.floats(0.05, 1.0))
def test_who_is_answered_worse_sends_no_less(losses: dict[str, float], share: float) -> None:
    found = crossing_shares(losses, share=share)
    in_order = sorted(losses, key=lambda name: losses[name])
    for better, worse in pairwise(in_order):
        assert found[worse] >= found[better] - 2 / ITERATIONS  # ties go by name


def test_one_that_is_far_worse_sends_most_of_its_batches() -> None:
    found = crossing_shares({"ann": 0.2, "bo": 2.5, "cy": 0.2}, share=0.4)
    assert found["bo"] > 0.8
    assert found["ann"] == pytest.approx(found["cy"], abs=2 / ITERATIONS)
    assert 0.05 < found["ann"] < 0.3


def test_all_send_alike_where_all_are_answered_alike() -> None:
    found = crossing_shares(dict.fromkeys("abc", 0.7), share=0.5)
    assert max(found.values()) - min(found.values()) <= 1 / ITERATIONS


def test_one_that_was_not_heard_yet_counts_as_the_worst() -> None:
    assert crossing_shares({"ann": 0.2, "bo": 1.0, "cy": None}, share=0.5) == crossing_shares(
        {"ann": 0.2, "bo": 1.0, "cy": 1.0}, share=0.5
    )
