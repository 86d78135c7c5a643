"""How long a device leaves a full edge alone."""

import pytest

from headgate.runtime.session.back_off import FIRST_PAUSE_S, MAX_PAUSE_S, SHRINK, BackOff


def refuse_times(back_off: BackOff, num: int, *, now_s: float) -> list[float]:
    """Refuse one frame after each pause; return how long the pauses were, in seconds."""
    pauses_s = []
    for _ in range(num):
        back_off.refused(now_s=now_s)
        ends_s = back_off.ends_s(now_s=now_s)
        assert ends_s is not None
        pauses_s.append(ends_s - now_s)
        now_s = ends_s
    return pauses_s


def test_there_is_no_pause_before_a_refusal() -> None:
    assert BackOff().ends_s(now_s=0.0) is None


def test_pauses_double_up_to_a_second() -> None:
    pauses_s = refuse_times(BackOff(), 7, now_s=3.0)
    expected_s = [min(MAX_PAUSE_S, FIRST_PAUSE_S * 2**num) for num in range(7)]
    assert pauses_s == pytest.approx(expected_s)
    assert pauses_s[-1] == pytest.approx(1.0)


def test_several_frames_refused_at_once_are_one_refusal() -> None:
    back_off = BackOff()
    for after_s in (0.0, 0.001, 0.04):
        back_off.refused(now_s=1.0 + after_s)
    assert back_off.ends_s(now_s=1.049) == pytest.approx(1.0 + FIRST_PAUSE_S)
    assert refuse_times(back_off, 1, now_s=2.0) == pytest.approx([2 * FIRST_PAUSE_S])


def test_an_answer_shrinks_the_next_pause_and_many_make_it_the_first_again() -> None:
    back_off = BackOff()
    last_s = refuse_times(back_off, 4, now_s=0.0)[-1]
    back_off.answered()
    assert refuse_times(back_off, 1, now_s=5.0) == pytest.approx([2 * SHRINK * last_s])
    for _ in range(20):
        back_off.answered()
    assert refuse_times(back_off, 1, now_s=9.0) == pytest.approx([FIRST_PAUSE_S])


def test_another_connection_ends_the_pause() -> None:
    back_off = BackOff()
    back_off.refused(now_s=1.0)
    back_off.lift()
    assert back_off.ends_s(now_s=1.0) is None
