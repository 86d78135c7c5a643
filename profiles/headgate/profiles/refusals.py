"""Says in a sentence what the operating system refuses, and whose fault that is."""

import errno
import os
from pathlib import Path

from headgate.profiles.errors import HeadgateError, UsageError

_FULL = (errno.ENOSPC, errno.EDQUOT)
# What is found, and the remedy, where another place or other permissions help.
_WRONG_PLACE = {
    errno.EACCES: ("there is no permission for it", "change its permissions"),
    errno.EPERM: ("there is no permission for it", "change its permissions"),
    errno.EROFS: ("its disk is read-only", "make the disk writable"),
    errno.ENOTDIR: ("a file is in the place of a folder", "remove that file"),
    errno.EEXIST: ("something is in its place already", "remove that"),
    errno.EISDIR: ("a folder is in the place of a file", "remove that folder"),
    errno.ENAMETOOLONG: ("its name is too long", "shorten it"),
}


def refusal(error: OSError, *, place: str | os.PathLike[str]) -> HeadgateError:
    """Return the error to raise for what the system said of `place`.

    A wrong place is the user's to change, and a UsageError. A disk that fills up is not: the same
    command may succeed later.
    """
    if error.errno in _WRONG_PLACE:
        found, remedy = _WRONG_PLACE[error.errno]
        return UsageError(f"{os.fspath(place)}: {found}; choose another place, or {remedy}")
    if error.errno in _FULL:
        return HeadgateError(
            f"{os.fspath(place)}: cannot be written, its disk is full; free space there, or choose "
            "another place"
        )
    reason = error.strerror or type(error).__name__
    return HeadgateError(
        f"{os.fspath(place)}: the system says {reason!r}; make the place usable and repeat the "
        "command"
    )


def check_can_hold_files(folder: Path, *, wanted: Path | None = None) -> None:
    """Refuse a folder that cannot be made or written into, before any work; changes nothing.

    `wanted` is what shall be made in it, and is named if there is one.
    """
    nearest = Path(os.path.realpath(folder))
    there = nearest
    while not os.path.exists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return
    if not nearest.is_dir():
        raise UsageError(
            f"{wanted or folder}: {nearest} is a file, expected a folder; choose another place"
        )
    held = "it" if nearest == there and wanted is None else str(nearest)
    raise UsageError(
        f"{wanted or folder}: nothing may be written in {held}, by its permissions or because "
        "its disk is read-only; choose another place, or change that"
    )
