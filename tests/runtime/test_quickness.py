"""Which work is done at once."""

from headgate.runtime.quickness import ALONE_RUNS, MIN_RUNS, QUICK_S, Quickness


def known(duration_s: float) -> Quickness:
    quickness = Quickness()
    for _ in range(MIN_RUNS):
        quickness.took("tail", duration_s)
    return quickness


def test_short_work_is_quick_once_it_was_seen_a_few_times() -> None:
    quickness = Quickness()
    assert not quickness.is_quick("tail")
    quickness.took("tail", 0.0005)
    assert not quickness.is_quick("tail")
    assert known(0.0005).is_quick("tail")
    assert not known(0.002).is_quick("tail")
    assert not known(0.0005).is_quick("other")


def test_somewhat_longer_work_is_quick_while_nothing_comes_meanwhile() -> None:
    quickness = known(0.003)
    for _ in range(ALONE_RUNS):
        assert not quickness.is_quick("tail")
        quickness.was_alone(True)
    assert quickness.is_quick("tail")
    quickness.was_alone(False)
    assert not quickness.is_quick("tail")


def test_long_work_is_never_quick() -> None:
    quickness = known(0.02)
    for _ in range(2 * ALONE_RUNS):
        quickness.was_alone(True)
    assert not quickness.is_quick("tail")


def test_work_is_quick_only_after_some_runs_and_while_it_stays_so() -> None:
    quickness = Quickness()
    for _ in range(MIN_RUNS - 1):
        quickness.took("head", QUICK_S / 10)
    assert not quickness.is_quick("head")
    quickness.took("head", QUICK_S / 10)
    assert quickness.is_quick("head")
    assert not quickness.is_quick("tail")
    for _ in range(20):
        quickness.took("head", 3 * QUICK_S)
    assert not quickness.is_quick("head")
