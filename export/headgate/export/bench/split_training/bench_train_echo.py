"""Answers batches of split training with gradients of the same size: transport alone, to measure.

Run as `python -m headgate.export.bench.split_training.bench_train_echo WAY PORT`; ends when its
input closes. The ways:

    headgate   the server's socket, decoded into torch tensors and encoded again, as training does
    bare       a ZeroMQ ROUTER that sends back the very parts it got
    grpc       a stream that sends back the very bytes it got, where grpcio is installed
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
import zmq

from headgate.profiles.train_messages import Header, Kind
from headgate.runtime.wire.train_wire import decode, encode
from headgate.train.split_training.transport import Security, ServerSocket
from headgate.train.split_training.wire_parcels import from_wire, to_wire

GRPC_METHOD = "/headgate.Bench/Echo"
MAX_MESSAGE_BYTES = 1 << 28
CPU = torch.device("cpu")


def serve_headgate(port: int) -> None:
    """Answer batches with gradients: the maps and the filter that came."""
    socket = ServerSocket(f"tcp://127.0.0.1:{port}", Security())
    while True:
        message = socket.receive(None)
        assert message is not None
        peer, parts = message
        header, payload = decode(parts)
        maps, filter_C, _ = from_wire(payload, device=CPU)
        answer = Header(Kind.GRADIENT, header.place, phase=header.phase, budget=header.budget)
        socket.send(peer, encode(answer, to_wire((maps, filter_C))))
        del message, parts, payload, maps, filter_C  # as the server does, before it waits


def serve_bare(port: int) -> None:
    """Send back what came."""
    socket: zmq.Socket[bytes] = zmq.Context().socket(zmq.ROUTER)
    socket.bind(f"tcp://127.0.0.1:{port}")
    while True:
        socket.send_multipart(socket.recv_multipart(copy=False), copy=False)


def serve_grpc(port: int) -> None:
    """Send back what came, over one stream of bytes."""
    import grpc

    def echo(requests: Iterator[bytes], _: object) -> Iterator[bytes]:
        yield from requests

    service, _, method = GRPC_METHOD.removeprefix("/").partition("/")
    handler = grpc.stream_stream_rpc_method_handler(echo)
    server = grpc.server(
        ThreadPoolExecutor(max_workers=2),
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ],
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {method: handler}),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


WAYS: dict[str, Callable[[int], None]] = {
    "headgate": serve_headgate,
    "bare": serve_bare,
    "grpc": serve_grpc,
}

if __name__ == "__main__":
    way, number = sys.argv[1:]
    threading.Thread(target=WAYS[way], args=(int(number),), daemon=True).start()
    sys.stdin.read()
