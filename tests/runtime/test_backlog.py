"""What a busy uplink costs the next frames."""

import pytest

from headgate.runtime.backlog import Backlog, Step

STEPS = (Step(2064, 0.68), Step(10_064, 0.73), Step(50_064, 0.772))


def backlog(*, window_s: float = 0.076, period_s: float = 1 / 30) -> Backlog:
    return Backlog(STEPS, starts_s=0.003, window_s=window_s, period_s=period_s, fallback=0.6)


def test_idle_link_costs_nothing_and_a_busier_one_never_less() -> None:
    table = backlog()
    for mbps in (0.5, 3.0, 10.0, 100.0):
        costs = [table.cost(rate_bps=mbps * 1e6, free_after_s=ms / 1e3) for ms in range(0, 500, 5)]
        assert costs[0] == 0
        assert costs == sorted(costs, reverse=True)
        assert table.cost(rate_bps=mbps * 1e6, free_after_s=-1.0) == 0


def test_link_with_time_to_spare_forgives_a_short_backlog() -> None:
    # 100 Mbit/s: all layers take 4 ms of the 33 between two frames.
    assert backlog().cost(rate_bps=100e6, free_after_s=0.02) == 0
    # 12 Mbit/s: a whole period, but the window is twice as long, and the backlog does not grow.
    assert backlog().cost(rate_bps=12e6, free_after_s=0.02) == 0
    # 10 Mbit/s: more than a period. Frames have to be smaller now and then, and one more of them.
    assert backlog().cost(rate_bps=10e6, free_after_s=0.02) < -0.01


def test_link_that_is_busy_for_a_whole_window_loses_whole_frames() -> None:
    table = backlog()
    lost = table.cost(rate_bps=10e6, free_after_s=0.176)
    lost -= table.cost(rate_bps=10e6, free_after_s=0.076)
    assert lost == pytest.approx(3 * -0.13, abs=0.06)  # three frames at .60 instead of .73


def test_beyond_the_table_each_further_second_costs_as_much() -> None:
    table = backlog()
    costs = [table.cost(rate_bps=10e6, free_after_s=second) for second in (1.0, 2.0, 3.0)]
    assert costs[1] - costs[0] == pytest.approx(costs[2] - costs[1])
    assert costs[1] < costs[0]
