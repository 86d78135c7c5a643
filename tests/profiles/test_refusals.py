import errno
import os
from pathlib import Path

import pytest

from headgate.profiles.errors import HeadgateError, UsageError
from headgate.profiles.refusals import check_can_hold_files, refusal


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EACCES, "there is no permission for it; choose another place, or change its perm"),
        (errno.EPERM, "there is no permission for it; choose another place, or change its perm"),
        (errno.EROFS, "its disk is read-only; choose another place, or make the disk writable"),
        (errno.ENOTDIR, "a file is in the place of a folder; choose another place, or remove"),
        (errno.EEXIST, "something is in its place already; choose another place, or remove"),
        (errno.EISDIR, "a folder is in the place of a file; choose another place, or remove"),
        (errno.ENAMETOOLONG, "its name is too long; choose another place, or shorten it"),
    ],
)
def test_a_wrong_place_is_the_users_to_change(number: int, said: str) -> None:
    told = refusal(OSError(number, os.strerror(number)), place=Path("out/run"))
    assert isinstance(told, UsageError)
    assert str(told).startswith(f"out/run: {said}")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_what_may_succeed_later_is_no_usage_error(number: int) -> None:
    told = refusal(OSError(number, os.strerror(number)), place="out/run")
    assert type(told) is HeadgateError
    assert str(told).startswith("out/run: ")


def test_a_folder_that_can_be_made_passes_and_is_not_made(tmp_path: Path) -> None:
    check_can_hold_files(tmp_path / "a" / "b")
    check_can_hold_files(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file", "file/a", "file/a/b", "link/a"])
def test_a_file_in_the_way_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    said = rf"^{tmp_path / place}: {tmp_path}/file is a file, expected a folder; choose another"
    with pytest.raises(UsageError, match=said):
        check_can_hold_files(tmp_path / place)


def test_a_folder_that_takes_nothing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write anywhere, so a file's permissions cannot show it.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match=rf"^{tmp_path}: nothing may be written in it, by its"):
        check_can_hold_files(tmp_path)
    said = rf"^{tmp_path}/a/b: nothing may be written in {tmp_path}, by its permissions"
    with pytest.raises(UsageError, match=said):
        check_can_hold_files(tmp_path / "a" / "b")
