"""Claims about the processes that benchmarks start: none outlives whoever started it."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from headgate.export.bench.edge import bench_edge_load
from headgate.export.bench.edge.bench_edge_plan import LoadPlan
from headgate.export.children import child, end, free_port, wait_for_port
from headgate.export.tied_child import ENDED_ALONE

PATIENCE_S = 60.0
LINK = ["link", "steady:1", "--to", "tcp://127.0.0.1:9", "--listen"]

# Starts a link that would run for ever, says its number, and waits to be killed.
PARENT = """
import sys, time
from pathlib import Path
from headgate.export.children import child

with child(sys.argv[2:], log=Path(sys.argv[1])) as process:
    print(process.pid, flush=True)
    time.sleep(3600)
"""


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[int]:
    """Yield the reading end of the log of a child, ready, whose parent was killed just now."""
    log = tmp_path / "log"
    os.mkfifo(log)
    reading = os.open(log, os.O_RDONLY | os.O_NONBLOCK)  # first, or the parent waits for us
    os.set_blocking(reading, True)
    command = [sys.executable, "-c", PARENT, str(log), *LINK, f"tcp://127.0.0.1:{free_port()}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        number = int(parent.stdout.readline())
        said = os.read(reading, 4096)
        parent.kill()
    assert b"listening" in said
    try:
        yield reading
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def test_a_child_ends_with_a_parent_that_is_killed(orphan: int) -> None:
    said = b""
    while select.select([orphan], [], [], PATIENCE_S)[0]:
        part = os.read(orphan, 4096)
        if not part:  # it held its log open for as long as it lived
            assert b"Traceback" not in said
            return
        said += part
    pytest.fail(f"the child still runs; it said {said!r}")


def test_a_load_generator_ends_with_the_input_that_brought_its_plan() -> None:
    plan = LoadPlan(
        endpoint="tcp://127.0.0.1:9",  # where nobody listens: alone it would wait, and complain
        family_digest="0" * 64,
        point_index=0,
        payloads=(("",),),
        devices=1,
        frames_per_s=None,
        num_open=1,
        sla_s=1.0,
        warm_up_s=0.0,
        measure_s=1.0,
    )
    ended = subprocess.run(
        [sys.executable, "-m", bench_edge_load.__name__],
        input=json.dumps(asdict(plan)) + "\n",
        text=True,
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (ENDED_ALONE, "", "")


def test_a_child_ends_with_its_block(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with child([*LINK, f"tcp://127.0.0.1:{port}"], log=log) as process:
        wait_for_port(port, process=process, log=log)
    assert process.returncode == 0
    end(process)  # once more is harmless
    assert "Traceback" not in log.read_text(encoding="utf-8")
