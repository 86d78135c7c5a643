"""Which frames share a table of backlogs, and what a table leaves out."""

import math

import pytest

from headgate.runtime.choice.backlog import Step
from headgate.runtime.choice.backlogs import MAX_TABLES, Backlogs, FrameTimes
from headgate.runtime.link.forecast import Forecast
from headgate.runtime.link.outlook import Outlook

STEPS = (Step(2064, 0.68), Step(10_064, 0.73), Step(50_064, 0.772))
OUTLOOK = Outlook(0.0, 0.02, Forecast(math.log(3e6), [0.0]), 0, busy_since_s=0.0, age_s=0.0)
PERIOD_S = 1 / 30


def times(
    *, sla_s: float = 0.1, period_s: float = PERIOD_S, leaving_s: float = 0.005
) -> FrameTimes:
    return FrameTimes(0.0, leaving_s, sla_s, edge_s=0.0, period_s=period_s)


def test_bytes_have_what_delay_noise_and_edge_leave_of_the_time_from_capture_to_deadline() -> None:
    forecast = Forecast(math.log(3e6), [0.0])
    outlook = Outlook(5.0, 0.02, forecast, 0, busy_since_s=0.0, age_s=0.0, noise_s=0.003)
    frame = FrameTimes(5.0, 5.005, deadline_s=5.1, edge_s=0.007, period_s=PERIOD_S)
    assert frame.window_s(outlook) == pytest.approx(0.070)


def test_a_table_tells_times_from_the_capture_on() -> None:
    sooner = Backlogs(STEPS).at(OUTLOOK, times(), fallback=0.6)
    later_times = FrameTimes(7.0, 7.005, 7.1, edge_s=0.0, period_s=PERIOD_S)
    later = Backlogs(STEPS).at(OUTLOOK, later_times, fallback=0.6)
    for free_s in (0.01, 0.03, 0.1, 0.3):
        cost = sooner.at_each([3e6])[0].cost(free_s)
        assert later.at_each([3e6])[0].cost(free_s) == pytest.approx(cost)


@pytest.mark.parametrize(
    ("sla_s", "period_s", "fallback"), [(0.0, PERIOD_S, 0.6), (0.1, 0.0, 0.6), (0.1, PERIOD_S, 0.9)]
)
def test_a_queue_costs_nothing_where_nothing_can_be_sent_or_gained(
    sla_s: float, period_s: float, fallback: float
) -> None:
    table = Backlogs(STEPS).at(OUTLOOK, times(sla_s=sla_s, period_s=period_s), fallback=fallback)
    costs = [table.at_each([3e6])[0].cost(free_s) for free_s in (0.0, 0.05, 0.5)]
    assert costs == pytest.approx([0.0] * 3)


def test_frames_that_differ_by_little_share_a_table() -> None:
    tables = Backlogs(STEPS)
    usual = tables.at(OUTLOOK, times(), fallback=0.6)
    assert tables.at(OUTLOOK, times(sla_s=0.101, leaving_s=0.006), fallback=0.601) is usual
    assert tables.at(OUTLOOK, times(sla_s=0.15), fallback=0.6) is not usual
    assert tables.at(OUTLOOK, times(period_s=0.05), fallback=0.6) is not usual
    assert tables.at(OUTLOOK, times(leaving_s=0.02), fallback=0.6) is not usual
    assert tables.at(OUTLOOK, times(), fallback=0.5) is not usual


def test_worth_of_answering_here_that_never_stays_the_same_needs_few_tables() -> None:
    """It is a share where answering takes longer than a period, and holds the price of misses."""
    tables = Backlogs(STEPS)
    slow = {id(tables.at(OUTLOOK, times(), fallback=0.45 + i / 1e4)) for i in range(300)}
    assert len(slow) <= 3
    missing = {id(tables.at(OUTLOOK, times(), fallback=-1.0 - i / 1e3)) for i in range(300)}
    assert len(missing) <= 3


def test_worth_of_answering_here_near_that_of_the_edge_is_told_apart_finely() -> None:
    tables = Backlogs(STEPS)
    assert tables.at(OUTLOOK, times(), fallback=0.762) is not tables.at(
        OUTLOOK, times(), fallback=0.767
    )


def test_only_the_tables_last_used_are_kept() -> None:
    tables = Backlogs(STEPS)
    first = tables.at(OUTLOOK, times(), fallback=0.6)
    for i in range(1, MAX_TABLES):
        tables.at(OUTLOOK, times(sla_s=0.1 * 1.3**i, period_s=1.0), fallback=0.6)
    assert tables.at(OUTLOOK, times(), fallback=0.6) is first
    for i in range(MAX_TABLES):
        tables.at(OUTLOOK, times(sla_s=0.1 * 1.3**i, period_s=0.5), fallback=0.6)
    assert tables.at(OUTLOOK, times(), fallback=0.6) is not first


@pytest.mark.parametrize("sla_s", [0.3, 1.0, 2.0, 1000.0])
def test_a_queue_has_its_cost_however_long_frames_may_take(sla_s: float) -> None:
    """No table looks as far ahead as seconds: a queue of that length would cost nothing in it."""
    table = Backlogs(STEPS).at(OUTLOOK, times(sla_s=sla_s), fallback=0.6)
    costs = [table.at_each([3e6])[0].cost(free_s) for free_s in (0.1, 0.25, 0.5, 1.0)]
    assert costs == sorted(costs, reverse=True)
    assert costs[1] < -0.02
    assert costs[3] - costs[2] == pytest.approx(15 * -0.12, rel=0.35)  # frames at .60, not .72
