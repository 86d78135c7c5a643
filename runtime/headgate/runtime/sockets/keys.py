"""CURVE keys: who may talk to whom, and when keys are required at all.

A keys folder holds one side's own pair and the public keys it trusts, in ZeroMQ's certificate form:

    the edge's      edge.key_secret  edge.key  devices/NAME.key ...   (the allow-list)
    a device's      device.key_secret  device.key  edge.key

A CURVE server without an authenticator accepts any client key (measured), so the edge always
starts one, with the explicit folder of admitted keys. Beyond loopback keys are required unless the
operator says `--insecure`.
"""

import contextlib
import ipaddress
import logging
import os
import re
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85

from headgate.profiles.errors import UsageError
from headgate.profiles.storage import naming
from headgate.runtime.sockets.allow_list import AllowList

log = logging.getLogger(__name__)

Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]

EDGE_NAME = "edge"
DEVICE_NAME = "device"
DEVICES_FOLDER = "devices"
_A = {EDGE_NAME: "an edge", DEVICE_NAME: "a device"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """One side's own keys, Z85 text."""

    public: bytes
    secret: bytes


@dataclass(frozen=True, slots=True)
class DeviceKeys:
    """What a device needs: its own pair, and the edge it trusts."""

    own: KeyPair
    edge_public: bytes


@dataclass(frozen=True, slots=True)
class EdgeKeys:
    """What an edge needs: its own pair, and the folder of devices it admits."""

    own: KeyPair
    devices: Path


def write_pair(folder: Path, name: str) -> KeyPair:
    """Create a pair `name` in `folder`; never overwrites one, because devices trust it."""
    secret_path = folder / f"{name}.key_secret"
    if secret_path.exists():
        raise UsageError(f"{secret_path}: is there already; remove it to make new keys")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        public, secret = zmq.curve_keypair()
        pair = KeyPair(public, secret)
        _write(secret_path, _certificate(pair.public, pair.secret), mode=0o600)
        _write(folder / f"{name}.key", _certificate(pair.public), mode=0o644)
    except OSError as reason:
        with contextlib.suppress(OSError):  # without the public one it only stands in the way
            secret_path.unlink()
        raise UsageError(
            f"{folder}: cannot write keys ({reason.strerror}); choose another folder"
        ) from None
    return pair


def write_public(folder: Path, name: str, public: bytes) -> None:
    """Write a public key that `folder`'s owner will trust."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / f"{name}.key", _certificate(public), mode=0o644)


def check_name(name: str) -> str:
    """Return `name` if it can name a device and a file, or raise UsageError."""
    if _NAME.fullmatch(name) is None or name == EDGE_NAME:
        raise UsageError(f"--name: {name!r} must be letters, digits, '.', '_' and '-', not 'edge'")
    return name


def make_set(folder: Path, *, device: str) -> tuple[Path, Path]:
    """Make (or complete) an edge folder and one device folder that trust each other.

    Returns both, ready for `--keys`. A second call with another name admits a second device. The
    edge's key in the device's folder comes last: without it a kill or a full disk came before.
    """
    edge, own = folder / EDGE_NAME, folder / check_name(device)
    has_pair = (own / f"{DEVICE_NAME}.key_secret").exists()
    if has_pair and (own / f"{EDGE_NAME}.key").exists():
        raise UsageError(f"{own}: has keys already; choose another --name")
    if not (edge / f"{EDGE_NAME}.key_secret").exists():
        write_pair(edge, EDGE_NAME)
    edge_pair = _read_pair(edge, EDGE_NAME)
    pair = _read_pair(own, DEVICE_NAME) if has_pair else write_pair(own, DEVICE_NAME)
    write_public(edge / DEVICES_FOLDER, device, pair.public)
    write_public(own, EDGE_NAME, edge_pair.public)
    return edge, own


def load_device_keys(folder: Path) -> DeviceKeys:
    """Read a device's keys folder, or raise UsageError saying which file is missing or bad."""
    own = _read_pair(folder, DEVICE_NAME)
    edge_public, _ = _load(folder / f"{EDGE_NAME}.key", remedy="copy it from the edge's folder")
    return DeviceKeys(own, edge_public)


def load_edge_keys(folder: Path) -> EdgeKeys:
    """Read an edge's keys folder, or raise UsageError saying which file is missing or bad."""
    own = _read_pair(folder, EDGE_NAME)
    devices = folder / DEVICES_FOLDER
    if not devices.is_dir():
        raise UsageError(
            f"{devices}: no such folder; put the public keys of admitted devices there"
        )
    for path in sorted(devices.glob("*.key")):
        _load(path, remedy="remove it or copy the device's .key file again")
    return EdgeKeys(own, devices)


def secure_client(client: Socket, keys: DeviceKeys) -> None:
    """Make a connecting socket prove itself, and refuse any edge but the trusted one."""
    client.curve_publickey = keys.own.public
    client.curve_secretkey = keys.own.secret
    client.curve_serverkey = keys.edge_public


def secure_server(server: Socket, own: KeyPair) -> None:
    """Make a binding socket ask for keys; only useful while an `Authenticator` runs."""
    server.curve_publickey = own.public
    server.curve_secretkey = own.secret
    server.curve_server = True


class Authenticator:
    """Admits the devices whose public keys lie in a folder, for every CURVE socket of a context."""

    def __init__(self, context: Context, devices: Path) -> None:
        self._thread: Any = ThreadAuthenticator(context, log=logging.getLogger("headgate.keys"))
        self._thread.start()
        self._admitted = AllowList(devices)
        self._thread.configure_curve_callback("*", credentials_provider=self._admitted)

    def name_of(self, key: str) -> str | None:
        """Return the name of the device that has this public key (Z85 text), if it is listed."""
        return self._admitted.name_of(key.encode("ascii", "replace"))

    def next_refused(self) -> str | None:
        """Return the first public key (Z85 text) that was refused and not returned yet."""
        key = self._admitted.next_refused()
        return None if key is None else key.decode("ascii", "replace")

    def close(self) -> None:
        self._thread.stop()


def is_local(endpoint: str) -> bool:
    """Say whether an endpoint cannot be reached from another machine.

    A host name counts by what it resolves to: all of its addresses must be loopback.
    """
    transport, _, place = endpoint.partition("://")
    if transport in ("ipc", "inproc"):
        return True
    host = place.rpartition(":")[0].strip("[]")
    try:
        found = socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return False  # `*`, an interface's name, or a name that does not resolve
    addresses = {str(item[4][0]).partition("%")[0] for item in found}
    return bool(addresses) and all(ipaddress.ip_address(each).is_loopback for each in addresses)


def check_exposure(endpoint: str, *, option: str, has_keys: bool, insecure: bool) -> None:
    """Raise UsageError if `endpoint` leaves this machine without keys and nobody said it may."""
    if has_keys or insecure or is_local(endpoint):
        return
    raise UsageError(
        f"{option}: {endpoint} is not loopback and there are no keys; "
        "make keys with `headgate keygen` and pass --keys, or say --insecure"
    )


def check_endpoint(endpoint: str, *, option: str) -> str:
    """Return a well-formed ZeroMQ endpoint, or raise UsageError."""
    transport, _, place = endpoint.partition("://")
    host, _, port = place.rpartition(":")
    good = transport == "ipc" and bool(place)
    if transport == "tcp" and host:
        good = port == "*" or (port.isdecimal() and len(port) <= 5 and int(port) < 1 << 16)
    if not good:
        raise UsageError(f"{option}: {endpoint!r} is not tcp://HOST:PORT or ipc://PATH")
    return endpoint


def _read_pair(folder: Path, name: str) -> KeyPair:
    path = folder / f"{name}.key_secret"
    public, secret = _load(path, remedy=_remedy(folder, name))
    if secret is None:
        raise UsageError(f"{path}: holds no secret key; make keys with `headgate keygen`")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise UsageError(f"{path}: others may read it (mode {mode:o}, expected 600); chmod 600 it")
    return KeyPair(public, secret)


def _remedy(folder: Path, name: str) -> str:
    """Say what to do about a folder without our secret key: often the right one is beside it."""
    other = DEVICE_NAME if name == EDGE_NAME else EDGE_NAME
    if (folder / f"{other}.key_secret").is_file():
        return f"this is the folder of {_A[other]}, give that of {_A[name]}"
    inside = sorted(path.parent for path in folder.glob(f"*/{name}.key_secret"))
    if inside:
        return f"give the folder of one side, {' or '.join(map(str, inside[:3]))}"
    return "make keys with `headgate keygen`"


def _load(path: Path, *, remedy: str) -> tuple[bytes, bytes | None]:
    if not path.is_file():
        raise UsageError(f"{path}: no such key file; {remedy}")
    try:
        public, secret = zmq.auth.load_certificate(path)
        derived = zmq.curve_public(secret) if secret else public
        z85.decode(public)
    except (ValueError, KeyError, OSError, zmq.ZMQError) as reason:
        raise UsageError(f"{path}: is not a key file ({reason}); {remedy}") from None
    if len(public) != 40:
        raise UsageError(f"{path}: public key has {len(public)} characters, expected 40; {remedy}")
    if derived != public:
        raise UsageError(f"{path}: its public key is not that of its secret key; {remedy}")
    return public, secret


def _certificate(public: bytes, secret: bytes | None = None) -> str:
    kind = "SECRET key pair: never share" if secret else "public key: may be shared"
    lines = [
        f"# Headgate CURVE {kind}",
        "metadata",
        "curve",
        f'    public-key = "{public.decode()}"',
    ]
    if secret:
        lines.append(f'    secret-key = "{secret.decode()}"')
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str, *, mode: int) -> None:
    """Create the file with its mode from the start: a secret is never readable, even briefly.

    A full disk leaves no part of it: the next call would take that for keys, and make none.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with naming(path), os.fdopen(descriptor, "w", encoding="ascii") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
    except OSError:
        path.unlink(missing_ok=True)
        raise
