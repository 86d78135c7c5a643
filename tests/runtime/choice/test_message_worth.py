"""How many small layers share a message, by how much time and doubt there is."""

import pytest

from headgate.runtime.choice.backlog import Backlog, Step
from headgate.runtime.choice.layer_worth import EDGE_MARGIN_S, Rate
from headgate.runtime.choice.message_worth import layers_together

STEPS = (Step(100.0, 0.6), Step(200.0, 0.7), Step(400.0, 0.8))
PERIOD_S = 0.1


def together(rates_bps: tuple[float, ...], *, by_s: float, begun: bool = False) -> int:
    backlog = Backlog(STEPS, starts_s=0.0, window_s=by_s, period_s=PERIOD_S, fallback=0.0)
    return layers_together(
        STEPS,
        [Rate(bps, 1 / len(rates_bps), free_s=0.0) for bps in rates_bps],
        quality=0.0,
        leaving_s=0.0,
        by_s=by_s,
        next_s=PERIOD_S,
        backlog=backlog,
        begun=begun,
    )


def test_layers_that_are_in_time_at_every_rate_share_a_message() -> None:
    assert together((100e3, 200e3, 400e3), by_s=0.05) == 3


@pytest.mark.parametrize(("rate_bps", "expected"), [(64e3, 3), (32e3, 2), (16e3, 1)])
def test_a_message_holds_what_is_in_time_at_a_rate_that_is_sure(
    rate_bps: float, expected: int
) -> None:
    assert together((rate_bps,), by_s=0.0501) == expected


def test_a_layer_that_is_late_at_one_rate_of_two_is_not_worth_the_one_before_it() -> None:
    assert together((64e3, 20e3), by_s=0.0501) == 1  # 200 bytes take 25 and 80 ms


def test_a_layer_that_is_hardly_ever_late_is_worth_it() -> None:
    assert together((64e3,) * 30 + (20e3,), by_s=0.0501) == 3


def test_of_a_frame_that_is_begun_the_edge_needs_the_message_earlier() -> None:
    by_s = 8 * 400 / 64e3 + EDGE_MARGIN_S / 2
    assert together((64e3,), by_s=by_s) == 3
    assert together((64e3,), by_s=by_s, begun=True) == 2
