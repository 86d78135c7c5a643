"""Who is admitted, while key files come and go."""

import errno
import os
import resource
from pathlib import Path

import pytest
import zmq
import zmq.auth

from headgate.runtime.sockets.allow_list import MAX_REFUSED, AllowList
from headgate.runtime.sockets.keys import write_public


def new_key() -> bytes:
    public, _ = zmq.curve_keypair()
    return public


def test_a_key_is_admitted_while_its_file_is_there(tmp_path: Path) -> None:
    ann, bo = new_key(), new_key()
    write_public(tmp_path, "ann", ann)
    allowed = AllowList(tmp_path)
    assert (allowed.callback("*", ann), allowed.callback("*", bo)) == (True, False)
    write_public(tmp_path, "bo", bo)
    assert (allowed.callback("*", ann), allowed.callback("*", bo)) == (True, True)
    (tmp_path / "ann.key").unlink()
    assert (allowed.callback("*", ann), allowed.callback("*", bo)) == (False, True)


def test_a_copy_under_way_is_passed_over_and_keeps_nobody_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ann, bo = new_key(), new_key()
    write_public(tmp_path, "ann", ann)
    write_public(tmp_path, "bo", bo)
    whole = (tmp_path / "bo.key").read_text()
    allowed = AllowList(tmp_path)
    (tmp_path / "bo.key").write_text(whole[:20])
    assert (allowed.callback("*", ann), allowed.callback("*", bo)) == (True, False)
    assert "bo.key: is not a key file" in caplog.text
    (tmp_path / "bo.key").write_text(whole)
    assert allowed.callback("*", bo)


def test_without_a_folder_nobody_is_admitted(tmp_path: Path) -> None:
    ann = new_key()
    allowed = AllowList(tmp_path / "devices")
    assert not allowed.callback("*", ann)
    write_public(tmp_path / "devices", "ann", ann)
    assert allowed.callback("*", ann)


def test_a_link_to_nothing_keeps_nobody_else_out(tmp_path: Path) -> None:
    ann, bo = new_key(), new_key()
    write_public(tmp_path, "ann", ann)
    allowed = AllowList(tmp_path)
    (tmp_path / "gone.key").symlink_to(tmp_path / "nowhere")
    write_public(tmp_path, "bo", bo)
    assert (allowed.callback("*", ann), allowed.callback("*", bo)) == (True, True)


def test_another_key_of_the_same_size_and_time_is_seen(tmp_path: Path) -> None:
    ann, other = new_key(), new_key()
    write_public(tmp_path, "ann", ann)
    allowed = AllowList(tmp_path)
    file = tmp_path / "ann.key"
    before = file.stat()
    file.write_text(file.read_text().replace(ann.decode(), other.decode()))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert (allowed.callback("*", ann), allowed.callback("*", other)) == (False, True)


def test_a_process_that_can_open_no_more_files_admits_whom_it_did_before(tmp_path: Path) -> None:
    ann, bo = new_key(), new_key()
    write_public(tmp_path, "ann", ann)
    allowed = AllowList(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        admitted = allowed.callback("*", ann), allowed.callback("*", bo)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert admitted == (True, False)
    write_public(tmp_path, "bo", bo)
    assert allowed.callback("*", bo)


def test_a_key_that_cannot_be_read_for_now_is_read_at_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bo = new_key(), new_key()
    write_public(tmp_path, "ann", ann)
    allowed = AllowList(tmp_path)
    write_public(tmp_path, "bo", bo)
    with monkeypatch.context() as full:

        def refuse(path: Path) -> tuple[bytes, None]:
            raise OSError(errno.EMFILE, "Too many open files")

        full.setattr(zmq.auth, "load_certificate", refuse)
        assert (allowed.callback("*", ann), allowed.callback("*", bo)) == (True, False)
    assert (allowed.callback("*", ann), allowed.callback("*", bo)) == (True, True)


def test_a_pipe_among_the_keys_is_not_waited_for(tmp_path: Path) -> None:
    ann = new_key()
    write_public(tmp_path, "ann", ann)
    os.mkfifo(tmp_path / "pipe.key")
    assert AllowList(tmp_path).callback("*", ann)


def test_a_device_is_called_as_its_key_file(tmp_path: Path) -> None:
    ann = new_key()
    write_public(tmp_path, "ann", ann)
    allowed = AllowList(tmp_path)
    assert (allowed.name_of(ann), allowed.name_of(new_key())) == ("ann", None)


def test_a_key_that_was_refused_is_told_of_once_each_time(tmp_path: Path) -> None:
    ann, bo, eve = new_key(), new_key(), new_key()
    write_public(tmp_path, "ann", ann)
    allowed = AllowList(tmp_path)
    for key in (bo, ann, eve, bo):
        allowed.callback("*", key)
    assert [allowed.next_refused() for _ in range(4)] == [bo, eve, bo, None]


def test_of_many_keys_that_are_refused_the_last_ones_are_kept(tmp_path: Path) -> None:
    allowed = AllowList(tmp_path)
    for number in range(MAX_REFUSED + 3):
        allowed.callback("*", b"%040d" % number)
    assert allowed.next_refused() == b"%040d" % 3
