"""The relay over real sockets; the times themselves are tested in test_shaper, in virtual time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from headgate.profiles.errors import UsageError
from headgate.profiles.trace import Trace
from headgate.runtime.emulator.link_thread import LinkPlan
from headgate.runtime.emulator.relay import Relay
from headgate.runtime.emulator.relay_connections import MAX_CONNECTIONS
from headgate.runtime.emulator.shaper import Window

LOOPBACK = ("127.0.0.1", 0)
PATIENCE_S = 10.0


def steady(mbps: float, *, duration_s: float = 60.0) -> Trace:
    return Trace("steady", times_s=(0.0,), rates_bps=(mbps * 1e6,), duration_s=duration_s)


@contextlib.contextmanager
def listening(handle: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """Serve every connection with `handle` in a thread; yield the address."""
    server = socket.create_server(LOOPBACK)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                conn, _ = server.accept()
                threading.Thread(target=guarded, args=(conn,), daemon=True).start()

    def guarded(conn: socket.socket) -> None:
        with conn, contextlib.suppress(OSError):
            handle(conn)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield server.getsockname()[:2]
    finally:
        server.close()


@contextlib.contextmanager
def linked(plan: LinkPlan, *, handle: Callable[[socket.socket], None]) -> Iterator[Relay]:
    """Run a relay in front of a server."""
    with listening(handle) as to, Relay(listen=LOOPBACK, to=to, plan=plan) as relay:
        yield relay


def echo(conn: socket.socket) -> None:
    while data := conn.recv(65536):
        conn.sendall(data)


def connect(relay: Relay) -> socket.socket:
    return socket.create_connection(relay.address, timeout=PATIENCE_S)


def receive(conn: socket.socket, num_bytes: int) -> bytes:
    data = b""
    while len(data) < num_bytes and (more := conn.recv(num_bytes - len(data))):
        data += more
    return data


def test_bytes_pass_unchanged_in_both_directions() -> None:
    sent = bytes(range(256)) * 300
    with linked(LinkPlan(None), handle=echo) as relay, connect(relay) as conn:
        threading.Thread(target=conn.sendall, args=(sent,), daemon=True).start()
        assert receive(conn, len(sent)) == sent


def test_the_rate_is_that_of_the_trace() -> None:
    # Loose, since the machine may be busy: the exact arithmetic is tested in virtual time.
    with linked(LinkPlan(steady(4.0)), handle=echo) as relay, connect(relay) as conn:
        start_s = time.monotonic()
        conn.sendall(bytes(150_000))
        receive(conn, 150_000)
        took_s = time.monotonic() - start_s
    assert took_s >= 0.29  # 0.3 s at 4 Mbit/s; never faster than the trace


def test_a_sender_is_stopped_when_the_queue_is_full() -> None:
    with linked(LinkPlan(steady(0.008)), handle=echo) as relay, connect(relay) as conn:
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
        conn.settimeout(0.3)
        with pytest.raises(TimeoutError):
            conn.sendall(bytes(2_000_000))


def test_the_end_of_a_stream_reaches_the_other_side() -> None:
    got: list[bytes] = []
    done = threading.Event()

    def read_all(conn: socket.socket) -> None:
        while data := conn.recv(65536):
            got.append(data)
        conn.sendall(b"bye")
        done.set()

    with linked(LinkPlan(None), handle=read_all) as relay, connect(relay) as conn:
        conn.sendall(b"hello")
        conn.shutdown(socket.SHUT_WR)
        assert done.wait(PATIENCE_S)
        assert receive(conn, 10) == b"bye"
    assert b"".join(got) == b"hello"


def test_a_cut_closes_connections_and_refuses_new_ones_until_it_ends() -> None:
    plan = LinkPlan(None, cuts=(Window(start_s=0.05, duration_s=0.5),))
    with linked(plan, handle=echo) as relay:
        with contextlib.suppress(ConnectionError), connect(relay) as conn:
            assert conn.recv(1) == b""
        with pytest.raises(OSError):
            connect(relay)
        give_up_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up_s:
            with contextlib.suppress(OSError), connect(relay) as conn:
                conn.sendall(b"back")
                assert receive(conn, 4) == b"back"
                return
    pytest.fail("the link never came back")


def test_a_link_that_does_not_loop_closes_at_the_end_of_its_trace() -> None:
    plan = LinkPlan(steady(8.0, duration_s=0.1), loop=False)
    with linked(plan, handle=echo) as relay:
        with connect(relay) as conn:
            assert conn.recv(1) == b""
        assert relay.wait(PATIENCE_S)


def test_a_far_side_that_is_not_there_closes_the_connection_and_the_relay_lives() -> None:
    with socket.create_server(LOOPBACK) as taken:
        to = taken.getsockname()[:2]
    with Relay(listen=LOOPBACK, to=to, plan=LinkPlan(None)) as relay:
        for _ in range(2):
            with contextlib.suppress(ConnectionError), connect(relay) as conn:
                assert conn.recv(1) == b""


def test_a_far_side_that_is_down_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with socket.create_server(LOOPBACK) as taken:
        to = taken.getsockname()[:2]
    with Relay(listen=LOOPBACK, to=to, plan=LinkPlan(None)) as relay:
        for _ in range(30):
            with contextlib.suppress(ConnectionError), connect(relay) as conn:
                assert conn.recv(1) == b""
    failed = [each for each in caplog.messages if "connection failed" in each]
    assert 1 <= len(failed) < 10
    assert len(caplog.messages) < 20  # of twice 30 events


def test_connections_beyond_the_limit_are_closed_and_those_before_go_on() -> None:
    with linked(LinkPlan(None), handle=echo) as relay, contextlib.ExitStack() as stack:
        conns = [stack.enter_context(connect(relay)) for _ in range(MAX_CONNECTIONS)]
        for conn in conns:
            conn.sendall(b"x")
            assert receive(conn, 1) == b"x"
        with connect(relay) as refused:
            assert refused.recv(1) == b""
        conns[0].sendall(b"y")
        assert receive(conns[0], 1) == b"y"
        conns[-1].close()
        assert exchanged(relay, b"z")


def exchanged(relay: Relay, data: bytes) -> bool:
    """Return whether a new connection passes `data` there and back, within PATIENCE_S."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        with contextlib.suppress(OSError), connect(relay) as conn:
            conn.sendall(data)
            if receive(conn, len(data)) == data:
                return True
    return False


