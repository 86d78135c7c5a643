"""The commands themselves, as processes of their own, over real sockets."""

import json
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headgate.profiles.family import Family
from headgate.runtime.device.control import ask_device
from headgate.runtime.device.playback import Playback
from headgate.runtime.records import FrameRecord, Source, record_from_line
from headgate.runtime.sockets import keys
from runtime.running import NO_EDGE, PATIENCE_S, RunningDevice, edge_process, headgate


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one headgate command to its end."""
    return subprocess.run(
        headgate(*arguments),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def read(path: Path) -> list[FrameRecord]:
    return [record_from_line(line, where=str(path)) for line in path.read_text().splitlines()]


def answered_by(source: Source, *, after: int = 0) -> Callable[[list[FrameRecord]], bool]:
    """Return the claim that a record since the `after`-th is `source`'s."""
    return lambda records: any(record.source is source for record in records[after:])


def test_a_device_and_an_edge_answer_every_frame_and_sum_it_up(
    tiny_family: Family, tiny_set: Path, tmp_path: Path
) -> None:
    frames = tmp_path / "frames.jsonl"
    with edge_process(tiny_family.path) as (edge, endpoint):
        device = run(
            "device", str(tiny_family.path), f"npz:{tiny_set}", str(frames),
            "--edge", endpoint, "--sla-ms", "2000", "--fps", "100", "--loop", "--frames", "150",
            "--json",
        )  # fmt: skip
        assert device.returncode == 0, device.stderr
        edge.send_signal(signal.SIGTERM)
        assert edge.wait(PATIENCE_S) == 0
    records = read(frames)
    assert sorted(record.frame_id for record in records) == list(range(150))
    by_edge = [record for record in records if record.source is Source.EDGE]
    assert len(by_edge) > 75
    assert all(record.correct for record in by_edge)
    summary = json.loads(device.stdout)
    assert summary["frames"] == 150
    assert summary["by_source"]["edge"] == len(by_edge)
    assert summary["bytes"] == sum(record.num_bytes for record in records)
    started = json.loads(device.stderr.splitlines()[0])
    assert started["event"] == "started"
    assert "answered by" in device.stderr


def test_an_edge_that_is_killed_and_comes_back_is_used_again(
    tiny_family: Family, tiny_set: Path
) -> None:
    with (
        edge_process(tiny_family.path) as (edge, endpoint),
        RunningDevice(
            tiny_family,
            f"npz:{tiny_set}",
            edge=endpoint,
            playback=Playback(fps=100, loop=True),
        ) as running,
    ):
        running.wait_for(answered_by(Source.EDGE))
        edge.kill()
        edge.wait()
        killed_at = len(running.records)
        running.wait_for(answered_by(Source.LOCAL, after=killed_at + 5))
        with edge_process(tiny_family.path, "--bind", endpoint):
            restarted_at = len(running.records)
            running.wait_for(answered_by(Source.EDGE, after=restarted_at))
    records = running.join()
    assert running.failure is None
    assert sorted(record.frame_id for record in records) == list(range(len(records)))
    unanswered = {r.reason for r in records[:killed_at] if r.source is Source.NONE}
    assert unanswered <= {"stopped", "superseded"}  # the latter on a busy machine


def test_without_an_edge_the_device_command_answers_locally(
    tiny_family: Family, tiny_set: Path
) -> None:
    device = run("device", str(tiny_family.path), f"npz:{tiny_set}", "--edge", NO_EDGE)
    assert device.returncode == 0, device.stderr
    lines = [json.loads(line) for line in device.stdout.splitlines()]
    assert len(lines) == 40
    assert {line["source"] for line in lines} == {"local"}
    assert "accuracy within SLA" in device.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("options", [("--json",), ("--fps", "200"), ("--fps", "200", "/dev/full")])
def test_an_output_that_is_full_is_one_sentence_beside_the_summary(
    tiny_family: Family, options: tuple[str, ...]
) -> None:
    command = headgate(
        "device", str(tiny_family.path), "fake://16x16", "--edge", NO_EDGE, "--frames", "5",
        *options,
    )  # fmt: skip
    with open("/dev/full", "w") as full:
        device = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S
        )
    assert device.returncode == 1
    assert "No space left" in device.stderr.splitlines()[-1]
    assert "answered by" in device.stderr
    assert "Traceback" not in device.stderr
    assert "Exception" not in device.stderr


