"""The way of a batch to the server and of its gradient back, against the same bytes bare.

Headgate's way begins with the maps as torch has them and ends with the gradient as torch has it,
with everything that training does between but the arithmetic. The bare one is a ZeroMQ echo of as
many bytes in one part, with the copies left out that can be. All run in turn, in one process
against one other, so that a busy moment hits each alike.
"""

from __future__ import annotations

import contextlib
import importlib.util
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import zmq

from headgate.export.bench.bench_table import BenchResult, Goal, median, milliseconds
from headgate.export.bench.split_training import bench_train_echo
from headgate.export.bench.split_training.bench_train_echo import (
    CPU,
    GRPC_METHOD,
    MAX_MESSAGE_BYTES,
)
from headgate.export.children import LOOPBACK, echo_process
from headgate.profiles.train_messages import Header, Kind
from headgate.runtime.wire.train_wire import decode, encode, message_bytes
from headgate.train.split_training.payload import Parcel
from headgate.train.split_training.transport import ClientSocket, Security
from headgate.train.split_training.wire_parcels import from_wire, to_wire

NAME = "train transport"
SHAPES = ((64, 4, 16, 16), (64, 128, 16, 16))
MAX_RATIO = 1.2
WARM_UP = 20
TURN = 10  # round trips of one way before the next has its turn
READY_S = 30.0

RoundTrip = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Trips:
    """The seconds of each round trip of one way."""

    way: str
    taken_s: list[float]


def bench_train_transport(*, num_trips: int, say: Callable[[str], None]) -> BenchResult:
    """Measure each shape over each way there is."""
    has_grpc = importlib.util.find_spec("grpc") is not None
    rows, goals = [], []
    for shape in SHAPES:
        say(f"maps {'x'.join(map(str, shape))}, float32")
        found = {trips.way: trips for trips in _measure(shape, num_trips=num_trips, grpc=has_grpc)}
        bare_s = median(found["bare"].taken_s)
        for way, trips in found.items():
            taken_s = median(trips.taken_s)
            fast_s = sorted(trips.taken_s)[len(trips.taken_s) // 10]
            rows.append(
                (
                    "x".join(map(str, shape)),
                    way,
                    milliseconds(taken_s),
                    milliseconds(fast_s),
                    f"{taken_s / bare_s:.2f}",
                )
            )
        ratio = median(found["headgate"].taken_s) / bare_s
        name = "x".join(map(str, shape))
        goals.append(
            Goal(f"{name}: headgate / bare at most {MAX_RATIO}", ratio, ratio <= MAX_RATIO)
        )
        if has_grpc:
            ratio = median(found["headgate"].taken_s) / median(found["grpc"].taken_s)
            goals.append(Goal(f"{name}: headgate / gRPC below 1", ratio, ratio < 1))
    notes = [
        f"{num_trips} round trips each, {TURN} at a time in turn; the bare echo and gRPC carry one "
        "message of the same bytes each way, already made",
    ]
    if not has_grpc:
        notes.append("gRPC was skipped: grpcio is not installed")
    columns = ("maps", "way", "median, ms", "best tenth, ms", "/ bare")
    return BenchResult(NAME, columns, tuple(rows), goals=tuple(goals), notes=tuple(notes))


def _measure(shape: tuple[int, int, int, int], *, num_trips: int, grpc: bool) -> list[Trips]:
    opens = {"headgate": headgate_trip, "bare": bare_trip} | ({"grpc": grpc_trip} if grpc else {})
    with contextlib.ExitStack() as held:
        trips = {}
        for way, open_trip in opens.items():
            port = held.enter_context(echo_process(bench_train_echo.__name__, way))
            trips[way] = held.enter_context(open_trip(port, shape))
        for trip in trips.values():
            for _ in range(WARM_UP):
                trip()
        taken_s: dict[str, list[float]] = {way: [] for way in trips}
        while len(taken_s["bare"]) < num_trips:
            for way, trip in trips.items():
                for _ in range(TURN):
                    began_s = time.perf_counter()
                    trip()
                    taken_s[way].append(time.perf_counter() - began_s)
    return [Trips(way, found) for way, found in taken_s.items()]


@contextlib.contextmanager
def headgate_trip(port: int, shape: tuple[int, int, int, int]) -> Iterator[RoundTrip]:
    """Yield what sends maps, filter and labels, and opens the gradient."""
    num_pictures, budget = shape[:2]
    maps_BCHW = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    filter_C, labels_B = torch.rand(budget), torch.zeros(num_pictures, dtype=torch.uint8)
    header = Header(Kind.BATCH, budget=budget, num_steps=1, num_pictures=num_pictures)
    socket = ClientSocket(f"tcp://{LOOPBACK}:{port}", Security())
    while not any(socket.connection_events()):
        socket.wait(READY_S)

    def trip() -> None:
        parts = (Parcel(maps_BCHW), Parcel(filter_C), Parcel(labels_B))
        socket.send(encode(header, to_wire(parts)))
        while not socket.wait(READY_S).message:
            pass
        _, payload = decode(socket.receive())
        maps, _ = from_wire(payload, device=CPU)
        assert isinstance(maps, Parcel)
        assert maps.values.shape == maps_BCHW.shape

    try:
        yield trip
    finally:
        socket.close()


@contextlib.contextmanager
def bare_trip(port: int, shape: tuple[int, int, int, int]) -> Iterator[RoundTrip]:
    """Yield what sends as many bytes and takes them back."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.connect(f"tcp://{LOOPBACK}:{port}")
    payload = random.Random(0).randbytes(batch_bytes(shape))  # zeros would all lie in one page

    def trip() -> None:
        socket.send(payload, copy=False)
        socket.recv(copy=False)

    try:
        yield trip
    finally:
        socket.close()
        context.term()


@contextlib.contextmanager
def grpc_trip(port: int, shape: tuple[int, int, int, int]) -> Iterator[RoundTrip]:
    """Yield what sends as many bytes over a stream and takes them back."""
    import queue

    import grpc

    payload = random.Random(0).randbytes(batch_bytes(shape))  # zeros would all lie in one page
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ]
    channel = grpc.insecure_channel(f"{LOOPBACK}:{port}", options=options)
    grpc.channel_ready_future(channel).result(timeout=READY_S)
    asked: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    answers = channel.stream_stream(GRPC_METHOD)(iter(asked.get, None))

    def trip() -> None:
        asked.put(payload)
        next(answers)

    try:
        yield trip
    finally:
        asked.put(None)
        channel.close()


def batch_bytes(shape: tuple[int, int, int, int]) -> int:
    """Return the size of Headgate's message for maps of that shape in float32."""
    num_pictures, budget, height, width = shape
    maps_bytes = 4 * num_pictures * budget * height * width
    return message_bytes(data_bytes=(maps_bytes, 4 * budget, num_pictures))
