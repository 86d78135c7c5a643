"""Run `headgate` beside a benchmark or the demo, and never for longer than that lives.

Standard input is a pipe that the other side holds and never writes to. The system closes it however
that side ends, by a kill too, of which no handler could tell us.

Run as `python -m headgate.export.tied_child ARGUMENTS`, with the arguments of `headgate`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

from headgate.runtime.cli import main

STDIN = 0
END_S = 5.0  # for an orderly end, then there is another
ENDED_ALONE = 1  # the exit code of a process that nobody waits for


def when_left_alone(then: Callable[[], None], *, life: int) -> None:
    """Call `then` on a thread of its own as soon as the other end of the pipe `life` is closed.

    What is written to it until then is passed over.
    """

    def _watch() -> None:
        while os.read(life, 4096):
            pass
        then()

    threading.Thread(target=_watch, name="life", daemon=True).start()


def leave() -> None:
    """End this process at once, whatever it does: there is nobody to tell."""
    os._exit(ENDED_ALONE)


def _stop() -> None:
    """End as by Ctrl-C, with what was answered on the disk; at once if that takes too long."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(END_S)
    leave()


if __name__ == "__main__":
    life = os.dup(STDIN)  # not inherited by what `headgate` may start
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), STDIN)
    when_left_alone(_stop, life=life)
    main()
