"""Lets a training that is stopped from outside say how it goes on."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from headgate.train.folder.run_folder import partial_folder
from headgate.train.folder.work_folder import CHECKPOINT, RUN_FILE
from headgate.train.processes import is_first_process


@contextmanager
def telling_how_to_go_on(way: Callable[[], str | None]) -> Iterator[None]:
    """Add what `way` says to what ends the block: Ctrl-C, SIGTERM, or what the system refuses.

    The command prints such notes behind its error. SIGTERM counts as Ctrl-C, but for torchrun's
    processes: one may wait for another in a call that no Python handler can interrupt.
    """
    with _terminated_like_ctrl_c():
        try:
            yield
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
def _terminated_like_ctrl_c() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt, once: `timeout` and others send it twice in a row."""
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    if not alone or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
