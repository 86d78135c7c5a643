"""Where records go: JSON lines to a file or to standard output, the summary to people."""

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.table import Table

from headgate.profiles.errors import HeadgateError
from headgate.runtime.records import FrameRecord
from headgate.runtime.summary import Summary

STANDARD_OUTPUT = "-"


class JsonLines:
    """Writes one line per record from a thread of its own: a slow disk must not delay frames.

    Every line is flushed once no other waits, so that a kill loses at most the last ones.
    """

    def __init__(self, output: str, *, on_failure: Callable[[], None]) -> None:
        """`on_failure` is called once, from the writing thread, when a write fails."""
        self._output = output
        self._on_failure = on_failure
        self._stream = _open(output)
        self._records: queue.SimpleQueue[FrameRecord | None] = queue.SimpleQueue()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="records", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> str | None:
        """One sentence once writing has failed, else None."""
        if self._failure is None:
            return None
        reason = self._failure.strerror or type(self._failure).__name__
        place = "standard output" if self._output == STANDARD_OUTPUT else self._output
        return f"OUTPUT {place}: cannot be written ({reason}); free space or choose another"

    def write(self, record: FrameRecord) -> None:
        """Take one record; returns at once."""
        self._records.put(record)

    def close(self) -> HeadgateError | None:
        """Write what is left; returns what was wrong if not everything could be written."""
        self._records.put(None)
        self._thread.join()
        if self._stream is not sys.stdout:
            try:
                self._stream.close()
            except OSError as reason:
                self._failure = self._failure or reason
        if self._stream is sys.stdout and self._failure is not None:
            _give_up_stdout()
        return None if self.failure is None else HeadgateError(self.failure)

    def _run(self) -> None:
        while (record := self._records.get()) is not None:
            if self._failure is not None:
                continue
            try:
                self._stream.write(record.to_line() + "\n")
                if self._records.empty():
                    self._stream.flush()
            except OSError as reason:
                self._failure = reason
                self._on_failure()
        if self._failure is None:
            try:
                self._stream.flush()
            except OSError as reason:
                self._failure = reason


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
    table = Table(title=f"{name}: {summary.frames} frames", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    for label, text in summary_rows(summary):
        table.add_row(label, text)
    (console or Console(stderr=True)).print(table)


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
    rows.append(("sent", f"{summary.num_bytes / 1000:.1f} kB"))
    for title, counts in (
        ("answered by", summary.by_source),
        ("points", summary.by_point),
        ("reasons", summary.by_reason),
    ):
        shown = [f"{key} {count}" for key, count in counts.items() if count]
        rows.append((title, ", ".join(shown)))
    return rows


def _give_up_stdout() -> None:
    """Point a broken standard output nowhere, or Python complains of it once more at its exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _open(output: str) -> IO[str]:
    if output == STANDARD_OUTPUT:
        if sys.stdout is None:
            raise HeadgateError("OUTPUT: standard output is closed; name a file")
        return sys.stdout
    try:
        return Path(output).open("w", encoding="utf-8")
    except OSError as reason:
        raise HeadgateError(
            f"OUTPUT {output}: cannot be written ({reason.strerror}); choose another file"
        ) from None
