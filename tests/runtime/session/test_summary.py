"""Adding records up."""

from dataclasses import replace

import pytest

from headgate.runtime.records import Source, Stages
from headgate.runtime.session.summary import Tally
from runtime.test_records import RECORD, UNANSWERED


def test_empty_run_has_a_summary() -> None:
    summary = Tally().summary()
    assert (summary.frames, summary.credited, summary.latency_p50_s) == (0, None, None)
    assert summary.by_source == {"edge": 0, "local": 0, "none": 0}
    assert summary.to_json()["expected_credited"] == 0.0


def test_late_and_unanswered_frames_are_credited_as_wrong() -> None:
    tally = Tally()
    tally.add(RECORD)  # in time, correct
    tally.add(replace(RECORD, correct=False, source=Source.LOCAL, quality=0.5))
    tally.add(replace(RECORD, deadline_met=False))  # correct, but late
    tally.add(replace(UNANSWERED, correct=False))
    summary = tally.summary()
    assert (summary.frames, summary.answered, summary.within_sla) == (4, 3, 2)
    assert summary.accuracy_in_time == 0.5
    assert summary.credited == 0.25
    assert summary.expected_credited == pytest.approx((0.934 + 0.5) / 4)
    assert summary.by_source == {"edge": 2, "local": 1, "none": 1}
    assert summary.by_reason == {"edge": 3, "superseded": 1}
    assert summary.num_bytes == 3 * 386


def test_switches_count_changes_of_the_chosen_point() -> None:
    tally = Tally()
    for point in ("a", "a", "b", None, "b", "a"):
        tally.add(replace(RECORD, point=point))
    assert tally.summary().switches == 2
    assert tally.summary().by_point == {"a": 3, "b": 2}


def test_answers_are_counted_by_the_point_they_are_from_and_not_by_the_one_that_was_chosen() -> (
    None
):
    tally = Tally()
    prefix = replace(RECORD, point="b8r1-l8-p4", answered_point="b8r1-l8-p2")
    tally.add(prefix)
    tally.add(replace(prefix, answered_point="b8r1-l8-p3"))
    tally.add(prefix)
    tally.add(replace(prefix, answered_point=None))  # of a version that did not say it
    tally.add(replace(prefix, source=Source.LOCAL, answered_point="local-full"))  # in its place
    tally.add(replace(prefix, source=Source.LOCAL, answered_point=None))
    tally.add(UNANSWERED)
    assert tally.summary().by_point == {"b8r1-l8-p4": 6}
    assert tally.summary().by_answer == {
        "b8r1-l8-p2": 2,
        "b8r1-l8-p3": 1,
        "b8r1-l8-p4": 1,
        "local-full": 1,
        "early exit": 1,
    }
    assert sum(tally.summary().by_answer.values()) == tally.summary().answered


def test_latency_quantiles_are_exact_to_one_percent() -> None:
    tally = Tally()
    for ms in range(1, 1001):
        tally.add(replace(RECORD, stages=Stages(total_s=ms / 1000)))
    summary = tally.summary()
    assert summary.latency_p50_s == pytest.approx(0.500, rel=0.011)
    assert summary.latency_p95_s == pytest.approx(0.950, rel=0.011)
    assert summary.latency_p99_s == pytest.approx(0.990, rel=0.011)


def test_first_and_last_capture_are_kept_whatever_the_order() -> None:
    tally = Tally()
    for captured_s in (2.0, 0.0, 5.0, 1.0):
        tally.add(replace(RECORD, captured_s=captured_s))
    assert (tally.summary().first_captured_s, tally.summary().last_captured_s) == (0.0, 5.0)
