"""What a signal does to a command that runs, and what a second one does."""

import os
import signal
import subprocess
import sys

import pytest

from headgate.runtime.signals import AT_ONCE_S, stopping_on_signals

STUBBORN = """
import os, signal, time
from headgate.runtime import signals
signals.AT_ONCE_S = {at_once_s}
with signals.stopping_on_signals(lambda: None):
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
    print("goes on")
"""


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_that_come_together_are_one_wish_to_stop(second: signal.Signals) -> None:
    asked: list[int] = []
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # `nohup` would have it ignored
    try:
        with stopping_on_signals(lambda: asked.append(1)):
            for number in (signal.SIGHUP, second, second):
                os.kill(os.getpid(), number)
    finally:
        signal.signal(signal.SIGHUP, inherited)
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
