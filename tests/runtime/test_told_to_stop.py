"""The commands, told to stop by signals: processes of their own."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headgate.profiles.family import Family
from runtime.running import NO_EDGE, PATIENCE_S, headgate

# The command, to which a signal comes while it imports a module.
TOLD_ON_IMPORT = """
import os, signal, sys
number = int(sys.argv.pop(2))
signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)

class Finder:
    def find_spec(self, name, path=None, target=None, late=sys.argv.pop(1)):
        if name == late:
            os.kill(os.getpid(), number)

sys.meta_path.insert(0, Finder())
from headgate.runtime.cli import main
main()
"""


def told_on_import(
    loaded: str, number: signal.Signals, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a command that gets the signal while it imports that module."""
    return subprocess.run(
        [sys.executable, "-c", TOLD_ON_IMPORT, loaded, str(int(number)), *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_device_that_is_told_to_stop_sums_up_and_leaves_whole_lines(
    tiny_family: Family, tmp_path: Path, number: signal.Signals
) -> None:
    frames = tmp_path / "frames.jsonl"
    os.mkfifo(frames)
    # Under `nohup` the device would inherit that SIGHUP is ignored, and would never stop.
    inherited = {each: signal.signal(each, signal.SIG_DFL) for each in (number, signal.SIGHUP)}
    process = subprocess.Popen(
        headgate(
            "device", str(tiny_family.path), "fake://16x16", str(frames), "--edge", NO_EDGE,
            "--fps", "200", "--json",
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    for each, handler in inherited.items():
        signal.signal(each, handler)
    with frames.open() as lines:  # opened once the device writes
        first: dict[str, Any] = json.loads(lines.readline())
        process.send_signal(number)
        process.send_signal(signal.SIGHUP)  # as a terminal that closes, or some supervisors do
        rest = lines.readlines()
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    assert "Traceback" not in stderr
    assert all(line.endswith("\n") for line in rest)
    # A frame that is superseded ends before the older one that still computes: any order.
    numbers = sorted([first["frame"], *(json.loads(line)["frame"] for line in rest)])
    assert numbers == list(range(json.loads(stdout)["frames"]))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["device", "edge", "link"])
def test_a_command_that_is_told_to_stop_while_it_loads_stops_as_it_does_later(
    tiny_family: Family, tmp_path: Path, command: str, number: signal.Signals
) -> None:
    arguments = {
        "device": [str(tiny_family.path), "fake://16x16", str(tmp_path / "out"), "--edge", NO_EDGE],
        "edge": [str(tiny_family.path), "--bind", "tcp://127.0.0.1:*"],
        "link": ["demo", "--listen", "tcp://127.0.0.1:0"],
    }[command]
    loaded = "headgate.runtime.emulator.relay" if command == "link" else "onnxruntime"
    told = told_on_import(loaded, number, command, *arguments)
    assert told.returncode == 0, told.stderr
    assert "Traceback" not in told.stderr
    assert ("answered by" in told.stderr) == (command == "device")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["edge", "profile"])
def test_a_command_that_is_told_to_stop_before_it_has_begun_is_interrupted(
    command: str, number: signal.Signals
) -> None:
    loaded = f"headgate.runtime.commands.{command}"
    told = subprocess.run(
        [sys.executable, "-c", TOLD_ON_IMPORT, loaded, str(int(number)), command, "list"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (told.returncode, told.stdout, told.stderr) == (130, "", "headgate: interrupted\n")


def test_a_device_that_is_told_to_stop_while_its_stream_connects_stops_at_once(
    tiny_family: Family, tmp_path: Path
) -> None:
    pytest.importorskip("av")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_S)
        stream = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"
        process = subprocess.Popen(
            headgate("device", str(tiny_family.path), stream, "-", "--edge", NO_EDGE),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        caller, _ = silent.accept()
        with caller:
            process.send_signal(signal.SIGTERM)
            stdout, stderr = process.communicate(timeout=PATIENCE_S)
    said = f"{stream}: stopped before it was open\n"  # and not that nothing came for 10 s
    assert (process.returncode, stdout, stderr) == (0, "", said)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["device", "link"])
def test_a_command_whose_pipe_has_no_other_end_stops_when_it_is_told_to(
    tiny_family: Family, tmp_path: Path, command: str, number: signal.Signals
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    arguments, loaded, said = {
        "device": (
            [str(tiny_family.path), "fake://16x16", str(pipe), "--edge", NO_EDGE],
            "headgate.runtime.device.sinks",  # it stands behind what the signals are for
            f"OUTPUT {pipe}: stopped before anybody read it\n",
        ),
        "link": (
            [str(pipe), "--listen", "tcp://127.0.0.1:0"],
            "headgate.profiles.trace_files",
            f"{pipe}: stopped before it was read\n",
        ),
    }[command]
    told = told_on_import(loaded, number, command, *arguments)
    assert told.returncode == 0, told.stderr
    assert said in told.stderr
    assert "Traceback" not in told.stderr
