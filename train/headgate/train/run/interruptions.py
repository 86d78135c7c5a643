"""Lets a training that is stopped from outside say how it goes on."""

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from headgate.train.folder.run_folder import partial_folder
from headgate.train.folder.work_folder import CHECKPOINT, RUN_FILE
from headgate.train.processes import is_first_process

# `timeout` and others send SIGTERM twice in a row: that is one wish.
AT_ONCE_S = 1.0


@contextmanager
def telling_how_to_go_on(way: Callable[[], str | None]) -> Iterator[None]:
    """Add what `way` says to what ends the block: Ctrl-C, SIGTERM, or what the system refuses.

    The command prints such notes behind its error. SIGTERM counts as Ctrl-C, but for torchrun's
    processes: one may wait for another in a call that no Python handler can interrupt.
    """
    with _raising_interruptions() as was_just_interrupted:
        try:
            try:
                yield
            except Exception as error:
                if was_just_interrupted():  # a library turned it into an error of its own
                    raise KeyboardInterrupt from error
                raise
        except (KeyboardInterrupt, OSError) as error:
            text = way() if is_first_process() else None
            if text is not None:
                error.add_note(text)
            raise


def way_on(out: Path) -> str | None:
    """Say how the unfinished run that will be `out` goes on; None if there is none."""
    partial = partial_folder(out)
    if not (partial / RUN_FILE).is_file():
        return None
    return way_on_from(partial, checkpoints=partial / CHECKPOINT)


def way_on_from(folder: Path, *, checkpoints: Path) -> str:
    """Say how what `folder` holds goes on, which depends on whether a checkpoint is there."""
    if any(checkpoints.glob("*.json")):
        return (
            f"{folder} holds its last checkpoint, repeat the command with --resume to go on from it"
        )
    return (
        f"{folder} holds no checkpoint yet, repeat the command with --resume to begin it once more"
    )


@contextmanager
def _raising_interruptions() -> Iterator[Callable[[], bool]]:
    """Let SIGTERM raise KeyboardInterrupt as Ctrl-C does; yield whether one came just now.

    Libraries may lose what a handler raises, so a later signal raises it once more.
    """
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    if not alone or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    last_s = -math.inf

    def _was_just_interrupted() -> bool:
        return time.monotonic() < last_s + AT_ONCE_S

    def _interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last_s
        if number == signal.SIGTERM and _was_just_interrupted():
            return
        last_s = time.monotonic()
        raise KeyboardInterrupt

    before = {signal.SIGTERM: signal.getsignal(signal.SIGTERM)}
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        before[signal.SIGINT] = signal.getsignal(signal.SIGINT)
    for number in before:
        signal.signal(number, _interrupt)
    try:
        yield _was_just_interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
