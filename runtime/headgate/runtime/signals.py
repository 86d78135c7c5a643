"""Turns SIGINT, SIGTERM and a closed terminal (SIGHUP) into an orderly stop."""

import atexit
import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

# A terminal that closes says so twice, and some supervisors send SIGHUP right behind SIGTERM: that
# is one wish, not impatience.
AT_ONCE_S = 1.0
AGAIN_S = 0.1  # until an interruption that was lost comes once more


class StopWish:
    """A wish to stop, which may come before there is anything that could be stopped."""

    def __init__(self) -> None:
        self._stop: Callable[[], None] | None = None
        self._made = False

    def is_made(self) -> bool:
        return self._made

    def make(self) -> None:
        self._made = True
        if self._stop is not None:
            self._stop()

    def goes_to(self, stop: Callable[[], None]) -> None:
        """From now on the wish is a call of `stop`, at once if it was made before."""
        self._stop = stop  # first: a signal may come between these lines, and twice does no harm
        if self._made:
            stop()


@contextlib.contextmanager
def stopping_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on the first of these signals; a second one that comes later ends the program.

    A SIGHUP that is ignored stays so: that is what `nohup` asks for. Once one has come, the program
    is about to end, and what else comes until it has ended does not change how.
    """
    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in asked}
    numbers = [
        number
        for number, handler in before.items()
        if number != signal.SIGHUP or handler != signal.SIG_IGN
    ]
    first_s: float | None = None

    def _handle(number: int, frame: FrameType | None) -> None:
        nonlocal first_s
        now_s = time.monotonic()
        if first_s is None:
            first_s = now_s
            stop()
        elif now_s >= first_s + AT_ONCE_S:
            # Only this one: Python complains of a signal that has come where nothing handles it.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    for number in numbers:
        signal.signal(number, _handle)
    try:
        yield
    finally:
        if first_s is None:
            for number in numbers:
                signal.signal(number, before[number])
        else:
            # Python forgets handlers before it is gone, and a signal would then be the exit code.
            atexit.register(_ignore, numbers)


def _ignore(numbers: list[signal.Signals]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def noting_interruptions() -> Iterator[Callable[[], bool]]:
    """Yield what tells whether Ctrl-C came just now; it raises KeyboardInterrupt as always.

    A library that is being loaded, or one that waits for a child of the same terminal, makes an
    error of its own of it. Where Python can raise nothing, as in a destructor, it comes once more.
    """
    # Else it is ignored, or whoever calls has a way of his own; other threads hear of no signal.
    by_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not by_default or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    last_s = -math.inf

    def _interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last_s
        last_s = time.monotonic()
        raise KeyboardInterrupt

    def _lost(what: "sys.UnraisableHookArgs") -> None:
        if what.exc_type is not KeyboardInterrupt:
            hook_before(what)
            return
        main = threading.main_thread().ident
        assert main is not None
        again = threading.Timer(AGAIN_S, signal.pthread_kill, (main, signal.SIGINT))
        again.daemon = True
        again.start()

    hook_before, sys.unraisablehook = sys.unraisablehook, _lost
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield lambda: time.monotonic() < last_s + AT_ONCE_S
    finally:
        sys.unraisablehook = hook_before
        if signal.getsignal(signal.SIGINT) is _interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does: a command that loads, or has children to end, says so.

    One right behind it is the same wish: `timeout` and others send it twice. A handler that took
    over meanwhile and stays, as of a program that was told to stop, is left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    last_s = -math.inf

    def _interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s < last_s + AT_ONCE_S:
            return
        last_s = now_s
        ctrl_c = signal.getsignal(signal.SIGINT)
        if callable(ctrl_c):
            ctrl_c(signal.SIGINT, frame)
        raise KeyboardInterrupt  # in the background of a script Ctrl-C is ignored

    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is _interrupt:
            signal.signal(signal.SIGTERM, before)
