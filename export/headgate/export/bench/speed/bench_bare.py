"""The parts of a frame's way without Headgate: a head run, a tail run, a ZeroMQ round trip."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import zmq

from headgate.export.bench.speed import bench_echo
from headgate.export.children import LOOPBACK, echo_process
from headgate.profiles.family import Family
from headgate.profiles.manifest import OperatingPoint
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.edge_engine import EdgeEngine

ANSWER_BYTES = 160  # a result with ten probabilities, about


def bare_graphs(
    family: Family, point: OperatingPoint, *, times: int, pace_s: float
) -> tuple[list[float], list[float]]:
    """Return the seconds of each run of the head, then of the tail, of one picture each."""
    device, tail = DeviceEngine(family), EdgeEngine(family)
    picture_1HWC = _noise_picture(family)
    features_1CHW, _ = device.features(point, picture_1HWC)
    head_s = paced(lambda: device.features(point, picture_1HWC), times=times, pace_s=pace_s)
    tail_s = paced(lambda: tail.tails(point, features_1CHW), times=times, pace_s=pace_s)
    return head_s, tail_s


class BareHead:
    """The head of one point on one picture, to be run again and again."""

    def __init__(self, family: Family, point: OperatingPoint) -> None:
        self._engine, self._point = DeviceEngine(family), point
        self._picture_1HWC = _noise_picture(family)

    def run(self) -> None:
        """Run the head once; nothing for a point that has none."""
        if self._point.member is not None:
            self._engine.features(self._point, self._picture_1HWC)


def bare_frames(
    family: Family, point: OperatingPoint, port: int, *, num_bytes: int, times: int
) -> tuple[list[float], list[float], list[float]]:
    """Return the seconds of each head run, tail run and round trip, done in turn as frames do.

    Each part then finds the caches as the others left them, which looping over it alone hides.
    """
    device, tail = DeviceEngine(family), EdgeEngine(family)
    picture_1HWC = _noise_picture(family)
    head_s: list[float] = []
    tail_s: list[float] = []
    trip_s: list[float] = []
    with _echo_client(port, num_bytes=num_bytes) as round_trip:
        for _ in range(times):
            started_s = time.perf_counter()
            features_1CHW, _ = device.features(point, picture_1HWC)
            head_done_s = time.perf_counter()
            round_trip()
            trip_done_s = time.perf_counter()
            tail.tails(point, features_1CHW)
            tail_s.append(time.perf_counter() - trip_done_s)
            trip_s.append(trip_done_s - head_done_s)
            head_s.append(head_done_s - started_s)
    return head_s, tail_s, trip_s


def bare_round_trip(port: int, *, num_bytes: int, times: int, pace_s: float) -> list[float]:
    """Return the seconds of each message to the echo server and back."""
    with _echo_client(port, num_bytes=num_bytes) as round_trip:
        return paced(round_trip, times=times, pace_s=pace_s)


@contextlib.contextmanager
def _echo_client(port: int, *, num_bytes: int) -> Iterator[Callable[[], None]]:
    """Yield what sends so many bytes to the echo server and waits for its answer."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(f"tcp://{LOOPBACK}:{port}")
    payload = bytes(num_bytes)

    def round_trip() -> None:
        socket.send(payload)
        socket.recv_multipart()

    try:
        round_trip()
        yield round_trip
    finally:
        socket.close()
        context.term()


def echo_server() -> contextlib.AbstractContextManager[int]:
    """Run the echo server in a process of its own; the block gets its port."""
    return echo_process(bench_echo.__name__, str(ANSWER_BYTES))


def _noise_picture(family: Family) -> npt.NDArray[np.uint8]:
    size = family.manifest.input
    shape = (1, size.height_px, size.width_px, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def paced(work: Callable[[], object], *, times: int, pace_s: float) -> list[float]:
    """Do `work` again and again, one start every `pace_s`; return the seconds of each."""
    taken_s = []
    next_s = time.perf_counter()
    for _ in range(times):
        if (wait_s := next_s - time.perf_counter()) > 0:
            time.sleep(wait_s)
        started_s = time.perf_counter()
        work()
        taken_s.append(time.perf_counter() - started_s)
        next_s = max(next_s + pace_s, time.perf_counter())
    return taken_s
