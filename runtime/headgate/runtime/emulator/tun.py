"""A TUN device (Linux): the packets that this machine sends to an address come to us instead.

It has an address of this machine and a peer, which nobody has. It needs the right to set up
networks (root, or `unshare -rn` where users may have namespaces), and is gone with its descriptor.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct

from headgate.profiles.errors import UsageError

MTU_BYTES = 1500  # of most links; TCP's segments are 40 bytes shorter
_PATH = "/dev/net/tun"
# From linux/if_tun.h, linux/if.h and linux/sockios.h.
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI, _IFF_UP = 0x0001, 0x1000, 0x1
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCGIFADDR, _SIOCSIFADDR = 0x8913, 0x8914, 0x8915, 0x8916
_SIOCSIFDSTADDR, _SIOCSIFMTU = 0x8918, 0x8922
_NAME_BYTES, _REQUEST_BYTES = 16, 40
_ADDRESS = slice(_NAME_BYTES + 4, _NAME_BYTES + 8)  # of a request's `struct sockaddr_in`


class Tun:
    """An open device. Whole packets are read and written, and neither waits."""

    def __init__(self, address: str, *, peer: str) -> None:
        """Give this machine `address` on a new device that leads to `peer`; both are IPv4.

        Raises UsageError where the machine has no such devices, or does not let us.
        """
        self._descriptor = -1
        try:
            _refuse_taken(address)
            self._descriptor = os.open(_PATH, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            self._set_up(address, peer)
        except OSError as error:
            self.close()
            raise UsageError(
                f"{_PATH}: cannot make a device with the address {address} ({error.strerror}); "
                "packets need Linux and the right to set up networks: be root, start everything "
                "in a shell of `unshare -rn`, or leave --packets out"
            ) from None

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._descriptor

    def read(self) -> bytes | None:
        """Return the next packet that this machine sends, or None."""
        try:
            return os.read(self._descriptor, MTU_BYTES)
        except BlockingIOError:
            return None

    def write(self, packet: bytes) -> None:
        """Let a packet come in. What the kernel does not take is lost, as on any link."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, packet)

    def close(self) -> None:
        """Remove the device; harmless if it is gone."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _set_up(self, address: str, peer: str) -> None:
        request = struct.pack("16sH22x", b"", _IFF_TUN | _IFF_NO_PI)
        name = fcntl.ioctl(self._descriptor, _TUNSETIFF, request)[:_NAME_BYTES]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:

            def ask(what: int, value: bytes = b"") -> bytes:
                request = (name + value).ljust(_REQUEST_BYTES, b"\0")
                return fcntl.ioctl(sock.fileno(), what, request)

            ask(_SIOCSIFADDR, _socket_address(address))
            ask(_SIOCSIFDSTADDR, _socket_address(peer))
            ask(_SIOCSIFMTU, struct.pack("i", MTU_BYTES))
            (flags,) = struct.unpack_from("h", ask(_SIOCGIFFLAGS), _NAME_BYTES)
            ask(_SIOCSIFFLAGS, struct.pack("h", flags | _IFF_UP))


def _socket_address(address: str) -> bytes:
    """Return an IPv4 address as a `struct sockaddr_in` without a port."""
    return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))


def device_with(address: str) -> str | None:
    """Return the name of this machine's device that has an IPv4 address, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            request = name.encode().ljust(_REQUEST_BYTES, b"\0")
            try:
                found = fcntl.ioctl(sock.fileno(), _SIOCGIFADDR, request)
            except OSError:  # it has none
                continue
            if found[_ADDRESS] == socket.inet_aton(address):
                return name
    return None


def _refuse_taken(address: str) -> None:
    name = device_with(address)
    if name is not None:
        raise UsageError(
            f"{address} is the address of {name} on this machine, perhaps of another link of "
            "packets; give this one addresses of its own, as in --listen tcp://198.18.1.2:7700 "
            "--to tcp://198.18.1.1:7700"
        )
