"""The allow-list of a keys folder: who may connect, as its .key files say at that moment.

The files are looked at whenever somebody connects, and read again when they have changed. So a
device that is added while the edge runs is let in at its next try, and one whose file is removed is
not let in again; a connection that it has stays.
"""

import contextlib
import logging
import os
import stat
from collections import deque
from pathlib import Path

import zmq
import zmq.auth

log = logging.getLogger(__name__)

State = tuple[tuple[str, int, int], ...]
MAX_REFUSED = 64  # keys that nobody asked for


class AllowList:
    """What ZeroMQ's authenticator asks, from a thread of its own: is this key admitted?"""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state: State = ()
        self._keys: dict[str, bytes] = {}  # by the file's name
        self._refused: deque[bytes] = deque(maxlen=MAX_REFUSED)  # appended to by ZeroMQ's thread
        self._refresh()

    def callback(self, domain: str, key: bytes) -> bool:
        """Say whether a public key, as Z85 text, is listed. The name is pyzmq's."""
        self._refresh()
        listed = key in self._keys.values()
        if not listed:
            self._refused.append(key)
        return listed

    def next_refused(self) -> bytes | None:
        """Return the first key, as Z85 text, that was refused and not returned yet."""
        return self._refused.popleft() if self._refused else None

    def name_of(self, key: bytes) -> str | None:
        """Return what the operator calls the device with this key: its file's name."""
        names = (name for name, listed in self._keys.items() if listed == key)
        return next((name.removesuffix(".key") for name in names), None)

    def _refresh(self) -> None:
        try:
            state = _state_of(self._folder)
        except OSError as reason:  # raised further it would end ZeroMQ's thread: nobody gets in
            text = "%s: cannot be listed (%s), so those let in before are; let us read it"
            log.warning(text, self._folder, reason.strerror or reason)
            return
        if state == self._state:
            return
        found: dict[str, bytes] = {}
        unread = set()
        for name, _, _ in state:
            try:
                key = _public_key(self._folder / name)
            except OSError as reason:  # too many open files, say: it is looked at again next time
                unread.add(name)
                key = self._keys.get(name)
                text = "%s: cannot be read now (%s), so it counts as before; let us read it"
                log.warning(text, self._folder / name, reason.strerror or reason)
            if key is not None:
                found[name] = key
        self._keys = found
        self._state = tuple(entry for entry in state if entry[0] not in unread)


def _state_of(folder: Path) -> State:
    """Return what changes when a key file does, its contents or who may read it.

    What cannot be looked at (removed meanwhile, a link to nothing) or is no file is passed over.
    """
    names: list[str] = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        names = sorted(name for name in os.listdir(folder) if name.endswith(".key"))
    found = []
    for name in names:
        with contextlib.suppress(OSError):
            status = (folder / name).stat()
            if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
                continue
            found.append((name, status.st_ctime_ns, status.st_size))
    return tuple(found)


def _public_key(path: Path) -> bytes | None:
    """Return the key in a file; what is none is passed over, so that it keeps nobody else out.

    Raises OSError if there may be one that cannot be read for now.
    """
    try:
        public, _ = zmq.auth.load_certificate(path)
    except (PermissionError, FileNotFoundError) as reason:
        log.warning("%s: cannot be read (%s); let us read it", path, reason.strerror or reason)
        return None
    except (ValueError, zmq.ZMQError) as reason:
        log.warning("%s: is not a key file (%s) and is passed over; copy it again", path, reason)
        return None
    return public
