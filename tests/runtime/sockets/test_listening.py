"""Claims about opening a socket for others: what is in the way is named, and never removed."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from headgate.profiles.errors import UsageError
from headgate.runtime.sockets.keys import Context, Socket
from headgate.runtime.sockets.listening import is_heard, listen


@pytest.fixture
def listener() -> Iterator[Socket]:
    context: Context = zmq.Context()
    with context, context.socket(zmq.ROUTER) as router:
        router.linger = 0
        yield router


def complaint(listener: Socket, endpoint: str) -> str:
    with pytest.raises(UsageError) as caught:
        listen(listener, endpoint, option="--bind")
    return str(caught.value).removeprefix(f"--bind {endpoint}: ")


def test_a_file_in_the_way_is_named_and_left_as_it_is(listener: Socket, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("not to be lost")
    said = complaint(listener, f"ipc://{notes}")
    assert said == "is a file, expected nothing there, or a socket; choose another path"
    assert notes.read_text() == "not to be lost"
    assert complaint(listener, f"ipc://{tmp_path}").startswith("is a folder, expected nothing")


def test_a_socket_at_which_somebody_listens_is_not_taken_away(
    listener: Socket, tmp_path: Path
) -> None:
    path = tmp_path / "device.ipc"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        said = complaint(listener, f"ipc://{path}")
        assert said == "another program listens there already; stop it or choose another path"
        assert is_heard(path)
    # Closed but not removed, as by a program that was killed: that is in nobody's way.
    assert path.is_socket()
    assert not is_heard(path)
    listen(listener, f"ipc://{path}", option="--bind")
    assert is_heard(path)


def test_a_path_that_cannot_be_says_why(listener: Socket, tmp_path: Path) -> None:
    said = complaint(listener, f"ipc://{tmp_path}/none/x.ipc")
    assert said == f"there is no folder {tmp_path}/none; make it, or choose another path"
    said = complaint(listener, "ipc:///tmp/" + 200 * "x")
    assert said == f"a path of 205 bytes, expected at most {zmq.IPC_PATH_MAX_LEN}; shorten it"
    (tmp_path / "plain").touch()
    said = complaint(listener, f"ipc://{tmp_path}/plain/x.ipc")
    assert said == "cannot listen there (Not a directory); choose another path"


def test_a_port_in_use_is_said_to_be(listener: Socket) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        said = complaint(listener, f"tcp://127.0.0.1:{other.getsockname()[1]}")
    assert said == "another program listens there already; stop it or choose another port"


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="needs Linux")
def test_an_edge_may_open_as_many_files_as_the_system_lets_it() -> None:
    """In a process of its own: a hard limit that was lowered cannot be raised again."""
    code = (
        "import resource; from headgate.runtime.sockets.listening import allow_many_sockets;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200)); allow_many_sockets();"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "(200, 200)\n"


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="needs Linux")
@pytest.mark.parametrize("side", ["device", "edge"])
def test_where_next_to_no_files_may_be_open_a_side_says_so_instead_of_aborting(side: str) -> None:
    code = (
        "import resource, sys; from headgate.runtime.cli import main;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20)); sys.exit(main())"
    )
    asked = {"device": ["device", "none", "fake://"], "edge": ["edge", "none"]}[side]
    command = [sys.executable, "-c", code, *asked]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "headgate: error: only 20 files may be open at once, expected 64 or more; "
        "raise `ulimit -n`\n"
    )
