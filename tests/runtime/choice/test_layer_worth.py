"""How much more of a frame is worth sending, over rates that the test makes up."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from headgate.runtime.choice.backlog import Backlog, Step
from headgate.runtime.choice.layer_worth import (
    LayerPlan,
    Plan,
    Rate,
    free_at,
    plan_steps,
    through_by_s,
)
from headgate.runtime.link.forecast import Forecast
from headgate.runtime.link.outlook import Outlook

PERIOD_S, WINDOW_S = 1 / 60, 0.036
STEPS = (Step(1900, 0.8),)  # 19 ms at 0.8 Mbit/s: hardly too slow for every frame
BACKLOG = Backlog(STEPS, starts_s=0.005, window_s=WINDOW_S, period_s=PERIOD_S, fallback=0.0)
# The uplink is busy: most likely until the frame is late, but perhaps it is faster than believed.
RATES = [Rate(0.8e6, 6 / 7, 0.040), Rate(2e6, 1 / 7, 0.010)]


def num_planned(*, released_bytes: float, next_s: float = PERIOD_S) -> int:
    plan = plan_steps(
        STEPS,
        RATES,
        quality=0.0,
        leaving_s=0.005,
        by_s=WINDOW_S,
        next_s=next_s,
        backlog=BACKLOG,
        released_bytes=released_bytes,
    )
    return plan.num_steps


def test_what_is_put_on_a_busy_uplink_now_costs_the_next_frames_though_it_is_late() -> None:
    """What can still be left out costs nothing there: it will have been by then."""
    assert num_planned(released_bytes=0.0) == 1
    assert num_planned(released_bytes=1000.0) == 0


@pytest.mark.parametrize("released_bytes", [0.0, 1000.0])
def test_it_costs_nothing_where_the_next_frame_is_far_away(released_bytes: float) -> None:
    assert num_planned(released_bytes=released_bytes, next_s=0.2) == 1


STEADY = (Rate(2e6, 1.0, 0.0),)


def plan_of_two(
    *,
    by_s: float,
    second: float,
    begun: bool = False,
    rates: Sequence[Rate] = STEADY,
    leaving_s: float = 0.0,
    next_s: float = 1.0,
    recallable: bool = True,
    window_s: float | None = None,
) -> Plan:
    """Two layers that a steady, idle link of 2 Mbit/s has through after 16 and 20 ms."""
    steps = (Step(4000, 0.5), Step(5000, second))
    window_s = by_s if window_s is None else window_s
    backlog = Backlog(steps, starts_s=0.0, window_s=window_s, period_s=PERIOD_S, fallback=0.4)
    return plan_steps(
        steps,
        rates,
        quality=0.4,
        leaving_s=leaving_s,
        by_s=by_s,
        next_s=next_s,
        backlog=backlog,
        begun=begun,
        recallable=recallable,
    )


def test_layers_go_as_one_message_where_the_edge_would_not_wait_for_the_second() -> None:
    ample = plan_of_two(by_s=0.024, second=0.6)
    assert (ample.num_steps, ample.together) == (2, False)
    short = plan_of_two(by_s=0.022, second=0.6)
    assert (short.num_steps, short.together) == (2, True)
    assert short.credit == pytest.approx(0.2)


def test_a_message_with_all_is_no_bet_for_little_more_nor_once_the_frame_has_begun() -> None:
    little = plan_of_two(by_s=0.022, second=0.52)
    assert (little.num_steps, little.together) == (1, False)
    assert not plan_of_two(by_s=0.022, second=0.6, begun=True).together
    assert not plan_of_two(by_s=0.019, second=0.6).together  # late in any case


DOUBTFUL = (Rate(2e6, 0.75, 0.0), Rate(1e6, 0.25, 0.0))


@pytest.mark.parametrize(("by_s", "together"), [(0.03, False), (0.022, True)])
def test_the_chance_of_a_plan_is_that_of_the_rates_that_have_its_first_layer_in_time(
    by_s: float, together: bool
) -> None:
    plan = plan_of_two(by_s=by_s, second=0.6, rates=DOUBTFUL)
    assert (plan.num_steps, plan.together) == (2, together)
    assert plan.on_time == pytest.approx(0.75)


def test_a_message_with_all_pays_the_price_of_what_is_late_at_the_rates_at_which_it_is() -> None:
    plan = plan_of_two(by_s=0.022, second=0.6, rates=DOUBTFUL)
    assert plan.credit == pytest.approx(0.75 * 0.2 - 0.25 * 0.022)


def test_layers_leave_when_the_frame_is_ready_though_the_uplink_is_free() -> None:
    assert plan_of_two(by_s=0.02, second=0.6, leaving_s=0.003).on_time == 1.0
    assert plan_of_two(by_s=0.02, second=0.6, leaving_s=0.005).on_time == 0.0


def test_a_layer_behind_others_of_its_frame_must_be_there_sooner_than_the_first() -> None:
    assert plan_of_two(by_s=0.018, second=0.5).num_steps == 1
    assert plan_of_two(by_s=0.018, second=0.5, begun=True).num_steps == 0
    assert plan_of_two(by_s=0.020, second=0.5, begun=True).num_steps == 1


def test_what_cannot_be_recalled_stays_on_the_uplink_though_it_is_late() -> None:
    late = [
        plan_of_two(
            by_s=0.010, second=0.5, next_s=0.005, recallable=recallable, window_s=0.022
        ).credit
        for recallable in (True, False)
    ]
    assert late[1] < late[0] - 0.01


def test_of_no_layers_none_is_worth_sending() -> None:
    backlog = Backlog(STEPS, starts_s=0.0, window_s=0.1, period_s=PERIOD_S, fallback=0.4)
    plan = plan_steps((), STEADY, quality=0.4, leaving_s=0.0, by_s=0.1, next_s=1.0, backlog=backlog)
    assert plan == Plan(0, 0.0, 0.0)


def test_layers_are_vain_where_no_prefix_is_worth_more_than_the_own_answer() -> None:
    def is_vain(*qualities: float) -> bool:
        return LayerPlan(qualities, 0.6, PERIOD_S, BACKLOG, 0).is_vain

    assert is_vain(0.5, 0.6)
    assert is_vain(0.6, 0.5)
    assert not is_vain(0.5, 0.7)
    assert not is_vain(0.7, 0.5)


def test_bytes_must_be_through_by_what_delay_noise_edge_leave_and_the_queue_drains_at_a_rate() -> (
    None
):
    steady = Forecast(math.log(2e6), [0.0])
    link = Outlook(5.0, 0.02, steady, 1000, busy_since_s=4.998, age_s=0.0, noise_s=0.003)
    assert through_by_s(link, deadline_s=5.1, edge_s=0.007) == pytest.approx(5.070)
    assert free_at(link, 1e6) == pytest.approx(5.006)
    assert free_at(link, 8e6) == 5.0  # through by now, as far as is believed
    behind = replace(link, unsent_bytes=500)
    assert free_at(behind, 1e6) == pytest.approx(5.010)
    assert free_at(behind, 8e6) == pytest.approx(5.0005)
