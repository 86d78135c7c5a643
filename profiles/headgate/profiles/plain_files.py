"""Read what others left under a name: a pipe there blocks for ever, a device may have no end."""

import os
import stat
from pathlib import Path


def read_plain(path: Path, *, max_bytes: int) -> bytes:
    """Return what a plain file holds, or raise OSError where it is another thing, or larger.

    A link to a plain file is as good as one.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError("is a pipe or a device")
        if found.st_size > max_bytes:
            raise OSError(f"has {found.st_size >> 20} MiB")
        return file.read(max_bytes)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe waits for its other end
