"""Manifests made by hand for virtual time: a ladder of points, with and without an early exit."""

from collections.abc import Sequence

from headgate.profiles.ladder import Ladder, LadderPoint
from headgate.profiles.ladder import ladder_manifest as ladder_manifest_of
from headgate.profiles.manifest import (
    ByteStats,
    FileEntry,
    InputSpec,
    Manifest,
    Member,
    MetricSpec,
    OperatingPoint,
    PointKind,
    PointTime,
    TensorSpec,
)

# Payload in bytes and accuracy of each point; made up, but concave as such curves are.
RUNGS = ((2000, 0.68), (5000, 0.705), (10_000, 0.73), (20_000, 0.75), (50_000, 0.772))
LOCAL_ACCURACY = 0.60
EXIT_ACCURACY = 0.55
DEVICE_S, EDGE_S, LOCAL_S = 0.003, 0.002, 0.010


def stats(num_bytes: float, *, spread: float = 0.0) -> ByteStats:
    return ByteStats(
        mean=num_bytes,
        p5=num_bytes * (1 - spread),
        p50=num_bytes,
        p95=num_bytes * (1 + spread),
        max=num_bytes * (1 + spread),
    )


def ladder_manifest(*, spread: float = 0.1, local: bool = True) -> Manifest:
    """Split points of one member (early exit included), one offload point, one local point."""
    member = Member(
        id="b1r1",
        budget=1,
        resolution_factor=1,
        features=TensorSpec("features", "uint8", (1, 4, 4)),
        head="heads/b1r1/model.onnx",
        tail="tails/b1r1/1/model.onnx",
        head_macs=1000,
        tail_macs=9000,
        exit_metrics={"top1": EXIT_ACCURACY},
    )
    points = [
        OperatingPoint(
            id=f"b1r1-l{16 + i}",
            kind=PointKind.SPLIT,
            metrics={"top1": accuracy},
            bytes=stats(num_bytes, spread=spread),
            member="b1r1",
            levels=16 + i,
            low=(0.0,),
            span=(1.0,),
            codec="zstd",
        )
        for i, (num_bytes, accuracy) in enumerate(RUNGS)
    ]
    points.append(
        OperatingPoint(
            id="webp-q80",
            kind=PointKind.OFFLOAD,
            metrics={"top1": 0.78},
            bytes=stats(80_000, spread=spread),
            picture_format="webp",
            picture_quality=80,
            graph="full/model.onnx",
        )
    )
    times = {point.id: PointTime(DEVICE_S, EDGE_S) for point in points}
    if local:
        points.append(
            OperatingPoint(
                id="local-full",
                kind=PointKind.LOCAL,
                metrics={"top1": LOCAL_ACCURACY},
                graph="full/model.onnx",
            )
        )
        times["local-full"] = PointTime(LOCAL_S, 0.0)
    paths = ("heads/b1r1/model.onnx", "tails/b1r1/1/model.onnx", "full/model.onnx")
    return Manifest(
        task="classification",
        labels=("cat", "dog"),
        input=InputSpec(height_px=32, width_px=32),
        outputs=(TensorSpec("probabilities", "float32", (2,)),),
        metrics=(MetricSpec("top1", "higher"),),
        members=(member,),
        points=tuple(points),
        full_graph="full/model.onnx",
        files={path: FileEntry("0" * 64, 1, ("device", "edge")) for path in paths},
        times={"test": times},
    )


def prefixes(
    rungs: Sequence[tuple[float, float]],
    *,
    exit_accuracy: float | None = None,
    device_s: float = DEVICE_S,
    edge_s: float = EDGE_S,
) -> list[LadderPoint]:
    """The prefixes of one progressive member `s`, by bytes and accuracy."""
    return [
        LadderPoint(
            id=f"s-p{prefix}",
            kind=PointKind.SPLIT,
            accuracy=accuracy,
            bytes=num_bytes,
            exit_accuracy=exit_accuracy,
            member="s",
            prefix=prefix,
            device_ms=1e3 * device_s,
            edge_ms=1e3 * edge_s,
        )
        for prefix, (num_bytes, accuracy) in enumerate(rungs, start=1)
    ]


def progressive_manifest(*, local: bool = True, insured: bool = True) -> Manifest:
    """The same bytes and accuracies, as prefixes of one progressive member `s`."""
    points = prefixes(RUNGS, exit_accuracy=EXIT_ACCURACY if insured else None)
    if local:
        points.append(
            LadderPoint(
                id="local",
                kind=PointKind.LOCAL,
                accuracy=LOCAL_ACCURACY,
                device_ms=1e3 * LOCAL_S,
            )
        )
    return ladder_manifest_of(Ladder(tuple(points)))
