"""Start other `headgate` processes, and be sure to end them: by their id, whatever happens here."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from headgate.export import tied_child
from headgate.profiles.errors import PeerError

LOOPBACK = "127.0.0.1"
READY_S = 30.0  # loading and warming the graphs of a large family takes seconds
END_S = 5.0
POLL_S = 0.05
LOG_LINES_SHOWN = 3


@contextlib.contextmanager
def child(arguments: Sequence[str], *, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `headgate ARGUMENTS` beside this block; end it with the block. Its output is in `log`.

    It is asked to stop by SIGINT, as by Ctrl-C, and killed only if it does not. Should this process
    be killed, it stops by itself. One thread for numerical libraries: two processes that each take
    all cores would slow each other down.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", tied_child.__name__, *arguments],
            stdin=subprocess.PIPE,  # ours until we end: by that it knows that we live
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        try:
            yield process
        finally:
            end(process)
            assert process.stdin is not None
            process.stdin.close()


@contextlib.contextmanager
def echo_process(module: str, *arguments: str) -> Iterator[int]:
    """Run a module that echoes, with these arguments and a port as the last; yield the port.

    It ends when its standard input does.
    """
    port = free_port()
    command = [sys.executable, "-m", module, *arguments, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        with process.stdin:
            yield port


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a process and wait for it; harmless where it has ended already."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """Return a TCP port of loopback that nobody uses at this moment."""
    with socket.create_server((LOOPBACK, 0)) as probe:
        return int(probe.getsockname()[1])


def wait_for_port(port: int, *, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until `process` listens on `port`, or raise PeerError with its last words."""
    give_up_s = time.monotonic() + READY_S
    while time.monotonic() < give_up_s:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
            return
        time.sleep(POLL_S)
    raise PeerError(
        f"headgate {process.args[3] if isinstance(process.args, list) else ''}: did not listen on "
        f"port {port} within {READY_S:g} s ({last_words(log)}); see {log}"
    )


def last_words(log: Path) -> str:
    """Return the end of a log on one line, for a message."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return " / ".join(line.strip() for line in lines[-LOG_LINES_SHOWN:]) or "it said nothing"
