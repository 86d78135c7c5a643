"""When the path is asked how it is."""

import math

from headgate.runtime.session.probing import (
    DELAY_PROBE_S,
    LOCAL_PROBE_BYTES,
    LOCAL_PROBE_S,
    MAX_UPWARD_PROBE_BYTES,
    PATIENCE,
    UPWARD_PROBE_S,
    ProbeNeed,
    Probing,
)

QUIET = ProbeNeed(until_s=9.0, local_bytes=0, upward_bytes=0)
LOCAL = ProbeNeed(until_s=9.0, local_bytes=LOCAL_PROBE_BYTES, upward_bytes=0)
UPWARD = ProbeNeed(until_s=9.0, local_bytes=0, upward_bytes=6000)


def test_the_delay_is_asked_for_once_a_second() -> None:
    probing = Probing()
    probing.make(0, now_s=5.0)
    assert probing.due(QUIET, sent_s=5.4, answered_s=0.0, is_waiting=False) == (
        5.0 + DELAY_PROBE_S,
        0,
        False,
    )


def test_frames_that_stay_here_are_stood_in_for_by_small_probes() -> None:
    probing = Probing()
    probing.make(0, now_s=5.0)
    due = probing.due(LOCAL, sent_s=5.4, answered_s=0.0, is_waiting=False)
    assert due == (5.4 + LOCAL_PROBE_S, LOCAL_PROBE_BYTES, False)


def test_small_probes_do_not_keep_in_step_with_the_turns_of_a_link() -> None:
    """Each is answered 10 ms after a turn, of which there are ten a second."""
    probing, now_s, num_bytes, waits_s = Probing(), 5.015, 0, []
    for _ in range(40):
        turn_s = math.ceil(now_s / 0.1) * 0.1
        if num_bytes == LOCAL_PROBE_BYTES:
            waits_s.append(turn_s - now_s)
        probing.make(num_bytes, now_s=now_s)
        due = probing.due(LOCAL, sent_s=now_s, answered_s=turn_s + 0.01, is_waiting=False)
        now_s, num_bytes = max(due.due_s, turn_s + 0.01), due.num_bytes
    assert min(waits_s) < 0.03
    assert max(waits_s) > 0.08


def test_a_rung_above_is_explored_now_and_then_and_never_with_too_much() -> None:
    probing = Probing()
    probing.make(6000, upward=True, now_s=4.0)
    probing.make(0, now_s=5.9)
    assert probing.due(UPWARD, sent_s=5.9, answered_s=0.0, is_waiting=False) == (
        4.0 + UPWARD_PROBE_S,
        6000,
        True,
    )
    huge = ProbeNeed(until_s=9.0, local_bytes=0, upward_bytes=10**9)
    assert (
        probing.due(huge, sent_s=5.9, answered_s=0.0, is_waiting=False).num_bytes
        == MAX_UPWARD_PROBE_BYTES
    )


def test_a_probe_in_place_of_frames_does_not_count_as_one_for_a_rung_above() -> None:
    probing = Probing()
    probing.make(6000, upward=True, now_s=4.0)
    probing.make(LOCAL_PROBE_BYTES, now_s=5.5)
    probing.make(0, now_s=5.9)
    assert (
        probing.due(UPWARD, sent_s=5.9, answered_s=0.0, is_waiting=False).due_s
        == 4.0 + UPWARD_PROBE_S
    )


def test_a_rung_as_large_as_a_stand_in_is_not_explored_more_often_than_others() -> None:
    probing = Probing()
    probing.make(0, now_s=5.0)
    same = ProbeNeed(until_s=9.0, local_bytes=0, upward_bytes=LOCAL_PROBE_BYTES)
    due = probing.due(same, sent_s=5.4, answered_s=0.0, is_waiting=False)
    assert due.due_s <= 5.4
    probing.make(due.num_bytes, upward=due.upward, now_s=5.4)
    assert probing.due(same, sent_s=5.4, answered_s=0.0, is_waiting=False) == (
        5.0 + DELAY_PROBE_S,
        0,
        False,
    )


def test_while_something_is_out_its_answer_is_waited_for() -> None:
    probing = Probing()
    probing.make(0, now_s=5.0)
    assert probing.due(UPWARD, sent_s=5.4, answered_s=0.0, is_waiting=True) == (
        5.4 + DELAY_PROBE_S,
        0,
        False,
    )
    busy = probing.due(UPWARD, sent_s=8.9, answered_s=0.0, is_waiting=True)
    assert busy == (5.0 + PATIENCE * DELAY_PROBE_S, 0, False)
    lost = probing.due(LOCAL, sent_s=5.4, answered_s=0.0, is_waiting=True)
    assert lost == (5.4 + DELAY_PROBE_S, LOCAL_PROBE_BYTES, False)


def test_probes_are_numbered_and_stamped() -> None:
    probing = Probing()
    first, second = probing.make(0, now_s=1.5), probing.make(40, now_s=2.0)
    assert (first.probe_id, second.probe_id) == (0, 1)
    assert (first.sent_us, second.sent_us) == (1_500_000, 2_000_000)
    assert len(second.padding) == 40
