"""What waits for a call that may block, and gives it up."""

import threading
from collections.abc import Iterator

import pytest

from headgate.runtime.device.aside import SilentError, StoppedError, iterate_aside, run_aside


def never() -> bool:
    return False


def test_what_is_run_aside_returns_and_raises_as_if_it_were_called() -> None:
    def fails() -> int:
        raise KeyError("x")

    assert run_aside(lambda: 7, timeout_s=None, is_stopped=never) == 7
    with pytest.raises(KeyError):
        run_aside(fails, timeout_s=None, is_stopped=never)


def test_items_come_in_their_order_and_end_as_they_do() -> None:
    assert list(iterate_aside(lambda: range(100), timeout_s=None)) == list(range(100))

    def breaks_off() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    items = iterate_aside(breaks_off, timeout_s=None)
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_what_hangs_is_given_up_in_time_or_when_told() -> None:
    let_go = threading.Event()
    try:
        with pytest.raises(SilentError):
            run_aside(let_go.wait, timeout_s=0.05, is_stopped=never)
        with pytest.raises(StoppedError):
            run_aside(let_go.wait, timeout_s=None, is_stopped=lambda: True)
    finally:
        let_go.set()


def test_items_that_nobody_takes_any_more_are_not_made() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    items = iterate_aside(endless, timeout_s=None)
    assert next(items) == 0
    items.close()  # type: ignore[attr-defined]
    assert closed.wait(10)
