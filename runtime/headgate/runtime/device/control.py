"""The control socket of a running device: show its state, switch its profile, both ends.

One JSON object asks, one answers (REQ to ROUTER). Requests are `{"command": "show"}` and
`{"command": "set", "profile": {...}}`; an answer has either `error` or the fields of `State`.
The profile itself travels, not its name: a file of the operator's need not exist on the device.

By default a device listens on an ipc address of its own in a folder that only its user can enter.
Over TCP the rules of every other socket hold: beyond loopback only with keys, and then whoever
holds a key pair that the device's keys folder names (the device's own, or the edge's) is admitted.
"""

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from headgate.profiles.errors import HeadgateError, PeerError, ProfileError, UsageError
from headgate.profiles.parse import parse, unparse
from headgate.profiles.profile import Profile, profile_from_json
from headgate.runtime.sockets import keys as key_files
from headgate.runtime.sockets.keys import Context, Socket
from headgate.runtime.sockets.listening import IPC, is_heard, listen

MAX_REQUEST_BYTES = 1 << 16
ANSWER_TIMEOUT_S = 5.0  # a busy device answers between two of its turns


@dataclass(frozen=True, slots=True)
class State:
    """What a device says about itself. `from_frame` is where its profile took effect."""

    profile: Profile
    from_frame: int
    next_frame: int
    points: tuple[str, ...]
    has_edge: bool
    family: str  # digest


def runtime_folder() -> Path:
    """Return this user's folder for control sockets; made on demand, closed to others."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if not base or not Path(base).is_dir():
        try:
            base = tempfile.gettempdir()
        except FileNotFoundError:  # all of them are missing, full or read-only
            raise UsageError(
                "no folder can hold a control socket (/tmp is missing, full or read-only); set "
                "XDG_RUNTIME_DIR to one that can, or give an address (device: --control, "
                "profile: --device)"
            ) from None
    return Path(base) / f"headgate-{os.getuid()}"


def default_address() -> str:
    """Return the control address of this process."""
    folder = runtime_folder()
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    _check_own(folder, option="--control")
    return f"ipc://{folder}/device-{os.getpid()}.ipc"


def find_device() -> str:
    """Return the control address of the one device of this user that runs on this machine.

    Raises PeerError if there is none, and UsageError naming them if there are several, or if others
    may have put them there.
    """
    folder = runtime_folder()
    if os.path.lexists(folder):
        _check_own(folder, option="--device")
    alive = [path for path in sorted(folder.glob("device-*.ipc")) if is_heard(path)]
    if not alive:
        raise PeerError("no running device found on this machine; start one, or pass --device")
    if len(alive) > 1:
        names = ", ".join(f"ipc://{path}" for path in alive)
        raise UsageError(f"--device: several devices run here, choose one of {names}")
    return f"ipc://{alive[0]}"


def _check_own(folder: Path, *, option: str) -> None:
    """Raise UsageError unless a folder is this user's alone.

    In a folder that all may write to, as /tmp, another user may have made it first, or a link.
    """
    found = folder.lstat()
    private = found.st_uid == os.getuid() and not found.st_mode & 0o077
    if not (stat.S_ISDIR(found.st_mode) and private):
        raise UsageError(
            f"{folder}: is not a folder of this user alone; remove it or pass {option}"
        )


class ControlServer:
    """The device's end; its socket belongs in the device's poller."""

    def __init__(
        self, context: Context, address: str, *, own: key_files.KeyPair | None = None
    ) -> None:
        # No REP: after a request without an envelope, from a peer that is gone again, libzmq 4.3.5
        # sends the answer to the next request nowhere.
        self.socket: Socket = context.socket(zmq.ROUTER)
        self.socket.linger = 200
        self.socket.maxmsgsize = MAX_REQUEST_BYTES
        if own is not None and not address.startswith("ipc://"):
            key_files.secure_server(self.socket, own)
        try:
            listen(self.socket, address, option="--control")
        except UsageError:
            self.socket.close(0)
            raise
        self.address: str = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def answer(self, *, show: Callable[[], State], switch: Callable[[Profile], State]) -> None:
        """Take one waiting request and answer it; what is wrong with it goes back as `error`."""
        try:
            parts = self.socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
        if b"" not in parts[1:]:  # no REQ sent that, so nobody waits for an answer
            return
        end = parts.index(b"", 1) + 1
        try:
            request = _request_from_bytes(parts[end:])
            state = show() if request is None else switch(request)
            answer = unparse(state)
        except HeadgateError as reason:
            answer = {"error": str(reason)}
        # Whoever asked may be gone: then this goes nowhere.
        self.socket.send_multipart([*parts[:end], json.dumps(answer).encode()])

    def close(self) -> None:
        self.socket.close()
        if self.address.startswith(IPC):
            Path(self.address.removeprefix(IPC)).unlink(missing_ok=True)


def ask_device(
    address: str,
    *,
    profile: Profile | None = None,
    keys: key_files.DeviceKeys | None = None,
    timeout_s: float = ANSWER_TIMEOUT_S,
) -> State:
    """Switch a device's profile, or only ask for its state (None); returns the state after.

    Raises PeerError if no device answers, and ProfileError if it will not take the profile.
    """
    request: dict[str, Any] = {"command": "show"}
    if profile is not None:
        request = {"command": "set", "profile": unparse(profile)}
    data = json.dumps(request).encode()
    if len(data) > MAX_REQUEST_BYTES:  # a device drops whoever sends it
        raise ProfileError(
            f"profile: is {len(data)} bytes long, a device takes at most {MAX_REQUEST_BYTES}; "
            "shorten its points and its description"
        )
    context: Context = zmq.Context()
    asker: Socket = context.socket(zmq.REQ)
    asker.linger = 0
    try:
        if keys is not None and not address.startswith("ipc://"):
            own = key_files.DeviceKeys(keys.own, edge_public=keys.own.public)
            key_files.secure_client(asker, own)
        asker.connect(address)
        asker.send(data)
        if not asker.poll(int(1000 * timeout_s)):
            unsure = "" if profile is None else " (if it is only busy it may switch later)"
            raise PeerError(
                f"{address}: no device answered within {timeout_s:g} s{unsure}; "
                "check that it runs, its --control address and --keys"
            )
        return _state_from_bytes(asker.recv(), address)
    except zmq.ZMQError as reason:
        raise UsageError(f"--device {address}: cannot connect ({reason})") from None
    finally:
        asker.close(0)
        context.term()


def _request_from_bytes(parts: list[bytes]) -> Profile | None:
    """Return the profile to switch to, or None for a request that only asks."""
    try:
        request = json.loads(parts[0]) if len(parts) == 1 else None
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict) or request.keys() - {"command", "profile"}:
        raise UsageError("control: expected one JSON object with command and profile")
    command = request.get("command")
    if command == "show":
        return None
    if command == "set":
        return profile_from_json(request.get("profile"), where="control.profile")
    raise UsageError(f"control: command {command!r} is not one of show, set")


def _state_from_bytes(data: bytes, address: str) -> State:
    try:
        value = json.loads(data)
    except ValueError:
        raise PeerError(f"{address}: answered something else than JSON; is it a device?") from None
    if isinstance(value, dict) and isinstance(value.get("error"), str):
        raise ProfileError(f"{address}: {value['error']}")
    return parse(State, value, where=address, error=PeerError)
