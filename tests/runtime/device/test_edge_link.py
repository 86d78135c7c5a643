"""A device whose connection dies without a word, over real sockets."""

import contextlib
import errno
import socket
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import zmq

from headgate.profiles.errors import UsageError
from headgate.profiles.family import Family
from headgate.profiles.profile import Profile
from headgate.runtime.device import edge_link
from headgate.runtime.device.edge_link import EdgeLink
from headgate.runtime.device.playback import Playback
from headgate.runtime.records import Source
from headgate.runtime.sockets.edge_socket import CONNECT_TIMEOUT_MS, SPENT_S, LinkEvent
from runtime.running import RunningDevice, edge_thread

SPLIT = Profile("split-only", points=("b1r1-l5",))


class Forgetful:
    """A TCP proxy that can forget the connections it has, as a router does with its table.

    They stay open and nothing comes through any more; new ones work.
    """

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._forgotten: set[int] = set()
        self._sockets: list[socket.socket] = []
        self.num_connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"

    def forget(self) -> None:
        """Let nothing more through on the connections there are."""
        self._forgotten.update(range(self.num_connections))

    def close(self) -> None:
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to_port))
                number = self.num_connections
                self.num_connections += 1
                self._sockets += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(
                        target=self._carry, args=(source, sink, number), daemon=True
                    ).start()

    def _carry(self, source: socket.socket, sink: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if number not in self._forgotten:
                    sink.sendall(data)


@contextlib.contextmanager
def forgetful(endpoint: str) -> Iterator[Forgetful]:
    proxy = Forgetful(int(endpoint.rpartition(":")[2]))
    try:
        yield proxy
    finally:
        proxy.close()


def test_a_connection_that_died_in_silence_is_replaced_and_every_frame_has_one_record(
    tiny_family: Family,
) -> None:
    with (
        edge_thread(tiny_family) as server,
        forgetful(server.endpoint) as proxy,
        RunningDevice(
            tiny_family,
            "fake://16x16",
            edge=proxy.endpoint,
            profile=SPLIT,
            playback=Playback(fps=20),
        ) as running,
    ):
        running.wait_for(lambda records: sum(r.source is Source.EDGE for r in records) >= 5)
        proxy.forget()
        num_before = len(running.records)
        running.wait_for(
            lambda records: any(r.source is Source.EDGE for r in records[num_before + 5 :])
        )
        running.device.stop()
        records = running.join()
    assert running.failure is None
    ids = [record.frame_id for record in records]
    assert sorted(ids) == list(range(len(ids)))  # each once
    reasons = {record.reason for record in records}
    assert "edge reconnected" in reasons
    assert "edge disconnected" not in reasons  # as it is when the heartbeats stop, after 5 s
    assert proxy.num_connections == 2


def test_a_steady_connection_never_gets_a_second_one(tiny_family: Family) -> None:
    with (
        edge_thread(tiny_family) as server,
        forgetful(server.endpoint) as proxy,
        RunningDevice(
            tiny_family,
            "fake://16x16",
            edge=proxy.endpoint,
            profile=SPLIT,
            playback=Playback(fps=30, frames=60),
        ) as running,
    ):
        records = running.join()
    assert len(records) == 60
    assert proxy.num_connections == 1


def test_no_duplicate_of_a_descriptor_is_left_behind(tiny_family: Family) -> None:
    """While one is open the edge would not see that the device is gone."""
    if sys.platform != "linux":
        pytest.skip("there are duplicates on Linux only")
    with edge_thread(tiny_family) as server:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        link = EdgeLink(context, server.endpoint, keys=None, max_part_bytes=1 << 20)
        poller = zmq.Poller()
        link.connect(poller)
        seen: list[LinkEvent] = []
        while LinkEvent.CONNECTED not in seen:
            assert poller.poll(5000)
            seen += link.events(now_s=time.monotonic())
        tap = link._first._tap
        assert tap is not None
        link.close()
        assert tap.info() is None
        context.term()


def test_an_address_that_is_none_is_a_usage_error() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    link = EdgeLink(context, "tcp://nowhere", keys=None, max_part_bytes=1 << 20)
    with pytest.raises(UsageError, match="cannot connect there"):
        link.connect(zmq.Poller())
    link.close()
    context.term()


def test_a_process_that_can_open_no_more_files_goes_on_with_the_connection_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sockets are refused here by hand: with none left at all, ZeroMQ's own threads may abort."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    link = EdgeLink(context, "tcp://127.0.0.1:9", keys=None, max_part_bytes=1 << 20)
    link.connect(zmq.Poller())

    def refuse(*_: object, **__: object) -> None:
        raise zmq.ZMQError(errno.EMFILE)

    with monkeypatch.context() as patched:
        patched.setattr(edge_link, "EdgeSocket", refuse)
        assert link.look(overdue_s=5.0, delay_s=0.01, now_s=100.0) == []
        assert len(link.monitors) == 1
        link._first.keep_for_now(now_s=100.0)
        assert link.look(overdue_s=5.0, delay_s=0.01, now_s=100.0 + SPENT_S) == []
        assert not link._first.is_spent(now_s=100.0 + SPENT_S)
    spent = link._first
    assert link.look(overdue_s=5.0, delay_s=0.01, now_s=100.0 + 2 * SPENT_S) == []
    assert link._first is not spent
    assert len(link.monitors) == 2
    link.close()
    context.term()


def test_a_second_connection_that_finds_nobody_for_long_gives_way_to_a_patient_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its attempts end after 300 ms, and the way to the edge may have become longer than that."""
    monkeypatch.setattr(edge_link, "HASTY_TRIES", 2)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    link = EdgeLink(context, "tcp://127.0.0.1:9", keys=None, max_part_bytes=1 << 20)
    poller = zmq.Poller()
    link.connect(poller)
    assert link.look(overdue_s=5.0, delay_s=0.01, now_s=100.0) == []
    link._take_over()  # as when the first breaks before the second is up
    hasty = link.dealer
    assert int(hasty.getsockopt(zmq.CONNECT_TIMEOUT)) < CONNECT_TIMEOUT_MS
    while link.dealer is hasty:
        assert poller.poll(5000)
        assert link.events(now_s=100.0) == []
        link.look(overdue_s=0.0, delay_s=0.01, now_s=100.0)
    assert hasty.closed
    assert int(link.dealer.getsockopt(zmq.CONNECT_TIMEOUT)) == CONNECT_TIMEOUT_MS
    assert len(link.monitors) == 1
    link.close()
    context.term()
