"""What a busy uplink costs the next frames."""

from itertools import pairwise

import pytest

from headgate.runtime.choice.backlog import Backlog, Step

STEPS = (Step(2064, 0.68), Step(10_064, 0.73), Step(50_064, 0.772))


def backlog(*, window_s: float = 0.076, period_s: float = 1 / 30, fallback: float = 0.6) -> Backlog:
    return Backlog(STEPS, starts_s=0.003, window_s=window_s, period_s=period_s, fallback=fallback)


def test_idle_link_costs_nothing_and_a_busier_one_never_less() -> None:
    table = backlog()
    for mbps in (0.5, 3.0, 10.0, 100.0):
        costs = [table.at_each([mbps * 1e6])[0].cost(ms / 1e3) for ms in range(0, 500, 5)]
        assert costs[0] == 0
        assert costs == sorted(costs, reverse=True)
        assert table.at_each([mbps * 1e6])[0].cost(-1.0) == 0


def test_link_with_time_to_spare_forgives_a_short_backlog() -> None:
    # 100 Mbit/s: all layers take 4 ms of the 33 between two frames.
    assert backlog().at_each([100e6])[0].cost(0.02) == 0
    # 12 Mbit/s: a whole period, but the window is twice as long, and the backlog does not grow.
    assert backlog().at_each([12e6])[0].cost(0.02) == 0
    # 10 Mbit/s: more than a period. Frames have to be smaller now and then, and one more of them.
    assert backlog().at_each([10e6])[0].cost(0.02) < -0.01


def test_link_that_is_busy_for_a_whole_window_loses_whole_frames() -> None:
    table = backlog()
    lost = table.at_each([10e6])[0].cost(0.176)
    lost -= table.at_each([10e6])[0].cost(0.076)
    assert lost == pytest.approx(3 * -0.13, abs=0.06)  # three frames at .60 instead of .73


def test_beyond_the_table_each_further_second_costs_as_much() -> None:
    table = backlog()
    costs = [table.at_each([10e6])[0].cost(second) for second in (1.0, 2.0, 3.0)]
    assert costs[1] - costs[0] == pytest.approx(costs[2] - costs[1])
    assert costs[1] < costs[0]


@pytest.mark.parametrize("mbps", [0.5, 3.0, 10.0])
def test_cost_leaps_by_less_than_a_frame_where_the_table_ends(mbps: float) -> None:
    busy = backlog().at_each([mbps * 1e6])[0]
    costs = [busy.cost(ms / 1e3) for ms in range(170, 200)]
    assert all(before - after < 0.1 for before, after in pairwise(costs))


@pytest.mark.parametrize(("window_s", "period_s"), [(0.025, 1 / 30), (0.076, 1 / 30), (0.076, 1.0)])
def test_beyond_the_table_one_frame_is_lost_each_period(window_s: float, period_s: float) -> None:
    busy = backlog(window_s=window_s, period_s=period_s).at_each([10e6])[0]
    lost = busy.cost(10 + 5 * period_s) - busy.cost(10.0)
    # 50 kB take 40 ms: too long for the first window, and for each frame of the second case.
    least, most = (0.73, 0.73) if window_s < 0.04 else (0.75, 0.772)
    assert 5 * (0.6 - most) - 1e-9 <= lost <= 5 * (0.6 - least) + 1e-9


@pytest.mark.parametrize("rate_bps", [0.0, 50e3])
@pytest.mark.parametrize("fallback", [0.6, -1.0])  # a miss may have its price
def test_where_nothing_can_be_sent_a_busy_uplink_neither_earns_nor_costs(
    fallback: float, rate_bps: float
) -> None:
    busy = backlog(fallback=fallback).at_each([rate_bps])[0]
    assert [busy.cost(free_s) for free_s in (0.05, 0.15, 1000.0)] == [0.0] * 3


def test_between_two_times_of_the_table_the_cost_lies_between_theirs() -> None:
    busy = backlog().at_each([3e6])[0]
    for ms in range(180):
        here, there = busy.cost(ms / 1e3), busy.cost((ms + 1) / 1e3)
        assert busy.cost((ms + 0.25) / 1e3) == pytest.approx(0.75 * here + 0.25 * there, abs=1e-9)


def test_rates_asked_for_at_once_cost_what_each_does_alone_and_are_computed_once() -> None:
    table, rates_bps = backlog(), [10e6, 3e6, 3.01e6, 0.5e6]
    together = table.at_each(rates_bps)
    for busy, rate_bps in zip(together, rates_bps, strict=True):
        (alone,) = backlog().at_each([rate_bps])
        assert [busy.cost(s) for s in (0.02, 0.1, 1.0)] == [alone.cost(s) for s in (0.02, 0.1, 1.0)]
        assert table.at_each([rate_bps])[0] is busy
    assert together[1] is together[2]
