"""Claims about spreading work over processes: the order holds, whatever their number."""

import os
import signal
import subprocess
import sys
import time

import pytest

from headgate.export.workers import in_order
from headgate.profiles.errors import HeadgateError

# Two workers, of which one never gets done; a line says that both are there.
ENDLESS = """
import time
from headgate.export.workers import in_order

for _ in in_order(time.sleep, [0, 3600], workers=2):
    print("begun", flush=True)
"""

# Leaves while work waits that has not begun.
LEAVES_EARLY = """
import time
from headgate.export.workers import in_order

results = in_order(time.sleep, [0, *[3600] * 9], workers=2)
next(results)
results.close()
"""


def own_process(is_endless: bool) -> int:
    """Return the number of the process, perhaps never."""
    while is_endless:
        time.sleep(3600)
    return os.getpid()


def with_its_process(task: int) -> tuple[int, bool]:
    """Return the task, and whether it ran in the process that reads its environment's mark."""
    return task, os.environ.get("HEADGATE_TEST_PARENT") == str(os.getpid())


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_from_as_many_processes(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_TEST_PARENT", str(os.getpid()))
    found = list(in_order(with_its_process, range(7), workers=workers))
    assert found == [(task, workers == 1) for task in range(7)]


def test_no_task_is_no_result() -> None:
    assert list(in_order(with_its_process, [], workers=0)) == []


def test_processes_are_gone_with_whoever_waited_for_them() -> None:
    results = in_order(own_process, [False, True, True], workers=2)
    process = next(results)
    results.close()  # type: ignore[attr-defined]  # as any exception would
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_processes_do_not_outlive_a_kill(number: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"begun\n"
    parent.send_signal(number)
    assert parent.stdout.read() == b""  # they hold it open for as long as they live
    assert parent.wait() == -number


def test_leaving_early_is_quiet() -> None:
    ended = subprocess.run([sys.executable, "-c", LEAVES_EARLY], capture_output=True, check=True)
    assert ended.stderr == b""


def test_a_worker_that_is_killed_is_an_error_of_one_sentence() -> None:
    with pytest.raises(HeadgateError, match=r"one of 2 worker processes was killed.*--workers 1"):
        list(in_order(signal.raise_signal, [signal.SIGKILL] * 2, workers=2))
