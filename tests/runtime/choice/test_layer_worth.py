"""How much more of a frame is worth sending, over rates that the test makes up."""

import pytest

from headgate.runtime.choice.backlog import Backlog, Step
from headgate.runtime.choice.layer_worth import Rate, plan_steps

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
