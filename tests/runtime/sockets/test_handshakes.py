"""Handshakes that fail, and what each side says of them."""

import socket
from collections.abc import Iterator

import pytest
import zmq
from zmq.utils.monitor import parse_monitor_message

from headgate.runtime.sockets.handshakes import (
    FAILED_HANDSHAKES,
    NO_ANSWER,
    device_complaint,
    edge_complaint,
    silence_complaint,
)
from headgate.runtime.sockets.keys import Context, Socket

PATIENCE_MS = 20_000


@pytest.fixture
def context() -> Iterator[Context]:
    made: Context = zmq.Context()
    yield made
    made.destroy(0)


def failure(monitor: Socket) -> tuple[int, int]:
    """Return kind and value of the first event of a failed handshake."""
    assert monitor.poll(PATIENCE_MS)
    event = parse_monitor_message(monitor.recv_multipart())
    return event["event"], event["value"]


def test_keys_on_one_side_only_are_named_on_both() -> None:
    kind = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    value = zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
    assert "start it with --keys" in device_complaint(kind, value, has_keys=True)
    assert "it asks for keys and we have none" in device_complaint(kind, value, has_keys=False)
    assert "start the device with --keys" in edge_complaint(kind, value, has_keys=True)
    assert "start this edge with --keys" in edge_complaint(kind, value, has_keys=False)


def test_an_edge_whose_name_has_no_address_is_told_from_one_that_is_down() -> None:
    label = "a" * 64  # longer than any name's part may be: refused without asking the network
    assert f"the name {label}.example has no address" in silence_complaint(
        f"tcp://{label}.example:7700"
    )
    for endpoint in ("tcp://127.0.0.1:7700", "tcp://[::1]:7700", "ipc:///tmp/edge"):
        assert silence_complaint(endpoint) == NO_ANSWER


def test_an_edge_without_keys_does_not_ask_for_one() -> None:
    """It did, of whoever looked at its port."""
    kind = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    assert "edge.key" not in edge_complaint(kind, 0, has_keys=False)
    assert "one with other keys" in edge_complaint(kind, 0, has_keys=True)


def test_a_connection_that_just_ends_is_not_blamed_on_keys(context: Context) -> None:
    device = context.socket(zmq.DEALER)
    monitor = device.get_monitor_socket(FAILED_HANDSHAKES)
    with socket.create_server(("127.0.0.1", 0)) as relay:  # its edge is down
        device.connect(f"tcp://127.0.0.1:{relay.getsockname()[1]}")
        relay.accept()[0].close()
        said = device_complaint(*failure(monitor), has_keys=False)
    assert said.startswith("no handshake before the connection ended; is that an edge's address")
    edge = context.socket(zmq.ROUTER)
    monitor = edge.get_monitor_socket(FAILED_HANDSHAKES)
    port = edge.bind_to_random_port("tcp://127.0.0.1")
    socket.create_connection(("127.0.0.1", port)).close()  # a look at what listens there
    said = edge_complaint(*failure(monitor), has_keys=False)
    assert said.startswith("a connection ended before its handshake did: no device")
