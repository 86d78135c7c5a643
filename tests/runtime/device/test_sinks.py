import io
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from headgate.profiles.errors import HeadgateError, UsageError
from headgate.runtime.device.aside import StoppedError
from headgate.runtime.device.sinks import JsonLines, print_summary, summary_rows
from headgate.runtime.records import Estimate, FrameRecord, Source, Stages, record_from_line
from headgate.runtime.session.summary import Tally


def record(frame_id: int, *, source: Source = Source.EDGE, total_s: float = 0.05) -> FrameRecord:
    return FrameRecord(
        frame_id=frame_id,
        captured_s=frame_id / 10,
        source=source,
        reason=source.value,
        point="b3r1-l16",
        kind="split",
        num_bytes=100,
        stages=Stages(total_s=total_s),
        sla_s=0.1,
        deadline_met=source is not Source.NONE and total_s <= 0.1,
        label=1,
        label_name="green",
        score=0.9,
        correct=True,
        quality=0.95,
        profile="balanced",
        estimate=Estimate(rate_bps=2e6),
    )


def unused() -> None:
    raise AssertionError("nothing failed")


def test_every_record_is_one_line_in_order(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    lines = JsonLines(str(path), on_failure=unused)
    for frame_id in range(100):
        lines.write(record(frame_id))
    lines.close()
    read = [record_from_line(text, where="line") for text in path.read_text().splitlines()]
    assert read == [record(frame_id) for frame_id in range(100)]


def test_records_go_to_standard_output_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    lines = JsonLines("-", on_failure=unused)
    lines.write(record(7))
    lines.close()
    assert json.loads(capsys.readouterr().out)["frame"] == 7


def test_a_pipe_that_nobody_reads_is_waited_for_until_the_device_is_stopped(
    tmp_path: Path,
) -> None:
    pipe = tmp_path / "frames"
    os.mkfifo(pipe)
    looks = iter([False, False])
    with pytest.raises(StoppedError):
        JsonLines(str(pipe), on_failure=unused, is_stopped=lambda: next(looks, True))
    os.close(os.open(pipe, os.O_RDONLY))  # lets the thread go that is left behind


def test_an_output_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"OUTPUT .*frames.jsonl: cannot be written"):
        JsonLines(str(tmp_path / "none" / "frames.jsonl"), on_failure=unused)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_file_that_holds_no_records_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "b.mp4"
    path.write_bytes(b"\0\0\0\x1cftypisom")
    with pytest.raises(UsageError, match=r"OUTPUT .*b\.mp4: exists and holds no records"):
        JsonLines(str(path), on_failure=unused)
    assert path.read_bytes() == b"\0\0\0\x1cftypisom"


def test_records_of_an_earlier_run_and_an_empty_file_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    path.touch()
    for turn in (1, 2):
        lines = JsonLines(str(path), on_failure=unused)
        for frame_id in range(turn):
            lines.write(record(frame_id))
        assert lines.close() is None
        assert len(path.read_text().splitlines()) == turn


def test_a_full_disk_is_told_once_and_the_error_names_the_output() -> None:
    told: list[int] = []
    lines = JsonLines("/dev/full", on_failure=lambda: told.append(1))
    for frame_id in range(3):
        lines.write(record(frame_id))
    failure = lines.close()
    assert isinstance(failure, HeadgateError)
    assert str(failure).startswith("OUTPUT /dev/full: cannot be written (No space left")
    assert len(told) <= 1


