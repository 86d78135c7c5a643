import contextlib
import logging
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import zmq

from headgate.profiles.errors import UsageError
from headgate.profiles.family import Family
from headgate.runtime.edge import edge
from headgate.runtime.edge.edge import EdgeServer
from headgate.runtime.edge.edge_events import BatchItem, EdgeLimits, ItemOutcome
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.sockets.keys import (
    Context,
    DeviceKeys,
    Socket,
    load_device_keys,
    load_edge_keys,
    make_set,
    secure_client,
)
from headgate.runtime.sockets.receiving import MAX_PARTS, receive_parts
from headgate.runtime.wire.headers import SPOKEN_VERSIONS
from headgate.runtime.wire.messages import (
    NO_BUDGET_US,
    Ack,
    Frame,
    Goodbye,
    Hello,
    Message,
    Probe,
    ProbeReply,
    Reject,
    RejectReason,
    Result,
    Welcome,
    stamp_us,
)
from headgate.runtime.wire.wire import decode, encode
from runtime.running import edge_thread
from runtime.tiny_family import tinted_pictures, write_tiny_family

PATIENCE_MS = 20_000


class Peer:
    """A device reduced to its socket."""

    def __init__(self, context: Context, endpoint: str, own: DeviceKeys | None = None) -> None:
        self.socket: Socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        if own is not None:
            secure_client(self.socket, own)
        self.socket.connect(endpoint)

    def say(self, *messages: Message) -> None:
        for message in messages:
            self.socket.send_multipart(encode(message))

    def hear(self) -> Message:
        assert self.socket.poll(PATIENCE_MS), "the edge did not answer"
        return decode(self.socket.recv_multipart())

    def greet(self, digest: str) -> Welcome:
        self.say(Hello(SPOKEN_VERSIONS, digest, 1 << 20))
        answer = self.hear()
        assert isinstance(answer, Welcome)
        return answer


@pytest.fixture
def context() -> Iterator[Context]:
    made: Context = zmq.Context()
    yield made
    made.destroy(0)


def frame_of(family: Family, frame_id: int, *, payload: bytes | None = None) -> tuple[Frame, int]:
    """Return a frame of the first split point, and the label the edge should find."""
    pictures, labels = tinted_pictures(1, seed=frame_id)
    point = family.manifest.points[0]
    computed = DeviceEngine(family).compute(point, pictures[0])
    assert computed.payload is not None
    sent = computed.payload if payload is None else payload
    return Frame(frame_id, 0, NO_BUDGET_US, sent), int(labels[0])


def test_a_frame_is_answered_with_the_right_probabilities(
    tiny_family: Family, context: Context
) -> None:
    with edge_thread(tiny_family) as server:
        peer = Peer(context, server.endpoint)
        peer.greet(tiny_family.manifest.digest)
        for frame_id in range(6):  # the first by the worker's thread, the last at once
            frame, label = frame_of(tiny_family, frame_id)
            peer.say(frame)
            result = peer.hear()
            assert isinstance(result, Result)
            assert result.frame_id == frame_id
            assert int(result.tensors[0].array.argmax()) == label


def test_an_edge_that_ends_logs_what_it_has_done(
    tiny_family: Family, context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), edge_thread(tiny_family) as server:
        peer = Peer(context, server.endpoint)
        peer.greet(tiny_family.manifest.digest)
        for frame_id, payload in enumerate((None, None, b"no payload")):
            frame, _ = frame_of(tiny_family, frame_id, payload=payload)
            peer.say(frame)
            assert isinstance(peer.hear(), Reject if payload else Result)
    # Without keys a device has no name: its address, and what tells it from others there.
    name, _, rest = caplog.messages[0].partition(": ")
    assert re.fullmatch(r"127\.0\.0\.1/[0-9a-f]{6}", name)
    assert rest == f"connected, family {tiny_family.manifest.digest[:12]}"
    assert f"peer {name}: " in caplog.text
    line = caplog.messages[-1]
    assert "frames_received=3 frames_answered=2 rejected=malformed:1 batches=3 " in line
    assert "mean_tail_s=0.000000 " not in line


