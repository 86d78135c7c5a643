"""What a frame that goes whole costs the frames after it."""

import math
from dataclasses import replace

import pytest

from headgate.runtime.choice.backlog import Backlog, Step
from headgate.runtime.choice.backlogs import FrameTimes
from headgate.runtime.choice.whole_worth import MAX_STEPS, Queueing, expected_on_time, few_of
from headgate.runtime.link.forecast import Forecast
from headgate.runtime.link.outlook import Outlook

PERIOD_S = 1 / 30
TIMES = FrameTimes(captured_s=0.0, leaving_s=0.005, deadline_s=0.1, edge_s=0.0, period_s=PERIOD_S)
RUNGS = ((2000, 0.68), (10_000, 0.73), (20_000, 0.75))
FALLBACK = 0.6


def outlook(mbps: float, *, ahead_bytes: int = 0) -> Outlook:
    steady = Forecast(math.log(mbps * 1e6), [0.001 * i for i in range(-10, 11)])
    return Outlook(0.0, 0.02, steady, ahead_bytes, busy_since_s=0.0, age_s=0.0)


def cost(num_bytes: float, prospect: Outlook) -> float:
    queue = Queueing(RUNGS).at(prospect, TIMES, fallback=FALLBACK)
    return queue.cost(num_bytes, leaving_s=TIMES.leaving_s)


def test_what_is_through_before_the_next_frame_is_there_costs_nothing() -> None:
    assert cost(2000, outlook(3.0)) == 0.0


def test_what_keeps_the_uplink_busy_costs_the_more_the_longer_it_does() -> None:
    costs = [cost(num_bytes, outlook(3.0)) for num_bytes in (10_000, 20_000, 30_000, 60_000)]
    assert costs == sorted(costs, reverse=True)
    assert -0.1 < costs[1] < -0.005  # a point is to spare for one frame, not for each
    assert costs[-1] < costs[1] - 0.05


def test_a_frame_behind_others_costs_more_than_one_that_finds_the_uplink_free() -> None:
    assert cost(20_000, outlook(3.0, ahead_bytes=10_000)) < cost(20_000, outlook(3.0)) - 0.005


def test_what_is_on_the_uplink_already_is_not_charged_to_a_frame() -> None:
    assert cost(1, outlook(3.0, ahead_bytes=40_000)) == pytest.approx(0.0, abs=0.005)


def test_a_frame_that_leaves_later_keeps_the_uplink_busy_until_later() -> None:
    queue = Queueing(RUNGS).at(outlook(3.0), TIMES, fallback=FALLBACK)
    assert queue.cost(10_000, leaving_s=0.030) < queue.cost(10_000, leaving_s=0.005) - 0.01


def test_where_nothing_is_worth_sending_a_queue_costs_nothing() -> None:
    hopeless = Queueing([(1e6, 0.9)]).at(outlook(1.0), TIMES, fallback=FALLBACK)
    assert hopeless.cost(5000, leaving_s=TIMES.leaving_s) == pytest.approx(0.0, abs=1e-9)


def test_chance_to_be_on_time_is_weighed_over_the_sizes_a_payload_may_have() -> None:
    prospect = outlook(3.0)
    alone = {"by_s": 0.08, "leaving_s": 0.0}  # 60 ms of uplink: 22.5 kB
    assert expected_on_time(prospect, (10e3, 20e3, 22e3), **alone) == pytest.approx(1.0, abs=0.05)
    assert expected_on_time(prospect, (10e3, 20e3, 30e3), **alone) == pytest.approx(0.75, abs=0.05)
    assert expected_on_time(prospect, (30e3, 30e3, 30e3), **alone) == pytest.approx(0.0, abs=0.05)


def test_a_doubtful_link_costs_less_than_its_worst_rates_and_more_than_its_middling_one() -> None:
    level, moods = math.log(6e6), [-1.5] * 4 + [0.0] * 6
    doubtful = Outlook(0.0, 0.02, Forecast(level, moods), 0, busy_since_s=0.0, age_s=0.0)
    assert cost(20_000, outlook(6e6 * math.exp(-1.5) / 1e6)) < cost(20_000, doubtful)
    assert cost(20_000, doubtful) < cost(20_000, outlook(6.0))


def test_a_long_deadline_is_no_reason_for_a_long_queue() -> None:
    """A rate that holds for half a second is not to be counted on: what is queued would be late."""
    patient = replace(TIMES, deadline_s=0.5)
    costs = []
    for times in (TIMES, patient):
        queue = Queueing(RUNGS).at(outlook(3.0), times, fallback=FALLBACK)
        costs.append(queue.cost(60_000, leaving_s=times.leaving_s))  # 160 ms of the link
    assert costs[1] < 0.8 * costs[0] < 0


def test_rungs_that_a_smaller_one_equals_are_left_out_of_the_table() -> None:
    steps = [Step(9000, 0.70), Step(2000, 0.68), Step(5000, 0.705), Step(5000, 0.66)]
    assert few_of(steps) == (Step(2000, 0.68), Step(5000, 0.705))


def test_of_a_dense_ladder_a_few_rungs_from_end_to_end_say_what_a_queue_costs() -> None:
    dense = tuple(Step(500 * 1.03**i, 0.65 + 0.0007 * i) for i in range(200))
    few = few_of(dense)
    assert len(few) == MAX_STEPS
    assert (few[0], few[-1]) == (dense[0], dense[-1])
    all_of_them, found = (
        Backlog(steps, starts_s=0.005, window_s=0.077, period_s=PERIOD_S, fallback=FALLBACK)
        for steps in (dense, few)
    )
    for mbps in (1.0, 3.0, 12.0):
        for free_s in (0.01, 0.03, 0.05, 0.12):
            cost = all_of_them.at_each([mbps * 1e6])[0].cost(free_s)
            assert found.at_each([mbps * 1e6])[0].cost(free_s) == pytest.approx(cost, abs=0.004)


def test_where_frames_in_time_are_through_before_the_next_doubt_costs_nothing() -> None:
    hurried = replace(TIMES, deadline_s=0.05)  # less 20 ms of delay: 30 of a period of 33
    moods = [-1.5] * 4 + [0.0] * 6
    doubtful = Outlook(0.0, 0.02, Forecast(math.log(6e6), moods), 0, busy_since_s=0.0, age_s=0.0)
    in_doubt = Queueing(RUNGS).at(doubtful, hurried, fallback=FALLBACK)
    assert in_doubt.cost(15_000, leaving_s=hurried.leaving_s) == 0.0
    assert cost(15_000, doubtful) < 0
