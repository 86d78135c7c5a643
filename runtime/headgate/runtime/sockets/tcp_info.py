"""What the kernel knows of a connection: TCP_INFO through a duplicate of ZeroMQ's descriptor.

ZeroMQ hides its sockets, but on connecting its monitor names the real descriptor. A duplicate of
it can be asked for TCP_INFO (1 us) and given options; nothing is ever read from it or written to
it. By the time that the event is read the number may belong to something else, so the duplicate is
kept only if it is a TCP socket connected to the peer that was asked for. While a duplicate is open
the peer sees no end of the connection: close it as soon as the connection is over.

All of this is optional. Where the system offers none of it (it is Linux's), there is no duplicate,
and everything works as it does without.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import socket
import stat
import struct
from dataclasses import dataclass

log = logging.getLogger(__name__)

# BBR paces at an estimate of its own, which is stale when frames come in bursts (measured: two
# thirds of the link's rate). The window of cubic follows what is asked of it.
CONGESTION_CONTROL = b"cubic"
# Bytes that the kernel takes ahead of what it may send. Its buffer of 4 MB would hide a queue.
NOT_SENT_LOW_WATER_BYTES = 64 * 1024

_TCP_INFO = getattr(socket, "TCP_INFO", None)
_TCP_CONGESTION = getattr(socket, "TCP_CONGESTION", None)
_TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_READ_BYTES = 256
# Of struct tcp_info (linux/tcp.h), which only ever grows at its end.
_BACKOFF_AT = 4
_APP_LIMITED_AT, _APP_LIMITED_BIT = 7, 0x01
_MSS_AT, _UNACKED_AT, _RTT_AT, _WINDOW_AT = 16, 24, 68, 80
_RETRANSMITTED_AT, _NOT_SENT_AT, _MIN_RTT_AT, _DELIVERY_RATE_AT = 100, 144, 148, 160
_NEEDED_BYTES = 168
_U32, _U64 = struct.Struct("=I"), struct.Struct("=Q")
_ABORT = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """One reading of a connection, as its sender sees it."""

    rtt_s: float  # smoothed
    min_rtt_s: float
    window_bytes: int  # what may be on its way unacknowledged
    unacked_bytes: int  # sent and not acknowledged, to whole segments
    not_sent_bytes: int  # waiting in the kernel
    delivery_bps: float  # the latest; at least so much if `app_limited`
    app_limited: bool
    timeouts: int  # in a row, without an acknowledgement in between: TCP backs off
    num_retransmitted: int  # segments, since the connection began

    @property
    def backs_off(self) -> bool | None:
        """Whether time-out follows time-out; None if nothing is out that could.

        One alone may be a lost tail that its retransmission mends.
        """
        if self.unacked_bytes == 0 and self.not_sent_bytes == 0:
            return None
        return self.timeouts > 1


def parse_tcp_info(raw: bytes) -> TcpInfo | None:
    """Return the reading in a `struct tcp_info`, or None from a kernel too old to fill it."""
    if len(raw) < _NEEDED_BYTES:
        return None

    def u32(at: int) -> int:
        return int(_U32.unpack_from(raw, at)[0])

    segment_bytes = u32(_MSS_AT)
    return TcpInfo(
        rtt_s=u32(_RTT_AT) / 1e6,
        min_rtt_s=u32(_MIN_RTT_AT) / 1e6,
        window_bytes=u32(_WINDOW_AT) * segment_bytes,
        unacked_bytes=u32(_UNACKED_AT) * segment_bytes,
        not_sent_bytes=u32(_NOT_SENT_AT),
        delivery_bps=8.0 * _U64.unpack_from(raw, _DELIVERY_RATE_AT)[0],
        app_limited=bool(raw[_APP_LIMITED_AT] & _APP_LIMITED_BIT),
        timeouts=raw[_BACKOFF_AT],
        num_retransmitted=u32(_RETRANSMITTED_AT),
    )


class ConnectionTap:
    """A duplicate of one connection's descriptor, ours to close."""

    def __init__(self, duplicate: socket.socket) -> None:
        self._duplicate = duplicate

    @classmethod
    def open(cls, descriptor: int, *, endpoint: str) -> ConnectionTap | None:
        """Duplicate a descriptor that ZeroMQ named, or return None if it is not the connection."""
        if _TCP_INFO is None or descriptor < 0:
            return None
        try:
            number = os.dup(descriptor)
        except OSError:
            return None
        duplicate = None
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                duplicate = socket.socket(fileno=number)
                if _is_connected_to(duplicate, endpoint):
                    return cls(duplicate)
        except OSError:  # it was connected when ZeroMQ said so
            pass
        # Once: ZeroMQ's thread may be given the number the moment that it is free.
        if duplicate is None:
            os.close(number)
        else:
            duplicate.close()
        return None

    def tune(self) -> None:
        """Choose the congestion control and what the kernel may hold, as far as it lets us."""
        for option, value in (
            (_TCP_CONGESTION, CONGESTION_CONTROL),
            (_TCP_NOTSENT_LOWAT, NOT_SENT_LOW_WATER_BYTES),
        ):
            if option is None:
                continue
            try:
                self._duplicate.setsockopt(socket.IPPROTO_TCP, option, value)
            except OSError as reason:
                log.debug("tcp option %d stays as it is (%s)", option, reason.strerror)

    def info(self) -> TcpInfo | None:
        """Return what the kernel says now, or None if it does not."""
        if _TCP_INFO is None:
            return None
        try:
            raw = self._duplicate.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _READ_BYTES)
        except OSError:
            return None
        return parse_tcp_info(raw)

    def abort_on_close(self) -> None:
        """Let what the kernel still holds be dropped when ZeroMQ closes the connection.

        It would else go on being sent behind our back, ahead of what is fresh.
        """
        with contextlib.suppress(OSError):
            self._duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)

    def close(self) -> None:
        """Close the duplicate; ZeroMQ's own descriptor is not touched."""
        self._duplicate.close()


def _is_connected_to(duplicate: socket.socket, endpoint: str) -> bool:
    """Return whether the socket is a TCP connection to that address of ZeroMQ's.

    A host name is not looked up: there the port has to do.
    """
    if duplicate.type != socket.SOCK_STREAM or duplicate.family not in (
        socket.AF_INET,
        socket.AF_INET6,
    ):
        return False
    scheme, _, address = endpoint.partition("://")
    host, _, port = address.rpartition(":")
    found_host, found_port = duplicate.getpeername()[:2]
    if scheme != "tcp" or str(found_port) != port:
        return False
    try:
        wanted = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return True
    found = ipaddress.ip_address(found_host.partition("%")[0])
    return found == wanted or getattr(found, "ipv4_mapped", None) == wanted
