"""Claims about spreading work over processes: the order holds, whatever their number."""

import os

import pytest

from headgate.export.workers import in_order


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
