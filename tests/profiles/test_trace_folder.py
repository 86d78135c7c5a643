"""Claims about a folder of recorded links: what is read, what is left out, what is refused."""

from pathlib import Path

import pytest

from headgate.profiles.errors import TraceError, UsageError
from headgate.profiles.trace_folder import open_folder_or_trace, open_traces


def test_traces_of_both_formats_come_by_name_and_the_rest_is_noted(tmp_path: Path) -> None:
    (tmp_path / "slow.csv").write_text("t_s,mbps\n0,1\n")
    (tmp_path / "packets.up").write_text("1\n2\n3\n")
    (tmp_path / "broken.csv").write_text("hello\n")
    (tmp_path / "README.md").write_text("what these are")
    (tmp_path / ".hidden").write_text("nothing")
    (tmp_path / "more").mkdir()
    traces, notes = open_traces(tmp_path)
    assert [trace.name for trace in traces] == ["packets", "slow"]
    assert len(notes) == 1
    assert notes[0].startswith("left out: broken.csv line 1")
    assert str(tmp_path) not in notes[0]


def test_folder_without_traces_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UsageError, match=r"no trace found \(1 files could not be read"):
        open_traces(tmp_path)


def test_a_file_a_folder_and_a_name_are_all_links(tmp_path: Path) -> None:
    path = tmp_path / "slow.csv"
    path.write_text("t_s,mbps\n0,1\n")
    of_file, of_folder = open_folder_or_trace(str(path)), open_folder_or_trace(str(tmp_path))
    assert of_file == of_folder
    (steady,), _ = open_folder_or_trace("steady:8")
    assert steady.mean_bps == 8e6
    with pytest.raises(TraceError, match="neither built in"):
        open_folder_or_trace(str(tmp_path / "missing"))
