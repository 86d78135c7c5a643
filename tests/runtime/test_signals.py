"""What a signal does to a command that runs, and what a second one does."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from headgate.runtime.signals import (
    AT_ONCE_S,
    StopWish,
    interrupted_by_sigterm,
    noting_interruptions,
    stopping_on_signals,
)

STUBBORN = """
import os, signal, time
from headgate.runtime import signals
signals.AT_ONCE_S = {at_once_s}
with signals.stopping_on_signals(lambda: None):
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
    print("goes on")
"""
TOLD = """
import os, signal
from headgate.runtime.signals import stopping_on_signals
numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
with stopping_on_signals(lambda: None):
    os.kill(os.getpid(), signal.SIGTERM)
for number in numbers:
    os.kill(os.getpid(), number)

class Last:
    def __del__(self, kill=os.kill, own=os.getpid(), numbers=numbers):
        for number in numbers:
            kill(own, number)

last = Last()  # goes when Python has forgotten its handlers
print("goes on")
"""


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_that_come_together_are_one_wish_to_stop(second: signal.Signals) -> None:
    asked: list[int] = []
    before = {each: signal.getsignal(each) for each in SIGNALS}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # `nohup` would have it ignored
    try:
        with stopping_on_signals(lambda: asked.append(1)):
            for number in (signal.SIGHUP, second, second):
                os.kill(os.getpid(), number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert asked == [1]
    assert AT_ONCE_S >= 1.0


def test_a_second_signal_later_ends_the_program_at_once() -> None:
    stubborn = subprocess.run(
        [sys.executable, "-c", STUBBORN.format(at_once_s=0.0)], capture_output=True, text=True
    )
    assert stubborn.returncode == -signal.SIGINT
    assert (stubborn.stdout, stubborn.stderr) == ("", "")


def test_what_was_there_before_handles_signals_again_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stopping_on_signals(lambda: None):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_until_a_program_that_was_told_to_stop_has_ended_signals_do_not_change_its_code() -> None:
    told = subprocess.run([sys.executable, "-c", TOLD], capture_output=True, text=True)
    assert (told.returncode, told.stdout, told.stderr) == (0, "goes on\n", "")


def test_a_wish_to_stop_that_comes_early_is_kept() -> None:
    asked: list[str] = []
    wish = StopWish()
    wish.make()
    assert asked == []
    wish.goes_to(lambda: asked.append("stop"))
    assert asked == ["stop"]


def test_a_wish_to_stop_goes_to_what_there_is() -> None:
    asked: list[str] = []
    wish = StopWish()
    wish.goes_to(lambda: asked.append("stop"))
    assert asked == []
    wish.make()
    assert asked == ["stop"]


@pytest.mark.parametrize("ctrl_c", [signal.default_int_handler, signal.SIG_IGN])
def test_sigterm_interrupts_as_ctrl_c_does_and_twice_in_a_row_once(
    ctrl_c: Callable[[int, FrameType | None], Any] | signal.Handlers,
) -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, ctrl_c)
    ended = False
    try:
        with noting_interruptions() as was_interrupted, interrupted_by_sigterm():
            try:
                with pytest.raises(KeyboardInterrupt):
                    signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGTERM)
                ended = True
            assert was_interrupted() == (ctrl_c != signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) == before[signal.SIGTERM]
        assert signal.getsignal(signal.SIGINT) == ctrl_c
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert ended
