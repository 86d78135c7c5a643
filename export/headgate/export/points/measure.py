"""Measure operating points: what a user would get, through the very engine and codec they run.

Nothing here knows torch. Every picture goes through `DeviceEngine.compute`, its payload through
`EdgeEngine.infer`, and what comes back is compared with the label.

Prefixes of one series send the same layers, some more and some fewer of them. So the head runs once
per picture for all of them, and the edge's half once per prefix.

Shapes: N pictures, H W their size, K classes.
"""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headgate.export.points.points import Measured, with_measurements
from headgate.profiles.errors import GateError
from headgate.profiles.family import Family
from headgate.profiles.manifest import OperatingPoint, PointKind, PointTime
from headgate.runtime.edge.edge_events import BatchItem, ItemOutcome
from headgate.runtime.edge.edge_rules import graph_key
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.edge_engine import EdgeEngine
from headgate.runtime.networks.graphs import EngineOptions
from headgate.runtime.session.events import Answer, Computed

# What one frame sends: its layers in their order, or one payload where there are none.
Layers = tuple[bytes, ...]

PEER = b"export"
# Frames run one at a time for the edge's median; batches would flatter it.
NUM_TIMED = 24


@dataclass(frozen=True, slots=True)
class FromDevice:
    """What is kept of a picture that went through the device.

    Not its integers: those of 10,000 pictures may be gigabytes.
    """

    sent: Layers  # nothing of a local point
    label: int | None  # of the device's own answer; None: offload has none
    spent_s: float


@dataclass(frozen=True, slots=True)
class Engines:
    """Both sides of one family, loaded."""

    device: DeviceEngine
    tail: EdgeEngine


def open_engines(family: Family, *, threads: int) -> Engines:
    """Load both sides on the CPU, where times and parity are meant to be taken.

    Times are filed under a processor's name, and a GPU's reduced precision (TF32) would cost the
    parity gate its sharpness.
    """
    options = EngineOptions(providers="cpu", threads=threads)
    return Engines(DeviceEngine(family, options=options), EdgeEngine(family, options=options))


def machine_name() -> str:
    """Return what times are filed under: the kind of processor and its cores, never a host."""
    return f"{platform.machine() or 'unknown'}-{os.cpu_count() or 1}core"


def measure_points(
    points: Sequence[OperatingPoint],
    engines: Engines,
    *,
    pictures_NHWC: NDArray[np.uint8],
    labels: NDArray[np.int64],
) -> Iterator[Measured]:
    """Run every picture through every point; prefixes of a series come together.

    A point that predicts others' integers cannot be measured on single pictures.
    """
    seen: set[object] = set()
    for point in points:
        if point.prefix is None:
            yield measure_point(point, engines, pictures_NHWC=pictures_NHWC, labels=labels)
        elif point.series not in seen:
            seen.add(point.series)
            series = [p for p in points if p.prefix is not None and p.series == point.series]
            yield from _measure_series(series, engines, pictures_NHWC, labels)


def measure_point(
    point: OperatingPoint,
    engines: Engines,
    *,
    pictures_NHWC: NDArray[np.uint8],
    labels: NDArray[np.int64],
) -> Measured:
    """Run every picture through one point and return its accuracy, bytes and times."""
    computed = _through_device(point, engines, pictures_NHWC)
    device_s = _median_device_s(computed)
    if point.kind is PointKind.LOCAL:
        right = _device_labels(computed) == labels
        filled = with_measurements(point, accuracy=float(right.mean()), sizes=())
        return Measured(filled, right, PointTime(device_s, 0.0))
    sent = [item.sent for item in computed]
    exit_accuracy = None
    if point.kind is PointKind.SPLIT:
        exit_accuracy = float((_device_labels(computed) == labels).mean())
    return _measure_edge(
        point, engines, sent, labels, device_s=device_s, exit_accuracy=exit_accuracy
    )