def _fifo_without_reader(folder: Path) -> tuple[Path, int]:
    """Return a named pipe that is open for reading, and the end that nobody reads yet."""
    path = folder / "frames.fifo"
    os.mkfifo(path)
    return path, os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def test_a_reader_that_takes_nothing_is_given_up_and_what_it_has_are_whole_lines(
    tmp_path: Path,
) -> None:
    path, reader = _fifo_without_reader(tmp_path)
    lines = JsonLines(str(path), on_failure=lambda: None)
    for frame_id in range(300):  # more than a pipe holds
        lines.write(record(frame_id))
    failure = lines.close(is_stopped=lambda: True, patience_s=0.2)
    assert isinstance(failure, HeadgateError)
    assert "frames.fifo: cannot be written (its reader takes nothing, " in str(failure)
    with open(reader) as taken:
        text = taken.read()
    assert text.endswith("\n")
    read = [record_from_line(line, where="line") for line in text.splitlines()]
    assert read == [record(frame_id) for frame_id in range(len(read))]
    assert 0 < len(read) < 300


def test_a_slow_reader_loses_nothing(tmp_path: Path) -> None:
    path, reader = _fifo_without_reader(tmp_path)
    lines = JsonLines(str(path), on_failure=unused)
    for frame_id in range(300):
        lines.write(record(frame_id))
    os.set_blocking(reader, True)
    with open(reader) as taken:
        texts: list[str] = []
        slow = threading.Thread(target=lambda: texts.extend(taken))
        slow.start()
        assert lines.close(is_stopped=lambda: True, patience_s=5.0) is None
        slow.join()
    assert len(texts) == 300


def test_lines_that_nobody_takes_are_bounded_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headgate.runtime.device.sinks.MAX_WAITING", 100)
    told: list[int] = []
    path, reader = _fifo_without_reader(tmp_path)
    lines = JsonLines(str(path), on_failure=lambda: told.append(1))
    for frame_id in range(1000):
        lines.write(record(frame_id))
    assert told == [1]
    assert "takes nothing, 100 lines wait" in str(lines.close())
    os.close(reader)


def test_the_summary_says_what_people_ask_first() -> None:
    tally = Tally()
    for frame_id in range(3):
        tally.add(record(frame_id))
    tally.add(record(3, source=Source.NONE))
    out = io.StringIO()
    print_summary(tally.summary(), name="clip", console=Console(file=out, width=100))
    text = out.getvalue()
    assert "clip: 4 frames" in text
    assert "3 (75.0%)" in text
    assert "edge 3, none 1" in text
    assert "50." in text


def test_the_summary_shows_what_answered_and_each_thing_once() -> None:
    tally = Tally()
    local = record(0, source=Source.LOCAL)
    for each in (
        replace(record(0), point="c8r1-l8-p4", answered_point="c8r1-l8-p2"),
        replace(local, point="local-full", answered_point="local-full"),
        replace(local, reason="edge too late", answered_point=None),
        replace(record(0, source=Source.NONE), reason="superseded"),
    ):
        tally.add(each)
    rows = dict(summary_rows(tally.summary()))
    assert rows["answered by"] == "edge 1, local 2, none 1"
    assert rows["answers from"] == "c8r1-l8-p2 1, local-full 1, early exit 1"
    assert rows["exceptions"] == "edge too late 1, superseded 1"


def test_brackets_in_a_path_or_a_reason_stand_in_the_summary_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tally = Tally()
    tally.add(replace(record(0, source=Source.NONE), reason="failed: [/x]"))
    print_summary(tally.summary(), name="dir:/a[/b]")
    text = capsys.readouterr().err
    assert "dir:/a[/b]: 1 frame " in text
    assert "failed: [/x] 1" in text


def test_a_run_without_exceptions_says_so() -> None:
    tally = Tally()
    tally.add(record(0))
    assert dict(summary_rows(tally.summary()))["exceptions"] == "none"


def test_a_record_that_cannot_be_a_line_is_a_failure_and_not_lost_unseen(tmp_path: Path) -> None:
    failures: list[int] = []
    lines = JsonLines(str(tmp_path / "frames.jsonl"), on_failure=lambda: failures.append(1))
    lines.write(record(0))
    lines.write(replace(record(1), captured_s=float("nan")))
    unwritten = lines.close()
    assert failures == [1]
    assert unwritten is not None
    assert "Out of range float values" in str(unwritten)
    assert len((tmp_path / "frames.jsonl").read_text().splitlines()) == 1
