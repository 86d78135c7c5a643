"""How much more of a frame is worth sending, over rates that the test makes up."""

import pytest

from headgate.runtime.choice.backlog import Backlog, Step
from headgate.runtime.choice.layer_worth import Plan, Rate, plan_steps

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


def plan_of_two(*, by_s: float, second: float, begun: bool = False) -> Plan:
    """Two layers that a steady, idle link of 2 Mbit/s has through after 16 and 20 ms."""
    steps = (Step(4000, 0.5), Step(5000, second))
    backlog = Backlog(steps, starts_s=0.0, window_s=by_s, period_s=PERIOD_S, fallback=0.4)
    return plan_steps(
        steps,
        [Rate(2e6, 1.0, 0.0)],
        quality=0.4,
        leaving_s=0.0,
        by_s=by_s,
        next_s=1.0,
        backlog=backlog,
        begun=begun,
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
