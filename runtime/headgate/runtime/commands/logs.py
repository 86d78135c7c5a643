"""How the long-running commands log: one line per decision, on stderr, and never at a frame's cost.

Diagnostics are worth less than what they are about. A log that is full, or whose reader has left or
takes nothing, loses lines; frames go on.
"""

import contextlib
import io
import logging
import os
import select
import sys
import threading
from typing import TextIO


class LossyStream(io.TextIOBase):
    """Writes to another stream what that takes at once, and drops the rest."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()  # a poll object serves one thread at a time
        self._outlet = select.poll() if hasattr(select, "poll") else None
        if self._outlet is not None:
            try:
                self._outlet.register(stream.fileno(), select.POLLOUT)
            except OSError:  # no file behind it
                self._outlet = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, text: str) -> int:
        if not isinstance(text, str):  # what asks whether this takes bytes must hear so in any case
            raise TypeError(f"write() takes text, not {type(text).__name__}")
        with self._lock, contextlib.suppress(OSError):
            if self._takes_more():
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._takes_more():
                self._stream.flush()

    def _takes_more(self) -> bool:
        return self._outlet is None or bool(self._outlet.poll(0))


class StderrHandler(logging.Handler):
    """Writes to whatever `sys.stderr` is at that moment: the live view puts itself before it."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send our log to stderr; what ZeroMQ's authenticator says about admitted keys is noise.

    From here on nothing fails because stderr does, be it closed from the start.
    """
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    if not isinstance(sys.stderr, LossyStream):
        sys.stderr = LossyStream(sys.stderr)
    handler = StderrHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("headgate.keys").setLevel(max(level, logging.WARNING))
