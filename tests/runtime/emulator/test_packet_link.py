"""A link of packets under the kernel's own TCP. Needs Linux and the right to set up networks."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from headgate.profiles.errors import UsageError
from headgate.profiles.trace import Trace
from headgate.runtime.emulator.link_thread import Address, LinkPlan
from headgate.runtime.emulator.packet_link import PacketLink, exchanged, free_addresses, tcp_ports
from headgate.runtime.emulator.shaper import Window
from headgate.runtime.emulator.tun import Tun, device_with
from runtime.packets import needs_packets

PATIENCE_S = 20.0


def steady(mbps: float, *, duration_s: float = 60.0) -> Trace:
    return Trace("steady", times_s=(0.0,), rates_bps=(mbps * 1e6,), duration_s=duration_s)


@contextlib.contextmanager
def echoing(plan: LinkPlan, *, loss: float = 0.0) -> Iterator[PacketLink]:
    """Run a link of packets in front of a server that echoes."""
    listen, to = free_addresses()
    with PacketLink(listen=listen, to=to, plan=plan, loss=loss) as link:
        server = socket.create_server(to)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    conn, _ = server.accept()
                    threading.Thread(target=echo, args=(conn,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield link
        finally:
            server.shutdown(socket.SHUT_RDWR)  # or `accept` goes on for ever
            server.close()


def echo(conn: socket.socket) -> None:
    with conn, contextlib.suppress(OSError):
        while data := conn.recv(65536):
            conn.sendall(data)


def connect(link: PacketLink) -> socket.socket:
    return socket.create_connection(link.address, timeout=PATIENCE_S)


def there_and_back(conn: socket.socket, sent: bytes) -> bytes:
    threading.Thread(target=conn.sendall, args=(sent,), daemon=True).start()
    data = b""
    while len(data) < len(sent) and (more := conn.recv(len(sent) - len(data))):
        data += more
    return data


@needs_packets
def test_bytes_pass_unchanged_and_packets_are_counted() -> None:
    sent = bytes(range(256)) * 300
    with echoing(LinkPlan(None)) as link, connect(link) as conn:
        assert there_and_back(conn, sent) == sent
        assert link.endpoint == "tcp://{}:{}".format(*link.address)
        assert link.started_s is not None
        for queue in (link.uplink, link.downlink):
            assert queue.counts.delivered > len(sent) // 1460
            assert queue.counts.lost == queue.counts.overflowed == 0


@needs_packets
def test_the_rate_is_that_of_the_trace_headers_included() -> None:
    # Loose, since the machine may be busy: the exact arithmetic is tested in virtual time.
    with echoing(LinkPlan(steady(4.0))) as link, connect(link) as conn:
        start_s = time.monotonic()
        there_and_back(conn, bytes(150_000))
        took_s = time.monotonic() - start_s
    assert took_s >= 0.3  # at 4 Mbit/s, for the bytes alone


@needs_packets
def test_tcp_mends_what_the_link_loses_and_drops() -> None:
    sent = bytes(range(256)) * 1600
    plan = LinkPlan(steady(20.0), queue_bytes=15_000)
    with echoing(plan, loss=0.02) as link, connect(link) as conn:
        assert there_and_back(conn, sent) == sent
        assert link.uplink.counts.lost > 0
        assert link.uplink.counts.overflowed > 0


@needs_packets
def test_a_cut_loses_packets_and_connections_live_on() -> None:
    plan = LinkPlan(None, cuts=(Window(start_s=0.2, duration_s=0.3),))
    with echoing(plan) as link, connect(link) as conn:
        assert there_and_back(conn, b"before") == b"before"
        assert link.started_s is not None
        time.sleep(max(0.0, link.started_s + 0.25 - time.monotonic()))
        assert there_and_back(conn, b"in it") == b"in it"
        assert time.monotonic() - link.started_s >= 0.5
        assert link.uplink.counts.lost > 0


@needs_packets
def test_a_link_ends_with_its_trace_if_it_shall() -> None:
    plan = LinkPlan(steady(8.0, duration_s=0.1), loop=False)
    with echoing(plan) as link, connect(link):
        assert link.wait(PATIENCE_S)
    assert device_with(link.to.split("/")[2].split(":")[0]) is None  # its address is gone with it


@needs_packets
def test_an_address_that_the_machine_has_is_refused() -> None:
    listen, to = free_addresses()
    plan = LinkPlan(None)
    with (
        PacketLink(listen=listen, to=to, plan=plan),
        pytest.raises(
            UsageError, match=r"is the address of tun.*give this one addresses of its own"
        ),
    ):
        PacketLink(listen=listen, to=to, plan=plan)


@pytest.mark.parametrize(
    ("listen", "to"),
    [
        (("127.0.0.1", 7700), ("198.18.0.1", 7700)),
        (("198.18.0.2", 7700), ("0.0.0.0", 7700)),
        (("198.18.0.2", 7701), ("198.18.0.1", 7700)),
        (("198.18.0.1", 7700), ("198.18.0.1", 7700)),
        (("::1", 7700), ("198.18.0.1", 7700)),
        (("edge.example", 7700), ("198.18.0.1", 7700)),
    ],
)
def test_addresses_that_cannot_be_are_refused_with_an_example(listen: Address, to: Address) -> None:
    with pytest.raises(UsageError, match=r"as in --listen tcp://198\.18\.0\.2:7700 --to"):
        PacketLink(listen=listen, to=to, plan=LinkPlan(None))


def test_where_no_device_can_be_made_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, flags: int) -> int:
        raise PermissionError(1, "Operation not permitted", path)

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(UsageError, match=r"Operation not permitted.*unshare -rn"):
        Tun("198.19.255.1", peer="198.19.255.2")


def segment(source: str, destination: str, *, options: bytes = b"") -> bytes:
    """Return an IPv4 packet with the first bytes of a TCP segment from port 1234 to 7700."""
    header = struct.pack(
        ">BBHHHBBH4s4s",
        *(0x45 + len(options) // 4, 0, 40, 0, 0, 64, socket.IPPROTO_TCP, 0),
        *(socket.inet_aton(source), socket.inet_aton(destination)),
    )
    return header + options + struct.pack(">HH", 1234, 7700) + bytes(16)


def test_ports_are_read_behind_the_options_of_ip() -> None:
    assert tcp_ports(segment("10.0.0.1", "10.0.0.2")) == (1234, 7700)
    assert tcp_ports(segment("10.0.0.1", "10.0.0.2", options=bytes(8))) == (1234, 7700)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        bytes(60),
        bytes([0x60]) + bytes(60),  # IPv6
        segment("10.0.0.1", "10.0.0.2")[:9] + b"\x11" + segment("10.0.0.1", "10.0.0.2")[10:],
        segment("10.0.0.1", "10.0.0.2")[:22],
        bytes([0x4F]) + segment("10.0.0.1", "10.0.0.2")[1:],  # a header longer than the packet
    ],
)
def test_packets_that_are_no_tcp_have_no_ports(packet: bytes) -> None:
    assert tcp_ports(packet) is None


def test_a_packet_goes_back_with_its_addresses_exchanged() -> None:
    assert exchanged(segment("10.0.0.1", "10.0.0.2")) == segment("10.0.0.2", "10.0.0.1")
