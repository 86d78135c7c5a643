"""Opens a socket for others to connect to, or says in one sentence why that cannot be.

ZeroMQ removes whatever stands at an ipc path before it listens there: the socket of a program that
runs, which then goes on unheard, or any other file. So that is looked at first. What a killed
program left behind is in nobody's way.
"""

import contextlib
import errno
import resource
import socket
import stat
from pathlib import Path

import zmq

from headgate.profiles.errors import HeadgateError, UsageError
from headgate.runtime.sockets.keys import Socket

IPC = "ipc://"
LEAST_FILES = 64  # a device had 20 open, an edge with one device 17; a second connection adds


def allow_many_sockets() -> None:
    """Let this process open as many files as the system allows it: each peer costs one.

    A process begins with a soft limit of 1024 on most systems. Where none is left, ZeroMQ asks for
    the connection that waits again and again, and nothing says why nobody gets in. Raises
    HeadgateError where the system allows next to none: ZeroMQ would abort.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # a limit that only looks like one (macOS)
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < LEAST_FILES:
        raise HeadgateError(
            f"only {limit} files may be open at once, expected {LEAST_FILES} or more; "
            "raise `ulimit -n`"
        )


def listen(listener: Socket, endpoint: str, *, option: str) -> None:
    """Bind a socket to a well-formed endpoint, or raise UsageError naming `option`."""
    complaint = _path_complaint(endpoint.removeprefix(IPC)) if endpoint.startswith(IPC) else None
    if complaint is None:
        try:
            listener.bind(endpoint)
        except zmq.ZMQError as reason:
            complaint = _bind_complaint(reason)
    if complaint is not None:
        raise UsageError(f"{option} {endpoint}: {complaint}")


def is_heard(path: Path) -> bool:
    """Say whether anybody listens at a socket's path.

    A program that was killed leaves its path behind, and another may have its number.
    """
    with socket.socket(socket.AF_UNIX) as caller:
        caller.setblocking(False)
        try:
            caller.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:  # so many call that it takes no more at once; or it is not for us
            return True
    return True


def _path_complaint(place: str) -> str | None:
    """Return why nobody can listen at an ipc path, or should."""
    if place.startswith("@") or place == "*":  # names no file; chosen by ZeroMQ
        return None
    path, num_bytes = Path(place), len(place.encode(errors="surrogateescape"))
    if num_bytes > zmq.IPC_PATH_MAX_LEN:
        return f"a path of {num_bytes} bytes, expected at most {zmq.IPC_PATH_MAX_LEN}; shorten it"
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.parent.is_dir():
            return None
        return f"there is no folder {path.parent}; make it, or choose another path"
    except OSError as reason:
        return f"cannot listen there ({reason.strerror}); choose another path"
    if not stat.S_ISSOCK(mode):
        kind = "folder" if stat.S_ISDIR(mode) else "file"
        return f"is a {kind}, expected nothing there, or a socket; choose another path"
    if is_heard(path):
        return "another program listens there already; stop it or choose another path"
    return None


def _bind_complaint(reason: zmq.ZMQError) -> str:
    if reason.errno == errno.EADDRINUSE:
        return "another program listens there already; stop it or choose another port"
    if reason.errno in (errno.EADDRNOTAVAIL, errno.ENODEV):
        return "is no address of this machine; check with `ip addr`"
    return f"cannot listen there ({reason.strerror}); choose another address"
