"""Time rows one frame at a time, in turns: round after round, each round another picture."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headgate.export.bench.rates.rates_candidates import Candidate
from headgate.export.points.measure import Engines, Layers, infer_sent, sent_by
from headgate.profiles.manifest import PointKind, PointTime

NUM_TIMED = 24


def frame_times(
    candidates: Sequence[Candidate], engines: Engines, pictures_NHWC: NDArray[np.uint8]
) -> dict[str, PointTime]:
    """Return median seconds on device and edge per row, with coding and without transport."""
    device_s: dict[str, list[float]] = {candidate.id: [] for candidate in candidates}
    edge_s: dict[str, list[float]] = {candidate.id: [] for candidate in candidates}
    for picture_HWC in pictures_NHWC[:NUM_TIMED]:
        for candidate in candidates:
            sent, spent_s = _device(candidate, engines, picture_HWC)
            device_s[candidate.id].append(spent_s)
            edge_s[candidate.id].append(_edge(candidate, engines, sent))
    return {
        key: PointTime(float(np.median(device_s[key])), float(np.median(edge_s[key])))
        for key in device_s
    }


def _device(
    candidate: Candidate, engines: Engines, picture_HWC: NDArray[np.uint8]
) -> tuple[Layers | None, float]:
    """Return what is sent, if anything, and the seconds it took."""
    if candidate.is_picture:
        started_s = time.perf_counter()
        payload = candidate.encode(picture_HWC)
        return (payload,), time.perf_counter() - started_s
    computed = engines.device.compute(candidate.point, picture_HWC)
    spent_s = computed.head_s + computed.encode_s
    if candidate.point.kind is PointKind.LOCAL:
        return None, spent_s
    return sent_by(computed), spent_s


def _edge(candidate: Candidate, engines: Engines, sent: Layers | None) -> float:
    if sent is None:
        return 0.0
    (outcome,) = infer_sent(candidate.point, engines.tail, [sent])
    return outcome.decode_s + outcome.tail_s
