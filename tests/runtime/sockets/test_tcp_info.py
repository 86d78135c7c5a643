"""Duplicates of descriptors: of the right connection only, and what the kernel says there."""

import os
import socket
import struct
import sys
import warnings
from collections.abc import Iterator

import pytest

from headgate.runtime.sockets.tcp_info import ConnectionTap, TcpInfo, parse_tcp_info

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is read on Linux only")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP connection over loopback: the side that connected, the side that accepted."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname()[:2])
        far, _ = server.accept()
    with near, far:
        yield near, far


def endpoint_of(near: socket.socket) -> str:
    host, port = near.getpeername()
    return f"tcp://{host}:{port}"


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@linux_only
def test_a_connection_that_is_gone_by_then_is_closed_once() -> None:
    """Twice might be once too often: ZeroMQ's thread may have the number by then."""
    with socket.socket() as gone, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert ConnectionTap.open(gone.fileno(), endpoint="tcp://127.0.0.1:9") is None
        assert caught == []  # of a socket that nobody closed, though its number was


def test_fields_are_read_where_linux_has_them() -> None:
    raw = bytearray(232)
    for at, value in ((16, 1448), (24, 7), (68, 21_000), (80, 10), (100, 3), (144, 999)):
        struct.pack_into("=I", raw, at, value)
    struct.pack_into("=I", raw, 148, 20_000)
    struct.pack_into("=Q", raw, 160, 125_000)
    raw[4], raw[7] = 2, 1
    info = parse_tcp_info(bytes(raw))
    assert info == TcpInfo(
        rtt_s=0.021,
        min_rtt_s=0.02,
        window_bytes=14_480,
        unacked_bytes=7 * 1448,
        not_sent_bytes=999,
        delivery_bps=1e6,
        app_limited=True,
        timeouts=2,
        num_retransmitted=3,
    )
    assert info.backs_off


@pytest.mark.parametrize(("unacked", "timeouts", "expected"), [(0, 0, None), (5, 0, False)])
def test_a_connection_with_nothing_out_cannot_tell_whether_it_stalls(
    unacked: int, timeouts: int, expected: bool | None
) -> None:
    info = TcpInfo(0.02, 0.02, 14_480, unacked, 0, 1e6, False, timeouts, 0)
    assert info.backs_off is expected


@pytest.mark.parametrize("num_bytes", [0, 104, 167])
def test_an_old_kernels_short_reading_is_none(num_bytes: int) -> None:
    assert parse_tcp_info(bytes(num_bytes)) is None


@linux_only
def test_the_kernel_tells_of_the_connection(pair: tuple[socket.socket, socket.socket]) -> None:
    near, _ = pair
    tap = ConnectionTap.open(near.fileno(), endpoint=endpoint_of(near))
    assert tap is not None
    near.sendall(b"x" * 1000)
    info = tap.info()
    tap.close()
    assert info is not None
    assert info.window_bytes > 0
    assert info.timeouts == 0


@linux_only
def test_a_name_is_not_looked_up(pair: tuple[socket.socket, socket.socket]) -> None:
    near, _ = pair
    port = near.getpeername()[1]
    tap = ConnectionTap.open(near.fileno(), endpoint=f"tcp://edge.example:{port}")
    assert tap is not None
    tap.close()


@linux_only
def test_what_is_not_the_connection_is_not_kept(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    num_open = open_descriptors()
    endpoint = endpoint_of(near)
    assert ConnectionTap.open(-1, endpoint=endpoint) is None
    assert ConnectionTap.open(10_000, endpoint=endpoint) is None
    assert ConnectionTap.open(far.fileno(), endpoint=endpoint) is None  # another's peer
    assert ConnectionTap.open(near.fileno(), endpoint="tcp://192.0.2.7:7700") is None
    port = near.getpeername()[1]
    assert ConnectionTap.open(near.fileno(), endpoint=f"tcp://192.0.2.7:{port}") is None
    read, write = os.pipe()
    assert ConnectionTap.open(read, endpoint=endpoint) is None
    os.close(read)
    os.close(write)
    with socket.socket() as unconnected, socket.socketpair()[0] as unix:
        assert ConnectionTap.open(unconnected.fileno(), endpoint=endpoint) is None
        assert ConnectionTap.open(unix.fileno(), endpoint=endpoint) is None
    assert open_descriptors() == num_open


@linux_only
def test_options_are_set_and_a_refusal_is_no_error(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    near, _ = pair
    tap = ConnectionTap.open(near.fileno(), endpoint=endpoint_of(near))
    assert tap is not None
    monkeypatch.setattr("headgate.runtime.sockets.tcp_info.CONGESTION_CONTROL", b"no-such")
    tap.tune()
    low_water = near.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
    assert low_water == 64 * 1024
    tap.close()


@linux_only
def test_closing_the_duplicate_leaves_the_connection_and_ends_our_hold_on_it(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, far = pair
    tap = ConnectionTap.open(near.fileno(), endpoint=endpoint_of(near))
    assert tap is not None
    tap.close()
    assert tap.info() is None
    near.sendall(b"still there")
    assert far.recv(100) == b"still there"
    near.close()
    assert far.recv(100) == b""  # the end is seen: nobody holds the connection


@linux_only
def test_an_abandoned_connection_is_reset_when_it_is_closed(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, far = pair
    tap = ConnectionTap.open(near.fileno(), endpoint=endpoint_of(near))
    assert tap is not None
    tap.abort_on_close()
    tap.close()
    near.close()
    with pytest.raises(ConnectionResetError):
        far.recv(100)
