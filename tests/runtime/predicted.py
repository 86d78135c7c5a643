"""A family with predicted points for virtual time, and frames whose integers drift."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from headgate.profiles.manifest import (
    ByteStats,
    Manifest,
    OperatingPoint,
    PointKind,
    PointTime,
    TensorSpec,
)
from runtime.ladders import DEVICE_S, EDGE_S, ladder_manifest, stats

Integers = npt.NDArray[np.uint8]


def predicted_manifest(*, share: float = 0.25) -> Manifest:
    """Return the ladder with a predicted twin of every split point, at that share of its bytes."""
    plain = ladder_manifest(spread=0.0)
    points: list[OperatingPoint] = []
    times = dict(plain.times["test"])
    for point in plain.points:
        points.append(point)
        if point.kind is PointKind.SPLIT:
            points.append(predicted(point, stats(share * point.bytes.mean)))
            times[points[-1].id] = PointTime(DEVICE_S, EDGE_S)
    maps = TensorSpec("features", "uint8", (1, 12, 12))
    members = tuple(replace(member, features=maps) for member in plain.members)
    return replace(plain, points=tuple(points), times={"test": times}, members=members)


def predicted(point: OperatingPoint, num_bytes: ByteStats) -> OperatingPoint:
    return replace(point, id=f"{point.id}-p", bytes=num_bytes, twin=point.id)


def drifting(shape: tuple[int, ...], num: int, *, levels: int, seed: int) -> list[Integers]:
    """Return frames of which each differs from the one before in about one value of ten."""
    rng = np.random.default_rng(seed)
    frames = [rng.integers(0, levels, shape)]
    for _ in range(num - 1):
        steps = rng.integers(-1, 2, shape) * (rng.random(shape) < 0.15)
        frames.append(np.clip(frames[-1] + steps, 0, levels - 1))
    return [frame.astype(np.uint8) for frame in frames]