def test_a_reader_that_leaves_ends_the_device_in_one_sentence(tiny_family: Family) -> None:
    device = subprocess.Popen(
        headgate("device", str(tiny_family.path), "fake://16x16", "--edge", NO_EDGE),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert device.stdout is not None
    assert device.stderr is not None
    json.loads(device.stdout.readline())
    device.stdout.close()
    stderr = device.stderr.read()
    assert device.wait(PATIENCE_S) == 1
    assert "standard output: cannot be written (Broken pipe)" in stderr.splitlines()[-1]
    assert "Exception" not in stderr


def test_a_reader_that_sleeps_does_not_keep_a_device_that_is_told_to_stop(
    tiny_family: Family,
) -> None:
    device = subprocess.Popen(
        headgate("device", str(tiny_family.path), "fake://16x16", "-", "--edge", NO_EDGE),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert device.stderr is not None
    address = json.loads(device.stderr.readline())["control"]
    while ask_device(address, profile=None, keys=None).next_frame < 500:  # more than a pipe holds
        pass
    device.send_signal(signal.SIGTERM)
    stderr = device.stderr.read()
    assert device.wait(PATIENCE_S) == 1
    assert "its reader takes nothing, " in stderr.splitlines()[-1]
    assert "answered by" in stderr


def test_closed_standard_streams_are_no_bug(tiny_family: Family, tmp_path: Path) -> None:
    arguments = ("device", str(tiny_family.path), "fake://16x16", "--edge", NO_EDGE)
    command = shlex.join(headgate(*arguments, "--frames", "3"))
    closed = subprocess.run(f"{command} >&-", shell=True, capture_output=True, text=True)
    assert closed.returncode == 1
    assert closed.stderr == "headgate: error: OUTPUT: standard output is closed; name a file\n"
    frames = tmp_path / "frames.jsonl"
    silent = subprocess.run(f"{command} >{shlex.quote(str(frames))} 2>&-", shell=True)
    assert silent.returncode == 0
    assert len(read(frames)) == 3


def test_settings_come_from_the_environment_and_a_file(
    tiny_family: Family, tiny_set: Path, tmp_path: Path
) -> None:
    config = tmp_path / "device.toml"
    config.write_text(f'[device]\nedge = "{NO_EDGE}"\nsla_ms = 1234\n[source]\nframes = 3\n')
    device = run(
        "device", str(tiny_family.path), f"npz:{tiny_set}", "--config", str(config),
        HEADGATE_DEVICE__PROFILE="low-bandwidth",
    )  # fmt: skip
    assert device.returncode == 0, device.stderr
    lines = [json.loads(line) for line in device.stdout.splitlines()]
    assert [line["sla_ms"] for line in lines] == [1234.0] * 3
    assert {line["profile"] for line in lines} == {"low-bandwidth"}


def test_a_profile_is_switched_by_the_command_while_frames_flow(
    tiny_family: Family, tiny_set: Path, tmp_path: Path
) -> None:
    frames = tmp_path / "frames.jsonl"
    with edge_process(tiny_family.path) as (_, endpoint):
        device = subprocess.Popen(
            headgate(
                "device", str(tiny_family.path), f"npz:{tiny_set}", str(frames),
                "--edge", endpoint, "--sla-ms", "2000", "--fps", "50", "--loop",
            ),
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert device.stderr is not None
        address = json.loads(device.stderr.readline())["control"]
        none_such = tmp_path / "none-such.toml"
        none_such.write_text('name = "none-such"\npoints = ["b9*"]\n')
        refused = run("profile", "set", str(none_such), "--device", address)
        switched = run("profile", "set", "low-bandwidth", "--device", address, "--json")
        shown = run("profile", "show", "--device", address)
        device.send_signal(signal.SIGTERM)
        _, stderr = device.communicate(timeout=PATIENCE_S)
    assert device.returncode == 0, stderr
    assert refused.returncode == 2
    assert "'b9*' matches no point of the family" in refused.stderr
    assert refused.stderr.count("\n") == 1
    from_frame = json.loads(switched.stdout)["from_frame"]
    assert f"profile low-bandwidth from frame {from_frame}" in shown.stdout
    records = read(frames)
    assert sorted(record.frame_id for record in records) == list(range(len(records)))
    assert len(records) > from_frame > 0
    for record in records:
        expected = "low-bandwidth" if record.frame_id >= from_frame else "balanced"
        assert record.profile == expected


def test_a_device_whose_key_is_not_listed_stays_local_and_both_sides_say_so(
    tiny_family: Family, tmp_path: Path
) -> None:
    keys.make_set(tmp_path / "ours", device="cam1")
    _, stranger = keys.make_set(tmp_path / "theirs", device="cam1")
    shutil.copy(tmp_path / "ours" / "edge" / "edge.key", stranger / "edge.key")
    served = ("--bind", "tcp://127.0.0.1:*", "--keys", str(tmp_path / "ours" / "edge"))
    with edge_process(tiny_family.path, *served) as (edge, endpoint):
        device = run(
            "device", str(tiny_family.path), "fake://16x16", "--edge", endpoint,
            "--keys", str(stranger), "--fps", "50", "--frames", "50",
        )  # fmt: skip
        edge.send_signal(signal.SIGTERM)
        _, edge_stderr = edge.communicate(timeout=PATIENCE_S)
    assert device.returncode == 0, device.stderr
    assert {json.loads(line)["source"] for line in device.stdout.splitlines()} == {"local"}
    assert len(device.stdout.splitlines()) == 50
    assert device.stderr.count("refused our key") == 1
    assert edge_stderr.count(" is not in the devices folder; add its .key file there") == 1


def test_keys_made_by_the_command_connect_both_sides(
    tiny_family: Family, tiny_set: Path, tmp_path: Path
) -> None:
    made = run("keygen", str(tmp_path / "keys"), "--name", "cam1")
    assert made.returncode == 0, made.stderr
    folder = tmp_path / "keys"
    with (
        edge_process(
            tiny_family.path, "--bind", "tcp://127.0.0.1:*", "--keys", str(folder / "edge")
        ) as (_, endpoint),
        RunningDevice(
            tiny_family,
            f"npz:{tiny_set}",
            edge=endpoint,
            keys=keys.load_device_keys(folder / "cam1"),
            playback=Playback(fps=100, loop=True),
        ) as running,
    ):
        running.wait_for(answered_by(Source.EDGE))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["edge", "FAMILY", "--bind", "tcp://0.0.0.0:7700"], 2, "not loopback and there are no"),
        (["device", "FAMILY", "SET", "--edge", "tcp://192.0.2.1:7700"], 2, "--insecure"),
        (["device", "FAMILY", "SET", "--control", "tcp://192.0.2.1:7700"], 2, "--control"),
        (["device", "FAMILY", "SET", "--edge", "7700"], 2, "is not tcp://HOST:PORT"),
        (["device", "FAMILY", "SET", "--keys", "/nowhere"], 2, "no such key file"),
        (["device", "FAMILY", "SET", "--profile", "odd"], 2, "neither a preset"),
        (["device", "FAMILY", "SET", "--providers", "gpu"], 2, "is not one of auto"),
        (["device", "FAMILY", "SET", "--config", "/nowhere"], 2, "cannot be read"),
        (["device", "FAMILY", "SET", "/nowhere/out"], 2, "cannot be written"),
        (["device", "FAMILY", "SET", "-", "--json"], 2, "cannot both go to stdout"),
        (["device", "FAMILY", "nowhere.mp4"], 2, "no such video file"),
        (["device", "/nowhere", "SET"], 4, "no such folder"),
        (["edge", "/nowhere"], 4, "no such folder"),
        (["inspect", "/nowhere"], 4, "no such folder"),
    ],
)
def test_bad_input_is_one_sentence_and_its_exit_code(
    tiny_family: Family, tiny_set: Path, arguments: list[str], code: int, message: str
) -> None:
    from click.testing import CliRunner

    from headgate.runtime.cli import main

    known = {"FAMILY": str(tiny_family.path), "SET": f"npz:{tiny_set}"}
    result = CliRunner().invoke(main, [known.get(each, each) for each in arguments])
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert result.stderr.startswith("headgate: error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_file_that_is_full_ends_with_a_whole_line(
    tiny_family: Family, tiny_set: Path, tmp_path: Path
) -> None:
    frames = tmp_path / "frames.jsonl"
    device = subprocess.run(
        headgate(
            "device", str(tiny_family.path), f"npz:{tiny_set}", str(frames), "--edge", NO_EDGE
        ),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)),
        timeout=PATIENCE_S,
    )
    assert device.returncode == 1
    assert len(read(frames)) >= 5
    assert frames.read_text().endswith("}\n")


def test_a_bug_is_seen_after_the_summary_of_what_was_answered(
    tiny_family: Family, tiny_set: Path, tmp_path: Path
) -> None:
    frames = tmp_path / "frames.jsonl"
    # onnxruntime raises what it never should, at the tenth run.
    script = (
        "import itertools, onnxruntime as ort; run, count = ort.InferenceSession.run, "
        "itertools.count(); ort.InferenceSession.run = lambda *a, **k: "
        "run(*a, **k) if next(count) < 10 else 1 / 0; "
        "from headgate.runtime.cli import main; main()"
    )
    arguments = ("device", str(tiny_family.path), f"npz:{tiny_set}", str(frames), "--json")
    device = subprocess.run(
        [sys.executable, "-c", script, *arguments, "--edge", NO_EDGE],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert device.returncode == 1
    assert "ZeroDivisionError" in device.stderr.splitlines()[-1]
    records = read(frames)
    assert sorted(record.frame_id for record in records) == list(range(len(records)))
    assert json.loads(device.stdout)["frames"] == len(records) > 0
