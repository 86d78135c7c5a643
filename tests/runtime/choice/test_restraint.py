"""When frames that will likely be late are held back, and when what came of others forbids it."""

from headgate.runtime.choice.restraint import LIKELY_LATE, TRIAL_EVERY, Restraint

HOPELESS = 0.1


def held_back(restraint: Restraint, *, on_time: float, times: int = TRIAL_EVERY) -> int:
    return sum(restraint.holds_back(on_time=on_time) for _ in range(times))


def learned(*, in_time: bool, times: int = 10, on_time: float | None = HOPELESS) -> Restraint:
    restraint = Restraint()
    for _ in range(times):
        restraint.learn(on_time=on_time, missed=not in_time)
    return restraint


def test_nothing_is_held_back_before_any_frame_was_late() -> None:
    assert held_back(Restraint(), on_time=0.0) == 0


def test_where_such_frames_were_late_all_but_trials_are_held_back() -> None:
    assert held_back(learned(in_time=False), on_time=HOPELESS) == TRIAL_EVERY - 1


def test_a_frame_that_is_likely_in_time_is_sent_whatever_became_of_others() -> None:
    assert held_back(learned(in_time=False), on_time=LIKELY_LATE) == 0


def test_trials_that_come_in_time_end_it() -> None:
    restraint = learned(in_time=False)
    for _ in range(3):
        restraint.learn(on_time=HOPELESS, missed=False)
    assert held_back(restraint, on_time=HOPELESS) == 0


def test_frames_that_were_expected_in_time_and_late_teach_nothing_of_the_others() -> None:
    assert held_back(learned(in_time=False, on_time=0.9), on_time=HOPELESS) == 0
    assert held_back(learned(in_time=False, on_time=None), on_time=HOPELESS) == 0
