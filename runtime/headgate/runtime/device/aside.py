"""Runs what may block for ever on a thread of its own, which is left behind if it does.

Nothing ends a call into a driver or a library that waits: a camera that delivers nothing more, a
connection that is being made. Who waits for it here gives up in time; the thread ends with the
process, and whatever comes of the call after that is thrown away.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

LOOK_S = 0.1  # between looks whether anybody still wants it
AHEAD = 2  # items that wait to be taken
THREAD_NAME = "aside"

T = TypeVar("T")


class SilentError(Exception):
    """Nothing came in time."""


class StoppedError(Exception):
    """Whoever waited was told to stop."""


@dataclass(frozen=True, slots=True)
class _Item(Generic[T]):
    value: T


def run_aside(
    work: Callable[[], T], *, timeout_s: float | None, is_stopped: Callable[[], bool]
) -> T:
    """Return what `work` returns, or raise what it raises; SilentError, StoppedError if it hangs.

    Without a `timeout_s`, in seconds, only `is_stopped` ends the wait.
    """
    once = iterate_aside(lambda: (work() for _ in (0,)), timeout_s=timeout_s, is_stopped=is_stopped)
    return next(once)


def iterate_aside(
    items: Callable[[], Iterable[T]],
    *,
    timeout_s: float | None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Iterator[T]:
    """Yield the items; SilentError where the next one takes longer than `timeout_s`, in seconds."""
    ready: queue.Queue[_Item[T] | BaseException | None] = queue.Queue(AHEAD)
    is_left = threading.Event()

    def _put(item: _Item[T] | BaseException | None) -> None:
        while not is_left.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=LOOK_S)
                return

    def _run() -> None:
        try:
            for each in items():
                _put(_Item(each))
                if is_left.is_set():
                    return
        except BaseException as failure:  # raised where it is waited for
            _put(failure)
        else:
            _put(None)

    threading.Thread(target=_run, name=THREAD_NAME, daemon=True).start()
    try:
        while (item := _next(ready, timeout_s=timeout_s, is_stopped=is_stopped)) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item.value
    finally:
        is_left.set()


def _next(ready: "queue.Queue[T]", *, timeout_s: float | None, is_stopped: Callable[[], bool]) -> T:
    began_s = time.monotonic()
    while not is_stopped():
        left_s = LOOK_S if timeout_s is None else began_s + timeout_s - time.monotonic()
        if left_s <= 0:
            raise SilentError
        try:
            return ready.get(timeout=min(LOOK_S, left_s))
        except queue.Empty:
            continue
    raise StoppedError
