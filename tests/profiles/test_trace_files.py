"""Claims about recorded links as files: what is read of them, and what is refused."""

import os
import threading
from pathlib import Path

import pytest

from headgate.profiles import trace_files
from headgate.profiles.errors import TraceError
from headgate.profiles.trace_files import read_trace


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "link.csv"
    path.write_text(text)
    return path


def test_csv_counts_time_from_its_first_row(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, "t_s,mbps\n100.0,8\n100.5,0\n101.0,2.5\n"))
    assert trace.times_s == pytest.approx((0.0, 0.5, 1.0))
    assert trace.rates_bps == (8e6, 0.0, 2.5e6)
    assert trace.duration_s == pytest.approx(1.5)
    assert trace.name == "link"


def test_csv_with_a_row_per_change_has_no_gaps(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, "t_s,mbps\n0,8\n10,1\n12,0\n30,8\n"))
    assert trace.rate_bps(29.9) == 0
    assert trace.duration_s == pytest.approx(40.0)


def test_mahimahi_delivers_its_packets_at_their_millisecond(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, "1\n1\n5\n10\n"))
    assert trace.duration_s == pytest.approx(0.010)
    assert trace.mean_bps == pytest.approx(4 * 12_000 / 0.010)
    assert trace.finish_s(0.0, 3000) == pytest.approx(0.001)
    assert trace.finish_s(0.0, 4500) == pytest.approx(0.005)
    assert trace.finish_s(0.0, 6000) == pytest.approx(0.010)
    assert trace.finish_s(0.0, 7500) == pytest.approx(0.0105)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("t_s,mbps\n", "no rows"),
        ("time,rate\n0,1\n", "line 1: found 'time,rate', expected the header 't_s,mbps'"),
        ("t_s,mbps\n0,1\n0.1,-2\n", "line 3: rate is -2 Mbit/s, expected 0 or more"),
        ("t_s,mbps\n0,1\n0.1,nan\n", "line 3: found 'nan', expected a rate"),
        ("t_s,mbps\n0,1\n0.1,\n", "line 3: found '', expected a rate"),
        ("t_s,mbps\n0,1\ninf,2\n", "line 3: found 'inf', expected a time"),
        ("t_s,mbps\n0,1\n0.1,2,3\n", "line 3: found '0.1,2,3', expected two numbers"),
        ("t_s,mbps\n0,1\n0.2,1\n0.1,1\n", "line 4: time 0.1 s does not follow 0.2 s"),
        ("t_s,mbps\n0,1\n0,1\n", "line 3: time 0 s does not follow 0 s"),
        (
            "t_s,mbps\n1700000001.5,1\n 1700000001,1\n",
            "line 3: time 1700000001 s does not follow 1700000001.5 s",
        ),
        ("t_s,mbps\n0,1\n0.1,1\n0.2,1\n0.7,1\n", "line 5: a gap of 0.5 s, expected a row every"),
        ("t_s,mbps\n0,1\n1,20000000\n", "line 3: rate is 2e+07 Mbit/s, expected 1e+06 at most"),
        ("t_s,mbps\n0,1\n1e-320,1\n", "line 3: time 1e-320 s does not follow 0 s"),
        ("t_s,mbps\n0,1\n1e17,1\n", "lasts 1e+17 s, expected 1e+09 at most"),
        ("1\n99999999999999999999\n", "lasts 1e+17 s, expected 1e+09 at most"),
        (f"{'9' * 5000}\n", f"line 1: found '{'9' * 40}', expected a whole number"),
        ("12\n13\nx\n", "line 3: found 'x', expected a whole number"),
        ("12\n11\n", "line 2: time 11 ms does not follow 12 ms"),
        ("0\n", "lasts 0 ms"),
    ],
)
def test_malformed_trace_is_refused_with_place_and_remedy(
    tmp_path: Path, text: str, message: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "; " in str(caught.value)


def test_missing_file_folder_and_binary_are_trace_errors(tmp_path: Path) -> None:
    binary = tmp_path / "link.bin"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    for path in (tmp_path / "absent.csv", tmp_path, binary):
        with pytest.raises(TraceError, match=str(path)):
            read_trace(path)


def test_a_trace_that_does_not_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_files, "MAX_FILE_BYTES", 20)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=("t_s,mbps\n0,3\n1,3\n2,3\n",))
    writer.start()
    with pytest.raises(TraceError, match="pipe: larger than"):
        read_trace(path)
    writer.join()


def test_a_trace_is_read_from_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=("t_s,mbps\n0,3\n",))
    writer.start()
    assert read_trace(path).rates_bps == (3e6,)
    writer.join()
