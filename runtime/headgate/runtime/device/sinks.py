"""Where records go: JSON lines to a file or to standard output, the summary to people."""

import json
import os
import queue
import select
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.table import Table

from headgate.profiles.errors import HeadgateError, UsageError
from headgate.runtime.device.aside import run_aside
from headgate.runtime.records import FrameRecord, Source
from headgate.runtime.session.summary import Summary, sent_text

STANDARD_OUTPUT = "-"
MAX_WAITING = 20_000  # lines that nobody takes: 11 minutes at 30 frames/s, and some 15 MB
PATIENCE_S = 2.0  # a reader that takes nothing for so long does not keep a stopped device
_RECORD_BEGINS = b'{"schema":'
_LOOK_S = 0.1  # how soon the writing thread hears that it is to give up


class JsonLines:
    """Writes one line per record from a thread of its own: a slow disk must not delay frames.

    Every line is written out at once, so that a kill loses at most the last ones. Lines wait while
    the disk or the reader is slow, but not without bound; too many are a failure like a full disk.
    """

    def __init__(
        self,
        output: str,
        *,
        on_failure: Callable[[], None],
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """`on_failure` is called once, when a write fails, from the thread that noticed.

        A named pipe is waited for until somebody reads it. Raises StoppedError if `is_stopped`
        comes true before that.
        """
        self._output = output
        self._on_failure = on_failure
        self._stream = _open(output, is_stopped=is_stopped)
        self._outlet = _pollable(self._stream)
        self._records: queue.SimpleQueue[FrameRecord | None] = queue.SimpleQueue()
        self._num_written = self._num_bytes = 0
        self._failure: str | None = None
        self._lock = threading.Lock()  # around the failure: either thread may be the first
        self._thread = threading.Thread(target=self._run, name="records", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> str | None:
        """One sentence once writing has failed, else None."""
        if self._failure is None:
            return None
        place = "standard output" if self._output == STANDARD_OUTPUT else self._output
        return f"OUTPUT {place}: cannot be written ({self._failure}); free space or choose another"

    def write(self, record: FrameRecord) -> None:
        """Take one record; returns at once."""
        if self._failure is not None:
            return
        if self._records.qsize() >= MAX_WAITING:
            self._fail(f"its reader takes nothing, {MAX_WAITING} lines wait")
            return
        self._records.put(record)

    def close(
        self, *, is_stopped: Callable[[], bool] = lambda: False, patience_s: float = PATIENCE_S
    ) -> HeadgateError | None:
        """Write what is left; returns what was wrong if not everything could be written.

        A slow reader is waited for. Once `is_stopped`, one that takes nothing for `patience_s` is
        given up.
        """
        self._records.put(None)
        while self._thread.is_alive():
            num_written = self._num_written
            self._thread.join(patience_s)
            stuck = self._thread.is_alive() and self._num_written == num_written
            if stuck and is_stopped():
                num_lost = self._records.qsize()  # and the one in hand, less the end mark
                self._fail(f"its reader takes nothing, {num_lost} lines are lost")
        if self._stream is not sys.stdout:
            self._close_file()
        if self._stream is sys.stdout and self._failure is not None:
            _give_up_stdout()
        return None if self.failure is None else HeadgateError(self.failure)

    def _close_file(self) -> None:
        """Close the output; of a file that is full, what was written of the last line goes."""
        descriptor = os.dup(self._stream.fileno())
        try:
            self._stream.close()
        except OSError as reason:
            self._fail(_words(reason))
        try:
            if self._failure is not None and stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.ftruncate(descriptor, self._num_bytes)
        finally:
            os.close(descriptor)

    def _run(self) -> None:
        while (record := self._records.get()) is not None:
            if not self._wait_for_room():
                continue
            try:
                line = record.to_line() + "\n"
                self._stream.write(line)
                self._stream.flush()
                self._num_written += 1
                self._num_bytes += len(line.encode())
            except Exception as reason:  # a thread that just died would lose lines unseen
                self._fail(_words(reason))

    def _wait_for_room(self) -> bool:
        """Wait until a line can be written without blocking; False once writing has failed.

        A thread that blocks inside a write could not be ended, and Python would not end either.
        """
        while self._failure is None:
            if self._outlet is None or self._outlet.poll(1000 * _LOOK_S):
                return True
        return False

    def _fail(self, reason: str) -> None:
        with self._lock:
            if self._failure is not None:
                return
            self._failure = reason
        self._on_failure()


def _pollable(stream: IO[str]) -> "select.poll | None":
    """Return what tells when a stream can be written; None where the system cannot say."""
    try:
        outlet = select.poll()
        outlet.register(stream.fileno(), select.POLLOUT)
    except (OSError, AttributeError):  # no file behind it; a system without poll
        return None
    return outlet


def _words(reason: Exception) -> str:
    return getattr(reason, "strerror", None) or f"{type(reason).__name__} {reason}".rstrip()


def print_json(summary: Summary) -> HeadgateError | None:
    """Print the summary of a run as one JSON object on standard output; returns what was wrong."""
    try:
        if sys.stdout is None:
            return HeadgateError("--json: standard output is closed; redirect it to a file")
        print(json.dumps(summary.to_json()), flush=True)
    except OSError as reason:
        _give_up_stdout()
        return HeadgateError(
            f"--json: standard output cannot be written ({reason.strerror}); redirect it"
        )
    return None


def print_summary(summary: Summary, *, name: str, console: Console | None = None) -> None:
    """Print the summary of a run as a table on standard error."""
    frames = "1 frame" if summary.frames == 1 else f"{summary.frames} frames"
    table = Table(title=f"{name}: {frames}", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    for label, text in summary_rows(summary):
        table.add_row(label, text)
    (console or Console(stderr=True, markup=False)).print(table)


def summary_rows(summary: Summary) -> list[tuple[str, str]]:
    """Return the summary as rows of label and text, for people."""
    frames = max(1, summary.frames)
    rows = [
        ("answered", f"{summary.answered} ({summary.answered / frames:.1%})"),
        ("within SLA", f"{summary.within_sla} ({summary.within_sla / frames:.1%})"),
    ]
    if summary.accuracy_in_time is not None:
        rows.append(("accuracy within SLA", f"{summary.accuracy_in_time:.1%}"))
    if summary.credited is not None:
        rows.append(("accuracy, late ones wrong", f"{summary.credited:.1%}"))
    else:
        rows.append(("expected accuracy", f"{summary.expected_credited:.1%}"))
    if summary.latency_p50_s is not None:
        quantiles = (summary.latency_p50_s, summary.latency_p95_s, summary.latency_p99_s)
        text = " / ".join(f"{1000 * (value or 0):.1f}" for value in quantiles)
        rows.append(("latency p50 / p95 / p99", f"{text} ms"))
    rows.append(("sent", sent_text(summary)))
    rows.append(("answered by", _counts(summary.by_source)))
    rows.append(("answers from", _counts(summary.by_answer)))
    # What did not go as it was meant to: the other reasons are in the rows above.
    meant = (Source.EDGE.value, Source.LOCAL.value)
    otherwise = {key: n for key, n in summary.by_reason.items() if key not in meant}
    rows.append(("exceptions", _counts(otherwise)))
    return rows


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{key} {count}" for key, count in counts.items() if count) or "none"


def _give_up_stdout() -> None:
    """Point a broken standard output nowhere, or Python complains of it once more at its exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _open(output: str, *, is_stopped: Callable[[], bool]) -> IO[str]:
    if output == STANDARD_OUTPUT:
        if sys.stdout is None:
            raise HeadgateError("OUTPUT: standard output is closed; name a file")
        return sys.stdout
    path = Path(output)
    try:
        if path.is_file() and not _holds_records_or_nothing(path):
            raise UsageError(
                f"OUTPUT {output}: exists and holds no records of frames, so it is not replaced; "
                "name another file (of `*.mp4` a shell makes an INPUT and an OUTPUT)"
            )
        if path.is_fifo():  # opening it blocks, and Python goes on with that after each signal
            return run_aside(lambda: _writable(path), timeout_s=None, is_stopped=is_stopped)
        return _writable(path)
    except OSError as reason:
        raise UsageError(
            f"OUTPUT {output}: cannot be written ({reason.strerror}); choose another file"
        ) from None


def _writable(path: Path) -> IO[str]:
    return path.open("w", encoding="utf-8")


def _holds_records_or_nothing(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_RECORD_BEGINS)) in (b"", _RECORD_BEGINS)