def _measure_series(
    series: Sequence[OperatingPoint],
    engines: Engines,
    pictures_NHWC: NDArray[np.uint8],
    labels: NDArray[np.int64],
) -> Iterator[Measured]:
    """Measure prefixes of one series, in their order, by the layers that the largest sends.

    Only a few pictures go through the device at every prefix: for its time, and to be sure that
    it sends there what it sends in the largest.
    """
    largest = max(series, key=lambda point: point.prefix or 0)
    computed = _through_device(largest, engines, pictures_NHWC)
    sent = [item.sent for item in computed]
    exit_accuracy = float((_device_labels(computed) == labels).mean())
    for point in series:
        prefix_sent = [layers[: point.prefix] for layers in sent]
        timed = _through_device(point, engines, pictures_NHWC[:NUM_TIMED])
        if [item.sent for item in timed] != prefix_sent[: len(timed)]:
            raise GateError(
                f"point {point.id}: its layers are not the first ones of {largest.id}; this family "
                "would not work, nothing was written"
            )
        yield _measure_edge(
            point,
            engines,
            prefix_sent,
            labels,
            device_s=_median_device_s(timed),
            exit_accuracy=exit_accuracy,
        )


def _measure_edge(
    point: OperatingPoint,
    engines: Engines,
    sent: Sequence[Layers],
    labels: NDArray[np.int64],
    *,
    device_s: float,
    exit_accuracy: float | None,
) -> Measured:
    """Answer what was sent, and put all that is known of the point together."""
    probabilities_NK = edge_probabilities(point, engines.tail, sent)
    right = probabilities_NK.argmax(axis=1) == labels
    sizes = [sum(map(len, layers)) for layers in sent]
    filled = with_measurements(point, accuracy=float(right.mean()), sizes=sizes)
    edge_s = _median_edge_s(point, engines.tail, sent[:NUM_TIMED])
    return Measured(
        filled, right, PointTime(device_s, edge_s), exit_accuracy, np.asarray(sizes, np.int64)
    )


def edge_probabilities(
    point: OperatingPoint, tail: EdgeEngine, sent: Sequence[Layers]
) -> NDArray[np.float32]:
    """Decode and run frames of one point in batches; return probabilities [N,K]."""
    rows = []
    for start in range(0, len(sent), tail.max_batch):
        batch = sent[start : start + tail.max_batch]
        rows += [_first_tensor(point, outcome) for outcome in infer_sent(point, tail, batch)]
    return np.stack(rows)


def sent_by(computed: Computed) -> Layers:
    """Return what a split or offload frame sends."""
    if computed.layers:
        return computed.layers
    assert computed.payload is not None
    return (computed.payload,)


def probabilities_of(answer: Answer | None) -> NDArray[np.float32]:
    """Return the probabilities [K] of an answer of the device: local and split points have one."""
    assert answer is not None
    (probabilities_K,) = answer.outputs.values()
    return np.asarray(probabilities_K, dtype=np.float32)


def infer_sent(
    point: OperatingPoint, tail: EdgeEngine, sent: Sequence[Layers]
) -> list[ItemOutcome]:
    """Answer one batch of frames as the edge would."""
    if point.prefix is None:
        items = [BatchItem(PEER, index, point, payload) for index, (payload,) in enumerate(sent)]
    else:
        items = [
            BatchItem(PEER, index, point, b"", layers=layers) for index, layers in enumerate(sent)
        ]
    return tail.infer(graph_key(point, full_graph=tail.manifest.full_graph), items)


def _first_tensor(point: OperatingPoint, outcome: ItemOutcome) -> NDArray[np.float32]:
    if outcome.tensors is None:
        raise GateError(
            f"point {point.id}: the edge could not answer its own device ({outcome.error}); "
            "this family would not work, nothing was written"
        )
    return np.asarray(outcome.tensors[0].array, dtype=np.float32)


def _through_device(
    point: OperatingPoint, engines: Engines, pictures_NHWC: NDArray[np.uint8]
) -> list[FromDevice]:
    found = []
    for picture_HWC in pictures_NHWC:
        computed = engines.device.compute(point, picture_HWC)
        sent = () if point.kind is PointKind.LOCAL else sent_by(computed)
        label = None
        if computed.answer is not None:
            label = int(probabilities_of(computed.answer).argmax())
        found.append(FromDevice(sent, label, computed.head_s + computed.encode_s))
    return found


def _median_device_s(computed: Sequence[FromDevice]) -> float:
    return float(np.median([item.spent_s for item in computed]))


def _median_edge_s(point: OperatingPoint, tail: EdgeEngine, sent: Sequence[Layers]) -> float:
    outcomes = [infer_sent(point, tail, [layers])[0] for layers in sent]
    return float(np.median([outcome.decode_s + outcome.tail_s for outcome in outcomes]))


def _device_labels(computed: Sequence[FromDevice]) -> NDArray[np.int64]:
    """Return the labels of local and split points, which all have one."""
    return np.asarray([item.label for item in computed], np.int64)
