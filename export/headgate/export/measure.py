"""Measure operating points: what a user would get, through the very engine and codec they run.

Nothing here knows torch. Every picture goes through `DeviceEngine.compute`, its payload through
`TailEngine.infer`, and what comes back is compared with the label.
"""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headgate.export.points import Measured, with_measurements
from headgate.profiles.errors import GateError
from headgate.profiles.manifest import OperatingPoint, PointKind, PointTime
from headgate.runtime.edge_rules import graph_key
from headgate.runtime.edge_session import BatchItem, ItemOutcome
from headgate.runtime.engine import DeviceEngine, TailEngine
from headgate.runtime.events import Answer, Computed

PEER = b"export"
# Frames run one at a time for the edge's median; batches would flatter it.
NUM_TIMED = 24


@dataclass(frozen=True, slots=True)
class Engines:
    """Both sides of one family, loaded."""

    device: DeviceEngine
    tail: TailEngine


def machine_name() -> str:
    """Return what times are filed under: the kind of processor and its cores, never a host."""
    return f"{platform.machine() or 'unknown'}-{os.cpu_count() or 1}core"


def measure_point(
    point: OperatingPoint,
    engines: Engines,
    *,
    pictures_NHWC: NDArray[np.uint8],
    labels: NDArray[np.int64],
) -> Measured:
    """Run every picture through one point and return its accuracy, bytes and times."""
    computed = [engines.device.compute(point, picture) for picture in pictures_NHWC]
    device_s = float(np.median([item.head_s + item.encode_s for item in computed]))
    if point.kind is PointKind.LOCAL:
        right = _device_labels(computed) == labels
        filled = with_measurements(point, accuracy=float(right.mean()), sizes=())
        return Measured(filled, right, PointTime(device_s, 0.0))
    payloads = [payload_of(item) for item in computed]
    probabilities_NK = edge_probabilities(point, engines.tail, payloads)
    right = probabilities_NK.argmax(axis=1) == labels
    sizes = [len(payload) for payload in payloads]
    filled = with_measurements(point, accuracy=float(right.mean()), sizes=sizes)
    edge_s = _median_edge_s(point, engines.tail, payloads[:NUM_TIMED])
    exit_accuracy = None
    if point.kind is PointKind.SPLIT:
        exit_accuracy = float((_device_labels(computed) == labels).mean())
    return Measured(
        filled, right, PointTime(device_s, edge_s), exit_accuracy, np.asarray(sizes, np.int64)
    )


def edge_probabilities(
    point: OperatingPoint, tail: TailEngine, payloads: Sequence[bytes]
) -> NDArray[np.float32]:
    """Decode and run payloads of one point in batches; return probabilities [N,K]."""
    rows = []
    for start in range(0, len(payloads), tail.max_batch):
        batch = payloads[start : start + tail.max_batch]
        rows += [_first_tensor(point, outcome) for outcome in infer_payloads(point, tail, batch)]
    return np.stack(rows)


def payload_of(computed: Computed) -> bytes:
    """Return what a split or offload frame sends."""
    assert computed.payload is not None
    return computed.payload


def probabilities_of(answer: Answer | None) -> NDArray[np.float32]:
    """Return the probabilities [K] of an answer of the device: local and split points have one."""
    assert answer is not None
    (probabilities_K,) = answer.outputs.values()
    return np.asarray(probabilities_K, dtype=np.float32)


def infer_payloads(
    point: OperatingPoint, tail: TailEngine, payloads: Sequence[bytes]
) -> list[ItemOutcome]:
    """Answer one batch of payloads as the edge would."""
    items = [BatchItem(PEER, index, point, payload) for index, payload in enumerate(payloads)]
    return tail.infer(graph_key(point, full_graph=tail.manifest.full_graph), items)


def _first_tensor(point: OperatingPoint, outcome: ItemOutcome) -> NDArray[np.float32]:
    if outcome.tensors is None:
        raise GateError(
            f"point {point.id}: the edge could not answer its own device ({outcome.error}); "
            "this family would not work, nothing was written"
        )
    return np.asarray(outcome.tensors[0].array, dtype=np.float32)


def _median_edge_s(point: OperatingPoint, tail: TailEngine, payloads: Sequence[bytes]) -> float:
    outcomes = [infer_payloads(point, tail, [payload])[0] for payload in payloads]
    return float(np.median([outcome.decode_s + outcome.tail_s for outcome in outcomes]))


def _device_labels(computed: Sequence[Computed]) -> NDArray[np.int64]:
    return np.asarray([int(probabilities_of(item.answer).argmax()) for item in computed])
