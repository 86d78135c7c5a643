"""A second connection beside one that stalls, in virtual time."""

from itertools import pairwise

import pytest

from headgate.runtime.session.standby import (
    FIRST_PAUSE_S,
    MAX_PAUSE_S,
    PATIENCE_S,
    TIMED_OUT_S,
    Standby,
    Step,
)
from runtime.device_bench import SPLIT, Bench, result


def look(
    standby: Standby,
    *,
    now_s: float = 10.0,
    overdue_s: float = 2 * PATIENCE_S,
    delay_s: float = 0.02,
    backs_off: bool | None = None,
) -> Step:
    return standby.look(overdue_s=overdue_s, delay_s=delay_s, backs_off=backs_off, now_s=now_s)


@pytest.mark.parametrize(
    ("overdue_s", "delay_s", "backs_off", "opens"),
    [
        (PATIENCE_S + 0.01, 0.02, None, True),
        (PATIENCE_S - 0.01, 0.02, None, False),
        (PATIENCE_S + 0.01, 0.6, None, False),  # a satellite
        (TIMED_OUT_S + 0.01, 0.02, True, True),
        (TIMED_OUT_S - 0.01, 0.02, True, False),
        (60.0, 0.02, False, False),  # slow, but bytes move: patience
    ],
)
def test_a_second_connection_is_opened_when_the_first_stalls(
    overdue_s: float, delay_s: float, backs_off: bool | None, opens: bool
) -> None:
    standby = Standby()
    step = look(standby, overdue_s=overdue_s, delay_s=delay_s, backs_off=backs_off)
    assert step is (Step.OPEN if opens else Step.NOTHING)
    assert standby.trying is opens


def test_the_second_takes_over_once_it_is_up_if_the_first_is_still_silent() -> None:
    standby = Standby()
    assert look(standby) is Step.OPEN
    assert look(standby) is Step.NOTHING
    standby.second_is_up(True)
    assert look(standby) is Step.SWITCH
    assert not standby.trying


def test_the_first_goes_on_if_it_speaks_again_before() -> None:
    standby = Standby()
    assert look(standby) is Step.OPEN
    standby.second_is_up(True)
    assert look(standby, overdue_s=0.0) is Step.CLOSE
    assert look(standby, overdue_s=0.0) is Step.NOTHING


def test_a_second_that_broke_again_does_not_take_over() -> None:
    standby = Standby()
    look(standby)
    standby.second_is_up(True)
    standby.second_is_up(False)
    assert look(standby) is Step.NOTHING


def test_take_overs_that_follow_each_other_soon_become_rarer() -> None:
    """The edge itself hangs, say: each connection gets through and none is answered."""
    standby, now_s, switches_s = Standby(), 0.0, []
    while now_s < 200.0:
        step = look(standby, now_s=now_s)
        if step is Step.OPEN:
            standby.second_is_up(True)
        elif step is Step.SWITCH:
            switches_s.append(now_s)
        now_s += 0.05
    pauses_s = [later - earlier for earlier, later in pairwise(switches_s)]
    assert pauses_s[0] == pytest.approx(FIRST_PAUSE_S, abs=0.2)
    assert all(later > earlier - 0.1 for earlier, later in pairwise(pauses_s))
    assert pauses_s[-1] == pytest.approx(MAX_PAUSE_S, abs=0.2)


def test_it_is_looked_at_only_while_something_is_overdue() -> None:
    standby = Standby()
    assert standby.next_timer_s(overdue_from_s=None, now_s=5.0) is None
    assert standby.next_timer_s(overdue_from_s=4.9 - TIMED_OUT_S, now_s=5.0) == pytest.approx(5.1)
    look(standby)
    assert standby.next_timer_s(overdue_from_s=None, now_s=5.0) == pytest.approx(5.1)


def test_it_is_looked_at_when_something_becomes_overdue() -> None:
    timer_s = Standby().next_timer_s(overdue_from_s=7.0, now_s=5.0)
    assert timer_s == pytest.approx(7.0 + TIMED_OUT_S)


def test_a_connection_that_stalls_is_replaced_though_no_frame_comes_for_long() -> None:
    """A message that may take longer than its frame's deadline, and after that nothing is due."""
    bench, standby = Bench(SPLIT, sla_s=1.0), Standby()
    bench.welcomed()
    for _ in range(20):
        frame_id = bench.capture()
        bench.compute()
        bench.now_s += 0.6
        bench.receive(result(frame_id, now_s=bench.now_s))
    bench.capture()
    bench.compute()
    traffic, captured_s = bench.session.edge.traffic, bench.now_s
    opened_s = None
    while opened_s is None:
        link_s = standby.next_timer_s(overdue_from_s=traffic.overdue_from_s(), now_s=bench.now_s)
        timers_s = [at_s for at_s in (link_s, bench.session.next_timer_s()) if at_s is not None]
        assert timers_s, bench.now_s - captured_s
        bench.now_s = max(bench.now_s, min(timers_s))
        bench.take(bench.session.handle_timer(now_s=bench.now_s))
        overdue_s = traffic.overdue_s(now_s=bench.now_s)
        if look(standby, now_s=bench.now_s, overdue_s=overdue_s, delay_s=0.04) is Step.OPEN:
            opened_s = bench.now_s
    assert 1.0 < opened_s - captured_s < 5.0