def test_a_device_of_another_family_is_named_as_others_are(
    tiny_family: Family, context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    with edge_thread(tiny_family) as server:
        peer = Peer(context, server.endpoint)
        peer.say(Hello(SPOKEN_VERSIONS, "0" * 64, 1 << 20))
        assert isinstance(peer.hear(), Reject)
    said = f"edge serves family {tiny_family.manifest.digest[:12]}, device has 000000000000"
    assert re.match(rf"peer 127\.0\.0\.1/[0-9a-f]{{6}}: {said}", caplog.messages[0])


def test_a_stranger_of_old_is_not_said_to_be_of_this_machine(
    tiny_family: Family, caplog: pytest.LogCaptureFixture
) -> None:
    """ZeroMQ takes messages of its first protocol, without a handshake, and gives no address."""
    with edge_thread(tiny_family) as server:
        host, _, port = server.endpoint.removeprefix("tcp://").rpartition(":")
        with socket.create_connection((host, int(port)), timeout=20) as caller:
            caller.sendall(b"\x03\x00ab" + b"\x06\x00other")
            caller.recv(1)  # the end, or an answer: the edge has read it
            deadline_s = time.monotonic() + 20
            while not caplog.messages and time.monotonic() < deadline_s:
                time.sleep(0.01)
    assert caplog.messages[0].startswith("peer 6162: header: ")


def test_who_connects_and_says_nothing_is_let_go(
    tiny_family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a few hundred of them leave no descriptor for a device, for half a minute each."""
    monkeypatch.setattr(edge, "HANDSHAKE_MS", 100)
    with edge_thread(tiny_family) as server:
        host, _, port = server.endpoint.removeprefix("tcp://").rpartition(":")
        with socket.create_connection((host, int(port)), timeout=20) as caller:
            caller.sendall(b"\xff")
            while caller.recv(100):  # the edge's greeting, then the end
                pass


def test_a_progressive_frame_is_answered_from_the_layers_that_came(
    tmp_path: Path, context: Context
) -> None:
    family = write_tiny_family(tmp_path / "family", progressive=True)
    manifest = family.manifest
    pictures, labels = tinted_pictures(1, seed=3)
    planned = manifest.index_of("p3r1-l16-p2")
    layers = DeviceEngine(family).compute(manifest.points[planned], pictures[0]).layers
    with edge_thread(family) as server:
        peer = Peer(context, server.endpoint)
        assert peer.greet(manifest.digest).version == 3
        sent = Frame(1, planned, NO_BUDGET_US, layers[0], sent_us=stamp_us(time.monotonic()))
        peer.say(sent)
        assert isinstance(ack := peer.hear(), Ack)
        assert (ack.frame_id, ack.layers) == (1, 1)
        peer.say(
            replace(sent, frame_id=2, more_layers=layers[1:], sent_us=stamp_us(time.monotonic()))
        )
        result = peer.hear()
        assert isinstance(result, Result)
        assert (result.frame_id, result.point_index) == (1, manifest.index_of("p3r1-l16-p1"))
        result = peer.hear()
        assert isinstance(result, Result)
        assert (result.frame_id, result.point_index) == (2, planned)
        assert int(result.tensors[0].array.argmax()) == labels[0]


def test_a_broken_payload_is_rejected_and_the_next_frame_is_answered(
    tiny_family: Family, context: Context
) -> None:
    with edge_thread(tiny_family) as server:
        peer = Peer(context, server.endpoint)
        peer.greet(tiny_family.manifest.digest)
        bad, _ = frame_of(tiny_family, 1, payload=b"\xff" * 40)
        good, _ = frame_of(tiny_family, 2)
        peer.say(bad, good)
        answers = {type(peer.hear()), type(peer.hear())}
        assert answers == {Reject, Result}


def test_what_is_no_message_of_ours_does_not_stop_the_edge(
    tiny_family: Family, context: Context
) -> None:
    with edge_thread(tiny_family) as server:
        stranger = Peer(context, server.endpoint)
        for parts in ([b""], [b"GET / HTTP/1.1"], [b"x"] * (10 * MAX_PARTS)):
            stranger.socket.send_multipart(parts)
        peer = Peer(context, server.endpoint)
        peer.greet(tiny_family.manifest.digest)
        peer.say(Probe(1, b"x" * 100))
        assert isinstance(peer.hear(), ProbeReply)


def test_a_message_of_too_many_parts_is_cut_while_it_is_read(context: Context) -> None:
    router, dealer = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    dealer.connect(f"tcp://127.0.0.1:{port}")
    dealer.send_multipart([b"x"] * 1000)
    dealer.send_multipart([b"next"])
    assert router.poll(PATIENCE_MS)
    assert len(receive_parts(router)[0]) == MAX_PARTS + 1
    assert router.poll(PATIENCE_MS)
    assert receive_parts(router)[0][1:] == [b"next"]
    with pytest.raises(zmq.Again):
        receive_parts(router)


class Gated:
    """A backend that runs each batch only when told to; remembers the batch sizes."""

    max_batch = 4

    def __init__(self) -> None:
        self.started, self.gate = threading.Semaphore(0), threading.Semaphore(0)
        self.sizes: list[int] = []

    def infer(self, graph_key: str, items: Sequence[BatchItem]) -> list[ItemOutcome]:
        self.sizes.append(len(items))
        self.started.release()
        assert self.gate.acquire(timeout=20)
        return [ItemOutcome((), None, 0.0, 0.0) for _ in items]


def test_frames_that_wait_for_the_worker_share_a_batch_and_draining_finishes_the_running_one(
    tiny_family: Family, context: Context
) -> None:
    digest = tiny_family.manifest.digest
    backend = Gated()
    server = EdgeServer({digest: backend}, {digest: tiny_family.manifest}, bind="tcp://127.0.0.1:*")
    thread = threading.Thread(target=server.run)
    thread.start()
    peer = Peer(context, server.endpoint)
    peer.greet(digest)
    frames = [frame_of(tiny_family, frame_id)[0] for frame_id in range(5)]
    peer.say(frames[0])
    assert backend.started.acquire(timeout=20)
    peer.say(*frames[1:4], Probe(1))
    assert isinstance(peer.hear(), ProbeReply)  # answered while the tail runs; the frames are in
    backend.gate.release()
    assert isinstance(peer.hear(), Result)
    assert backend.started.acquire(timeout=20)
    assert backend.sizes == [1, 3]
    peer.say(frames[4], Probe(2))
    assert isinstance(peer.hear(), ProbeReply)
    server.stop()
    rejected = peer.hear()
    assert isinstance(rejected, Reject)
    assert rejected.frame_id == 4
    backend.gate.release()
    heard = [type(peer.hear()) for _ in range(4)]
    assert heard == [Result, Result, Result, Goodbye]
    thread.join(20)
    assert not thread.is_alive()


class Buggy(Gated):
    def infer(self, graph_key: str, items: Sequence[BatchItem]) -> list[ItemOutcome]:
        raise ZeroDivisionError("bug")


def test_a_bug_in_a_backend_ends_the_edge_instead_of_leaving_it_deaf(
    tiny_family: Family, context: Context
) -> None:
    digest = tiny_family.manifest.digest
    server = EdgeServer({digest: Buggy()}, {digest: tiny_family.manifest}, bind="tcp://127.0.0.1:*")
    peer = Peer(context, server.endpoint)
    peer.say(Hello(SPOKEN_VERSIONS, digest, 1 << 20), frame_of(tiny_family, 0)[0])
    with pytest.raises(ZeroDivisionError):
        server.run()


class Hungry(Gated):
    """Finds no memory for its first batch."""

    def infer(self, graph_key: str, items: Sequence[BatchItem]) -> list[ItemOutcome]:
        self.sizes.append(len(items))
        if len(self.sizes) == 1:
            raise MemoryError
        return [ItemOutcome((), None, 0.0, 0.0) for _ in items]


def test_a_batch_that_finds_no_memory_fails_alone(tiny_family: Family, context: Context) -> None:
    digest = tiny_family.manifest.digest
    server = EdgeServer(
        {digest: Hungry()}, {digest: tiny_family.manifest}, bind="tcp://127.0.0.1:*"
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    peer = Peer(context, server.endpoint)
    peer.greet(digest)
    peer.say(frame_of(tiny_family, 0)[0])
    rejected = peer.hear()
    assert isinstance(rejected, Reject)
    assert (rejected.reason, rejected.detail) == (RejectReason.FAILED, "the edge is out of memory")
    peer.say(frame_of(tiny_family, 1)[0])
    assert isinstance(peer.hear(), Result)
    server.stop()
    thread.join(20)
    assert not thread.is_alive()


def test_an_address_in_use_is_a_clear_usage_error(tiny_family: Family) -> None:
    with (
        edge_thread(tiny_family) as server,
        pytest.raises(UsageError, match="another program listens there already"),
        edge_thread(tiny_family, bind=server.endpoint),
    ):
        pass


def test_an_address_of_another_machine_is_a_clear_usage_error(tiny_family: Family) -> None:
    with (
        pytest.raises(UsageError, match="is no address of this machine"),
        edge_thread(tiny_family, bind="tcp://192.0.2.1:7700"),
    ):
        pass


def test_a_peer_that_floods_an_edge_and_vanishes_does_not_end_it(
    tiny_family: Family, context: Context
) -> None:
    """ZeroMQ aborts where a heartbeat is due on a connection that broke while its queue was full.

    That was after the second heartbeat, 2 s.
    """
    program = Path(__file__).parents[1] / "stalled_edge.py"
    with subprocess.Popen(
        [sys.executable, str(program), str(tiny_family.path)], stdout=subprocess.PIPE, text=True
    ) as edge:
        assert edge.stdout is not None
        peer = context.socket(zmq.DEALER)
        peer.sndtimeo = 300  # ms: then both queues and the kernel are full
        peer.connect(edge.stdout.readline().strip())
        with contextlib.suppress(zmq.Again):
            while True:
                peer.send(bytes(10_000))
        peer.close(0)
        with pytest.raises(subprocess.TimeoutExpired):
            edge.wait(4.0)
        edge.kill()


def test_connections_with_one_key_leave_a_place_for_another_key(
    tiny_family: Family, context: Context, tmp_path: Path
) -> None:
    edge, greedy = make_set(tmp_path, device="greedy")
    _, modest = make_set(tmp_path, device="modest")
    digest, limits = tiny_family.manifest.digest, EdgeLimits(max_peers=4)
    with edge_thread(tiny_family, keys=load_edge_keys(edge), limits=limits) as server:
        peers = [Peer(context, server.endpoint, load_device_keys(greedy)) for _ in range(4)]
        for peer in peers[:3]:
            peer.greet(digest)
        peers[3].say(Hello(SPOKEN_VERSIONS, digest, 1 << 20))
        refused = peers[3].hear()
        assert isinstance(refused, Reject)
        assert "3 with one key" in refused.detail
        Peer(context, server.endpoint, load_device_keys(modest)).greet(digest)
