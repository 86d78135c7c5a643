"""Commands that pay for no imports: each is forked from one process that has loaded torch.

They are processes as those that a shell starts, with pipes, sockets and signals of their own. Only
the interpreter and its imports, 4 s of a training that takes 0.1 s, are not begun anew. That a
command also begins as a shell would have it is a claim of its own, of fewer tests.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import IO, Protocol

from headgate.runtime.cli import main

# `torch._dynamo` is what a first step of an optimizer imports.
PRELOADED = (
    "torch._dynamo",
    "headgate.train.commands.deprune_command",
    "headgate.train.commands.pact_command",
    "headgate.train.split_training.deprune",
    "headgate.train.split_training.server_run",
    "headgate.train.split_training.transport",
)


class Command(Protocol):
    """What tests ask of a process, be it a `subprocess.Popen[str]` or a `ForkedCommand`."""

    @property
    def stdout(self) -> IO[str] | None: ...
    @property
    def stderr(self) -> IO[str] | None: ...
    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def kill(self) -> None: ...
    def wait(self) -> int: ...
    def communicate(self, *, timeout: float) -> tuple[str, str]: ...


class ForkedCommand:
    """`headgate ARGUMENTS` as a process; `together`: it reports where it prints its results."""

    def __init__(self, arguments: Sequence[str], *, together: bool = False) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOADED))
        reader, printed = context.Pipe(duplex=False)
        self.stdout: IO[str] = os.fdopen(os.dup(reader.fileno()))
        reader.close()
        self.stderr: IO[str] | None = None
        reported = printed
        if not together:
            reader, reported = context.Pipe(duplex=False)
            self.stderr = os.fdopen(os.dup(reader.fileno()))
            reader.close()
        self._process = context.Process(
            target=_run, args=(list(arguments), printed, reported), daemon=True
        )
        self._process.start()
        for writer in {printed, reported}:
            writer.close()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> int:
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def communicate(self, *, timeout: float) -> tuple[str, str]:
        """Return all that is left to read once the process has ended; kill it if it does not."""
        late = threading.Timer(timeout, self._process.kill)
        late.start()
        try:
            printed = self.stdout.read()
            reported = self.stderr.read() if self.stderr else ""
            self.wait()
        finally:
            late.cancel()
            self.stdout.close()
            if self.stderr:
                self.stderr.close()
        return printed, reported


def _run(arguments: list[str], printed: Connection, reported: Connection) -> None:
    for stream, writer in ((sys.stdout, printed), (sys.stderr, reported)):
        os.dup2(writer.fileno(), stream.fileno())
    main(arguments)
