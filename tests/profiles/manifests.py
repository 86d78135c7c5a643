"""A small manifest and its folder, made by hand, for tests that need no graph."""

from pathlib import Path

from headgate.profiles.family import manifest_text
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
from headgate.profiles.storage import sha256_file

FILES = {
    "heads/b2r1/model.onnx": (b"head", ("device",)),
    "tails/b2r1/1/model.onnx": (b"tail", ("edge",)),
    "full/model.onnx": (b"full", ("device", "edge")),
}


def byte_stats(mean: float) -> ByteStats:
    return ByteStats(mean=mean, p5=mean * 0.9, p50=mean, p95=mean * 1.1, max=mean * 1.2)


def small_manifest(files: dict[str, FileEntry]) -> Manifest:
    return Manifest(
        task="classification",
        labels=("cat", "dog"),
        input=InputSpec(height_px=32, width_px=32),
        outputs=(TensorSpec("probabilities", "float32", (2,), "class probabilities"),),
        metrics=(MetricSpec("top1", "higher"),),
        members=(
            Member(
                id="b2r1",
                budget=2,
                resolution_factor=1,
                features=TensorSpec("features", "uint8", (2, 8, 8)),
                head="heads/b2r1/model.onnx",
                tail="tails/b2r1/1/model.onnx",
                head_macs=1000,
                tail_macs=9000,
                exit_metrics={"top1": 0.6},
            ),
        ),
        points=(
            OperatingPoint(
                id="b2r1-l16",
                kind=PointKind.SPLIT,
                metrics={"top1": 0.8},
                bytes=byte_stats(60),
                member="b2r1",
                levels=16,
                low=(0.0, 0.1),
                span=(1.0, 0.5),
                codec="zstd",
            ),
            OperatingPoint(
                id="webp-q50",
                kind=PointKind.OFFLOAD,
                metrics={"top1": 0.9},
                bytes=byte_stats(300),
                picture_format="webp",
                picture_quality=50,
                graph="full/model.onnx",
            ),
            OperatingPoint(
                id="local-full",
                kind=PointKind.LOCAL,
                metrics={"top1": 0.91},
                graph="full/model.onnx",
            ),
            OperatingPoint(
                id="local-exit", kind=PointKind.LOCAL, metrics={"top1": 0.6}, member="b2r1"
            ),
        ),
        full_graph="full/model.onnx",
        files=files,
        times={"here": {"b2r1-l16": PointTime(0.001, 0.005)}},
    )


def write_small_family(folder: Path) -> Manifest:
    entries = {}
    for name, (content, roles) in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        entries[name] = FileEntry(sha256_file(path), len(content), roles)
    manifest = small_manifest(entries)
    (folder / "family.json").write_text(manifest_text(manifest))
    return manifest