def test_the_clock_of_the_trace_starts_with_the_first_connection() -> None:
    with linked(LinkPlan(None), handle=echo) as relay:
        assert relay.started_s is None
        with connect(relay) as conn:
            conn.sendall(b"x")
            receive(conn, 1)
        assert relay.started_s is not None
        assert relay.started_s <= time.monotonic()


def test_a_port_that_is_taken_is_refused_with_a_sentence() -> None:
    with (
        socket.create_server(LOOPBACK) as taken,
        pytest.raises(UsageError, match="cannot listen there"),
    ):
        Relay(listen=taken.getsockname()[:2], to=("127.0.0.1", 1), plan=LinkPlan(None))


def test_what_ends_the_relay_is_not_taken_for_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = Relay(listen=LOOPBACK, to=("127.0.0.1", 1), plan=LinkPlan(None))
    monkeypatch.setattr(relay._selector, "select", None)
    with relay, pytest.raises(TypeError):
        relay.wait(PATIENCE_S)


def test_a_port_that_is_given_away_during_a_cut_ends_no_link() -> None:
    plan = LinkPlan(None, cuts=(Window(start_s=0.0, duration_s=0.3),))
    with linked(plan, handle=echo) as relay:
        with contextlib.suppress(OSError):
            connect(relay).close()
        thief = steal(relay.address)
        assert not relay.wait(0.5)
        thief.close()
        assert exchanged(relay, b"back")


def steal(address: tuple[str, int]) -> socket.socket:
    """Listen there as soon as it is free, and answer nobody."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        with contextlib.suppress(OSError):
            return socket.create_server(address)
    pytest.fail("the relay went on listening")
