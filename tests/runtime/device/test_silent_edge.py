"""An edge that takes all that it is sent, and answers no frame."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import zmq

from headgate.profiles.family import Family
from headgate.profiles.profile import Profile
from headgate.runtime.device.playback import Playback
from headgate.runtime.records import Source
from headgate.runtime.wire.messages import Ack, Frame, Hello, Message, Probe, ProbeReply, Welcome
from headgate.runtime.wire.wire import decode, encode
from runtime.running import RunningDevice
from runtime.tiny_family import write_npz, write_tiny_family


@contextlib.contextmanager
def silent_edge(family: Family) -> Iterator[str]:
    """Serve at the endpoint that is yielded: nothing that the device sends is ever outstanding."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.linger = 0
    router.bind("tcp://127.0.0.1:*")
    stopping = threading.Event()

    def serve() -> None:
        while not stopping.is_set():
            if router.poll(50):
                peer, *parts = router.recv_multipart()
                for answer in answers(decode(parts), family):
                    router.send_multipart([peer, *encode(answer)])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield router.getsockopt_string(zmq.LAST_ENDPOINT)
    finally:
        stopping.set()
        thread.join()
        router.close()
        context.term()


def answers(message: Message, family: Family) -> list[Message]:
    match message:
        case Hello():
            return [Welcome(3, family.manifest.digest, 1 << 20, max_in_flight=8)]
        case Probe():
            return [ProbeReply(message.probe_id, 5_000_000, 0)]
        case Frame():
            return [Ack(message.frame_id, 1, 5_000_000)]
    return []


def test_the_next_picture_is_taken_when_the_one_before_has_met_its_deadline(tmp_path: Path) -> None:
    """Nothing else happens then: no message comes, and so long after a capture none is probed."""
    family = write_tiny_family(tmp_path / "family", progressive=True)
    pictures = write_npz(tmp_path / "pictures.npz", 2)
    with (
        silent_edge(family) as endpoint,
        RunningDevice(
            family,
            f"npz:{pictures}",
            edge=endpoint,
            profile=Profile("layers", points=("p3r1-*",), sla_ms=1300),
            playback=Playback(max_open=1),
        ) as running,
    ):
        records = running.join()
    assert [(record.source, record.reason) for record in records] == [
        (Source.LOCAL, "edge too late"),
        (Source.LOCAL, "edge too late"),
    ]
