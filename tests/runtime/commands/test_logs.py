"""Of `headgate.runtime.commands.logs`."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO, cast

import click
import pytest

from headgate.profiles.family import Family
from headgate.runtime.commands.logs import LossyStream
from headgate.runtime.records import record_from_line
from runtime.running import PATIENCE_S, headgate

NO_EDGE = "tcp://127.0.0.1:9"  # nobody listens on the discard port


def fill(descriptor: int) -> None:
    """Write into a pipe until it takes no more."""
    os.set_blocking(descriptor, False)
    try:
        while True:
            os.write(descriptor, bytes(4096))
    except BlockingIOError:
        os.set_blocking(descriptor, True)


def test_what_nobody_reads_is_dropped_and_what_is_read_passes() -> None:
    reader, writer = os.pipe()
    pipe = os.fdopen(writer, "w")
    stream = LossyStream(pipe)
    print("first", file=stream, flush=True)
    assert os.read(reader, 100) == b"first\n"
    fill(writer)
    print("second", file=stream, flush=True)
    assert set(os.read(reader, 1 << 20)) == {0}
    print("third", file=stream, flush=True)
    assert os.read(reader, 100) == b"third\n"
    os.close(reader)
    print("fourth", file=stream, flush=True)
    with pytest.raises(BrokenPipeError):
        pipe.close()


def test_a_full_stream_is_not_taken_for_one_of_bytes() -> None:
    reader, writer = os.pipe()
    pipe = os.fdopen(writer, "w")
    stream = cast("TextIO", LossyStream(pipe))
    fill(writer)
    click.echo("dropped", file=stream)
    os.set_blocking(reader, False)
    while len(os.read(reader, 1 << 20)) == 1 << 20:
        pass
    click.echo("passes", file=stream)
    assert os.read(reader, 100) == b"passes\n"
    pipe.close()
    os.close(reader)


def test_threads_may_log_at_the_same_time() -> None:
    with open(os.devnull, "w") as nowhere:
        stream = LossyStream(nowhere)
        with ThreadPoolExecutor(4) as threads:
            lines = [threads.submit(print, n, file=stream, flush=True) for n in range(2000)]
            for line in lines:
                line.result()


@pytest.mark.parametrize("fault", ["reader left", "reader takes nothing", "disk full"])
def test_a_device_whose_log_fails_answers_all_frames(
    tiny_family: Family, tiny_set: Path, tmp_path: Path, fault: str
) -> None:
    frames = tmp_path / "frames.jsonl"
    reader, writer = os.pipe()
    if fault == "reader left":
        os.close(reader)
    elif fault == "reader takes nothing":
        fill(writer)
    else:
        os.close(writer)
        writer = os.open("/dev/full", os.O_WRONLY)
    device = subprocess.run(
        headgate(
            "device", str(tiny_family.path), f"npz:{tiny_set}", str(frames), "--edge", NO_EDGE
        ),
        stderr=writer,
        timeout=PATIENCE_S,
    )
    os.close(writer)
    assert device.returncode == 0
    records = [record_from_line(line, where="") for line in frames.read_text().splitlines()]
    assert sorted(record.frame_id for record in records) == list(range(40))
