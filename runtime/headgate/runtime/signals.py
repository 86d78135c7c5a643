"""Turns SIGINT, SIGTERM and a closed terminal (SIGHUP) into an orderly stop."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

# A terminal that closes says so twice, and some supervisors send SIGHUP right behind SIGTERM: that
# is one wish, not impatience.
AT_ONCE_S = 1.0


@contextlib.contextmanager
def stopping_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on the first of these signals; a second one that comes later ends the program.

    A SIGHUP that is ignored stays so: that is what `nohup` asks for.
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
        for number in numbers:
            signal.signal(number, before[number])
