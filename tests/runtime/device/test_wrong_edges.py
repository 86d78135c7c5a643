"""What listens at the edge's address is wrong for a while, in ways that end ZeroMQ's connection.

ZeroMQ does not connect again after what it takes for an error of the protocol.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import zmq

from headgate.profiles.family import Family
from headgate.runtime.device.playback import Playback
from headgate.runtime.records import FrameRecord, Source
from headgate.runtime.sockets import keys
from runtime.running import RunningDevice, edge_thread


def free_endpoint() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"tcp://127.0.0.1:{taken.getsockname()[1]}"


@contextlib.contextmanager
def with_keys(endpoint: str, family: Family, folder: Path) -> Iterator[None]:
    """An edge that asks for keys."""
    edge, _ = keys.make_set(folder, device="cam1")
    with edge_thread(family, bind=endpoint, keys=keys.load_edge_keys(edge)):
        yield


@contextlib.contextmanager
def too_large(endpoint: str, family: Family, folder: Path) -> Iterator[None]:
    """An edge whose first answer is larger than any message may be."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.linger = 0
    router.bind(endpoint)

    def answer() -> None:
        peer, *_ = router.recv_multipart()
        router.send_multipart([peer, bytes(5 << 20)])

    threading.Thread(target=answer, daemon=True).start()
    yield
    router.close()
    context.term()


@contextlib.contextmanager
def no_zeromq(endpoint: str, family: Family, folder: Path) -> Iterator[None]:
    """Something else, which greets like ZeroMQ and goes on with anything."""
    address = ("127.0.0.1", int(endpoint.rpartition(":")[2]))
    with socket.create_server(address) as listener:

        def greet() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    mechanism = b"NULL".ljust(20, b"\0")
                    sock.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + mechanism + bytes(32))
                    sock.sendall(b"\x04\x03\x05WRONG" * 20)

        threading.Thread(target=greet, daemon=True).start()
        yield
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("wrong", [with_keys, too_large, no_zeromq])
def test_a_device_finds_its_edge_after_something_wrong_was_in_its_place(
    tiny_family: Family,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    wrong: Callable[[str, Family, Path], AbstractContextManager[None]],
) -> None:
    caplog.set_level("INFO")
    endpoint = free_endpoint()

    def met(records: list[FrameRecord]) -> bool:
        return "trying again" in caplog.text or "disconnected" in caplog.text

    with wrong(endpoint, tiny_family, tmp_path):
        running = RunningDevice(
            tiny_family, "fake://16x16", edge=endpoint, playback=Playback(fps=50)
        )
        running.wait_for(met)
    with running, edge_thread(tiny_family, bind=endpoint):
        num_before = len(running.records)
        running.wait_for(lambda records: any(r.source is Source.EDGE for r in records[num_before:]))
    assert sorted(r.frame_id for r in running.records) == list(range(len(running.records)))
