"""Children that pay for no imports: each is forked from one process that has loaded torch.

They are processes as `headgate.export.children.child` starts them, with sockets and logs of their
own. Only the interpreter and its imports, 4 s of a training that takes 0.1 s, are not begun anew.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from headgate.runtime.cli import main
from train.forked_command import PRELOADED


class Forked:
    """What a bench asks of the `subprocess.Popen` it would have started."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOADED))
        self.args = ["headgate", *arguments]
        self._process = context.Process(target=_run, args=(list(arguments), log), daemon=True)
        self._process.start()

    def poll(self) -> int | None:
        return self._process.exitcode

    def end(self) -> None:
        self._process.kill()
        self._process.join()


@contextlib.contextmanager
def forked_child(arguments: Sequence[str], *, log: Path) -> Iterator[Forked]:
    """Run `headgate ARGUMENTS` beside this block; end it with the block. Its output is in `log`."""
    log.touch()
    process = Forked(arguments, log)
    try:
        yield process
    finally:
        process.end()


def _run(arguments: list[str], log: Path) -> None:
    with log.open("wb") as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
    os.environ["OMP_NUM_THREADS"] = "1"
    main(arguments)
