import errno
import fcntl
import os
import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from headgate.profiles.errors import FamilyError, UsageError
from headgate.profiles.storage import (
    canonical_json,
    check_place,
    publish_folder,
    read_json,
    read_toml,
    recover_folder,
    write_atomic,
)


def gladly(target: Path) -> None:
    """Let any folder be replaced."""


def test_a_published_folder_appears_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "family"
    with publish_folder(target) as folder:
        (folder / "a.txt").write_text("new")
        assert not target.exists()
    assert (target / "a.txt").read_text() == "new"
    assert [item.name for item in tmp_path.iterdir()] == ["family"]


def test_an_error_while_writing_keeps_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "family"
    target.mkdir()
    (target / "a.txt").write_text("old")

    def write_half() -> None:
        with publish_folder(target, may_replace=gladly) as folder:
            (folder / "a.txt").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert (target / "a.txt").read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["family"]


def test_a_full_disk_names_the_file_keeps_the_old_one_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_atomic(path, "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            write_atomic(path, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["state.json"]


def test_what_a_killed_process_began_is_removed_by_the_next_one(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    orphan = tmp_path / f".family.{ended.pid}.new"
    orphan.mkdir()
    alive = tmp_path / f".family.{os.getppid()}.new"
    alive.mkdir()
    with publish_folder(tmp_path / "family"):
        pass
    assert not orphan.exists()
    assert alive.exists()


def test_an_existing_folder_is_refused_without_replace(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists already"), publish_folder(tmp_path):
        raise AssertionError("the block must not run")


def test_a_folder_that_another_process_published_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "family"

    def write_slowly() -> None:
        with publish_folder(target) as folder:
            (folder / "a.txt").write_text("late")
            target.mkdir()
            (target / "a.txt").write_text("quick")

    with pytest.raises(UsageError, match="exists already"):
        write_slowly()
    assert (target / "a.txt").read_text() == "quick"
    assert [item.name for item in tmp_path.iterdir()] == ["family"]


def test_what_may_be_replaced_is_looked_at_once_more_when_the_new_folder_is_whole(
    tmp_path: Path,
) -> None:
    target = tmp_path / "family"
    target.mkdir()

    def only_empty(found: Path) -> None:
        if any(found.iterdir()):
            raise UsageError(f"{found}: holds what is not ours")

    def write_slowly() -> None:
        with publish_folder(target, may_replace=only_empty) as folder:
            (folder / "a.txt").write_text("late")
            (target / "notes.txt").write_text("precious")

    with pytest.raises(UsageError, match="not ours"):
        write_slowly()
    assert (target / "notes.txt").read_text() == "precious"
    assert [item.name for item in tmp_path.iterdir()] == ["family"]


def test_a_swap_that_was_killed_between_its_renames_is_undone(tmp_path: Path) -> None:
    old = tmp_path / ".family.old"
    old.mkdir()
    (old / "a.txt").write_text("old")
    recover_folder(tmp_path / "family")
    assert (tmp_path / "family" / "a.txt").read_text() == "old"


def test_a_swap_that_was_killed_after_its_renames_keeps_the_new_folder(tmp_path: Path) -> None:
    for name in (".family.old", "family"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(name)
    recover_folder(tmp_path / "family")
    assert (tmp_path / "family" / "a.txt").read_text() == "family"
    assert not (tmp_path / ".family.old").exists()


def test_a_folder_whose_folders_are_read_only_is_replaced_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    target = tmp_path / "family"
    (target / "heads" / "b4").mkdir(parents=True)
    (target / "heads" / "b4" / "model.onnx").touch()
    for folder in (target / "heads" / "b4", target / "heads", target):
        folder.chmod(0o500)
    with publish_folder(target, may_replace=gladly) as folder:
        (folder / "a.txt").write_text("new")
    assert (target / "a.txt").read_text() == "new"
    assert [item.name for item in tmp_path.iterdir()] == ["family"]


def test_what_cannot_be_removed_of_an_earlier_swap_is_named_before_any_work(tmp_path: Path) -> None:
    target = tmp_path / "family"
    target.mkdir()
    (tmp_path / ".family.old").touch()  # of a file, as of another user's folder, nothing is removed
    with (
        pytest.raises(UsageError, match=r"\.family\.old: is left of an earlier family"),
        publish_folder(target, may_replace=gladly),
    ):
        raise AssertionError("the block must not run")


def test_a_reader_waits_for_a_swap_that_is_under_way_and_does_not_undo_it(tmp_path: Path) -> None:
    target, old, fresh = (tmp_path / name for name in ("family", ".family.old", "fresh"))
    for folder in (old, fresh):
        folder.mkdir()
        (folder / "a.txt").write_text(folder.name)
    reader = threading.Thread(target=recover_folder, args=(target,))
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # as the process does that swaps
    try:
        reader.start()
        reader.join(timeout=0.05)
        os.rename(fresh, target)
    finally:
        os.close(descriptor)
        reader.join()
    assert (target / "a.txt").read_text() == "fresh"
    assert [item.name for item in tmp_path.iterdir()] == ["family"]


def test_two_processes_that_replace_one_folder_again_and_again_both_succeed(tmp_path: Path) -> None:
    target = tmp_path / "family"
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from headgate.profiles.storage import publish_folder\n"
        "for turn in range(30):\n"
        "    with publish_folder(Path(sys.argv[1]), may_replace=print) as folder:\n"
        "        (folder / sys.argv[2]).write_text('whole')\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(target), name]) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert [item.name for item in tmp_path.iterdir()] == ["family"]
    assert [item.read_text() for item in target.iterdir()] == ["whole"]


def test_write_atomic_replaces_a_file_and_leaves_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_atomic(path, "one")
    write_atomic(path, b"two")
    assert path.read_text() == "two"
    assert [item.name for item in tmp_path.iterdir()] == ["run.json"]


def test_canonical_json_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical_json({"b": 1, "a": [1.5, "ü"]}) == canonical_json({"a": [1.5, "ü"], "b": 1})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b'{"a": ', "not JSON at line 1"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"1" * 5000, "not JSON"),
    ],
)
def test_damaged_json_is_named_with_its_place(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "family.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FamilyError, match=said) as caught:
        read_json(path)
    assert "family.json" in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="needs pipes and devices")
def test_json_and_toml_without_an_end_are_refused(tmp_path: Path) -> None:
    pipe, endless = tmp_path / "pipe", tmp_path / "endless"
    os.mkfifo(pipe)  # nobody will ever write into it
    endless.symlink_to("/dev/zero")
    for path in (pipe, endless):
        with pytest.raises(FamilyError, match=rf"{path}: cannot be read \(is a pipe or a device\)"):
            read_json(path)
    with pytest.raises(UsageError, match=r"endless: larger than 1024 KiB"):
        read_toml(endless, error=UsageError)


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_a_folder_behind_a_link_is_published_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with publish_folder(tmp_path / "link", may_replace=gladly) as folder:
        (folder / "a.txt").write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a.txt").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_the_current_folder_is_one_that_can_be_recovered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recover_folder(Path("."))
    recover_folder(Path("/"))


def test_a_place_where_no_folder_can_be_made_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(
            UsageError, match=r"^.*/file/family: .*/file is a file, expected a folder; choose"
        ),
        publish_folder(tmp_path / "file" / "family"),
    ):
        raise AssertionError("the block must not run")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_folder_that_the_system_refuses_is_named_as_the_user_knows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    said = rf"^{tmp_path}/family: this folder cannot be made \({os.strerror(number)}\); choose"
    with pytest.raises(UsageError, match=said), publish_folder(tmp_path / "family"):
        raise AssertionError("the block must not run")


def test_a_file_of_a_folder_that_nobody_sees_yet_is_named_by_its_place_to_be(
    tmp_path: Path,
) -> None:
    target = tmp_path / "family"
    with pytest.raises(OSError) as caught, publish_folder(target) as folder:
        (folder / "nowhere" / "a.txt").write_text("a")
    assert caught.value.filename == str(target / "nowhere" / "a.txt")
    with pytest.raises(OSError) as caught, publish_folder(target) as folder:
        shutil.copy2(tmp_path, folder / "a.txt")
    assert caught.value.filename == str(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_named_not_the_one_beside_it(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        write_atomic(tmp_path / "nowhere" / "run.json", "one")
    assert caught.value.filename == str(tmp_path / "nowhere" / "run.json")


def test_a_name_that_leaves_no_room_for_others_beside_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a name of 300 bytes, expected at most 200"):
        check_place(tmp_path / ("x" * 300))


def test_a_place_whose_path_is_no_text_is_refused_before_any_work(tmp_path: Path) -> None:
    for odd in (os.fsdecode(b"run\xff"), os.path.join(os.fsdecode(b"runs\xff"), "run")):
        with pytest.raises(UsageError, match=r"\\udcff.*this path is not UTF-8"):
            check_place(tmp_path / odd)
