"""Commands of split training as tests give them, and a server that is killed and goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from headgate.runtime.cli import main
from train.forked_command import Command


@dataclass(frozen=True, slots=True)
class Told:
    """What the second server and the client said."""

    server: str
    client: str


def settings(pictures: Path, schedule: str) -> list[str]:
    """Return options of a small training."""
    return [
        *("--data", f"npz:{pictures}", "--model", "lenet", "--split", "features.2"),
        *("--schedule", schedule, "--batch-size", "8", "--threads", "1", "--device", "cpu"),
    ]


def run(method: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["train", method, *arguments])


def started(arguments: Sequence[str], *, together: bool = False) -> subprocess.Popen[str]:
    """Start `headgate ARGUMENTS` as a shell would."""
    return subprocess.Popen(
        [sys.executable, "-m", "headgate.runtime.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if together else subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def killed_and_resumed(
    method: str,
    common: Sequence[str],
    out: Path,
    *,
    is_time: Callable[[dict[str, Any]], bool],
    start: Callable[..., Command] = started,
) -> Told:
    """Train as two processes; kill the server after the epoch whose line says so, and resume it."""
    serve = ["train", method, "--role", "server", "--out", str(out), "--json", *common]
    server = start([*serve, "--bind", "tcp://127.0.0.1:*"])
    assert server.stderr is not None
    assert server.stdout is not None
    endpoint = json.loads(server.stderr.readline())["endpoint"]
    learn = ["train", method, "--role", "client", "--server", endpoint, "--name", "client1"]
    processes = [server, client := start([*learn, *common], together=True)]
    try:
        while not is_time(json.loads(server.stdout.readline())):
            pass
        server.kill()
        server.wait()
        processes.append(second := start([*serve, "--bind", endpoint, "--resume"]))
        _, said = second.communicate(timeout=120)
        assert second.returncode == 0, said
        told, _ = client.communicate(timeout=60)
        assert client.returncode == 0, told
        return Told(said, told)
    finally:
        end(processes)


def end(processes: Sequence[Command]) -> None:
    """Leave none of them behind a test that failed."""
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()
