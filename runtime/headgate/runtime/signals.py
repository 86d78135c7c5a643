"""Turns SIGINT, SIGTERM and a closed terminal (SIGHUP) into an orderly stop."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def stopping_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on the first of these signals; a second one ends the program at once.

    A SIGHUP that is ignored stays so: that is what `nohup` asks for.
    """
    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in asked}
    numbers = [
        number
        for number, handler in before.items()
        if number != signal.SIGHUP or handler != signal.SIG_IGN
    ]

    def _handle(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)
        stop()

    for number in numbers:
        signal.signal(number, _handle)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, before[number])
