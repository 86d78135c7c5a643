"""Spread independent pieces of a benchmark over processes; the results come in order."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TypeVar

from headgate.profiles.errors import HeadgateError

Task = TypeVar("Task")
Result = TypeVar("Result")
WORKER_ENDED = 1  # the exit code of a worker that nobody waits for


def in_order(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, workers: int
) -> Iterator[Result]:
    """Yield `function` of each task in the order of the tasks, whatever the number of workers.

    `workers` 0: a process for each core. Function and tasks must pickle. Whatever ends this early,
    a kill too, ends the processes at once.
    """
    workers = min(workers or os.cpu_count() or 1, len(tasks))
    if workers <= 1:
        yield from map(function, tasks)
        return
    context = get_context("spawn")
    life, held = context.Pipe(duplex=False)
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_live_no_longer_than, initargs=(life,)
    ) as pool:
        try:
            # Ctrl-C goes to all processes of a terminal, and is for this one to handle.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                results = [pool.submit(function, task) for task in tasks]  # starts the processes
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            # Not `pool.map`: that cancels what is left, and the pool's thread cannot stand to find
            # its processes gone and a piece of work cancelled.
            for result in results:
                yield result.result()
        except BrokenProcessPool:
            raise HeadgateError(
                f"one of {workers} worker processes was killed, perhaps for want of memory; "
                "use fewer, as with --workers 1"
            ) from None
        finally:
            held.close()  # before the pool waits for what its processes have begun
    life.close()


def _live_no_longer_than(life: Connection) -> None:
    """End this process as soon as the other end of `life` is closed, by will or by a kill."""

    def _watch() -> None:
        life.poll(None)
        os._exit(WORKER_ENDED)

    threading.Thread(target=_watch, name="life", daemon=True).start()
