"""Commands of split training as tests give them, and a server that is killed and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from headgate.runtime.cli import main


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


def killed_and_resumed(
    method: str, common: Sequence[str], out: Path, *, is_time: Callable[[dict[str, Any]], bool]
) -> Told:
    """Train as two processes; kill the server after the epoch whose line says so, and resume it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "headgate.runtime.cli", "train", method]
    serve = [*command, "--role", "server", "--out", str(out), "--json", *common]
    server = subprocess.Popen(
        [*serve, "--bind", "tcp://127.0.0.1:*"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert server.stderr is not None
    assert server.stdout is not None
    endpoint = json.loads(server.stderr.readline())["endpoint"]
    client = subprocess.Popen(
        [*command, "--role", "client", "--server", endpoint, "--name", "client1", *common],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    try:
        while not is_time(json.loads(server.stdout.readline())):
            pass
        server.send_signal(signal.SIGKILL)
        server.wait()
        second = subprocess.run(
            [*serve, "--bind", endpoint, "--resume"],
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
        )
        assert second.returncode == 0, second.stderr
        told, _ = client.communicate(timeout=60)
        assert client.returncode == 0, told
        return Told(second.stderr, told)
    finally:
        for process in (server, client):
            if process.poll() is None:
                process.kill()
                process.wait()
