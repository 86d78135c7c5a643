"""A real family small enough to make in a test: it tells red, green and blue pictures apart.

Made with onnx directly, so that no test of the runtime needs torch. Member `b3r1` sends the three
colours' maps, `b1r1` one map that runs from blue over green to red. On request there is the
progressive member `p3r1`: the colours' maps one by one, green first. The graphs have the same
inputs and outputs as exported ones. Measured values are made up; local points are given low
accuracy, so that a controller prefers the edge.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from headgate.profiles.family import Family, manifest_text, open_family
from headgate.profiles.manifest import (
    NO_BYTES,
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

SIDE_PX = 16
LABELS = ("red", "green", "blue")
# Each row: how the colours mix into one map; then the tail's weights from map means to logits.
MIXES = {
    "b3r1": np.eye(3, dtype=np.float32),
    "b1r1": np.array([[0.5, 0.0, -0.5]], dtype=np.float32),
    "p3r1": np.eye(3, dtype=np.float32)[[1, 0, 2]],
}
PROGRESSIVE = "p3r1"
LAYER_MAPS = (1, 2)
LAYER_LOW, LAYER_SPAN = (0.1, 0.2, 0.05), (0.8, 0.7, 0.9)
OFFSETS = {
    "b3r1": np.zeros(3, np.float32),
    "b1r1": np.array([0.5], np.float32),
    "p3r1": np.zeros(3, np.float32),
}
TAIL_WEIGHTS = {
    "b3r1": 12 * np.eye(3, dtype=np.float32),
    "b1r1": 80 * np.array([[0.8, 0.5, 0.2]], dtype=np.float32),
    "p3r1": 12 * np.eye(3, dtype=np.float32)[[1, 0, 2]],
}
TAIL_BIASES = {
    "b3r1": np.zeros(3, np.float32),
    "b1r1": -40 * np.array([0.64, 0.25, 0.04], np.float32),
    "p3r1": np.array([3.0, 0.0, 3.0], np.float32),  # without red and blue: one of them, if any
}


def tinted_pictures(
    num: int, *, seed: int = 0, side_px: int = SIDE_PX
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return noisy pictures [N,H,W,3] that lean towards one colour, and which."""
    rng = np.random.default_rng(seed)
    labels_N = rng.integers(0, 3, num)
    pictures_NHWC = rng.integers(0, 100, (num, side_px, side_px, 3))
    pictures_NHWC[np.arange(num), :, :, labels_N] += 150
    return pictures_NHWC.astype(np.uint8), labels_N.astype(np.int64)


def write_npz(path: Path, num: int, *, seed: int = 0) -> Path:
    """Write a labelled data set for `npz:PATH`."""
    pictures, labels = tinted_pictures(num, seed=seed)
    np.savez(
        path, train_pictures=pictures, train_labels=labels, val_pictures=pictures, val_labels=labels
    )
    return path


def write_tiny_family(folder: Path, *, progressive: bool = False) -> Family:
    """Write the family and open it, digests checked."""
    members = [name for name in MIXES if progressive or name != PROGRESSIVE]
    models: dict[str, tuple[onnx.ModelProto, tuple[str, ...]]] = {
        "full/model.onnx": (_full(), ("device", "edge"))
    }
    for member in members:
        models[f"heads/{member}/model.onnx"] = (_head(member), ("device",))
        models[f"tails/{member}/1/model.onnx"] = (_tail(member), ("edge",))
    files = {}
    for name, (model, roles) in models.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString())
        files[name] = FileEntry(sha256_file(path), path.stat().st_size, roles)
    (folder / "family.json").write_text(manifest_text(_manifest(files, members)))
    return open_family(folder)


def _manifest(files: dict[str, FileEntry], members: list[str]) -> Manifest:
    prefixes = range(1, len(LAYER_MAPS) + 1) if PROGRESSIVE in members else ()
    points = (
        _split("b3r1", levels=16, top1=0.95, num_bytes=100.0),
        _split("b1r1", levels=5, top1=0.85, num_bytes=20.0),
        OperatingPoint(
            id="jpeg-q50",
            kind=PointKind.OFFLOAD,
            metrics={"top1": 0.9},
            bytes=_stats(600.0),
            picture_format="jpeg",
            picture_quality=50,
            graph="full/model.onnx",
        ),
        OperatingPoint(
            id="local-full",
            kind=PointKind.LOCAL,
            metrics={"top1": 0.6},
            bytes=NO_BYTES,
            graph="full/model.onnx",
        ),
        OperatingPoint(id="local-exit", kind=PointKind.LOCAL, metrics={"top1": 0.5}, member="b1r1"),
        *(_prefix(number) for number in prefixes),
    )
    return Manifest(
        task="classification",
        labels=LABELS,
        input=InputSpec(height_px=SIDE_PX, width_px=SIDE_PX),
        outputs=(TensorSpec("probabilities", "float32", (3,), "class probabilities"),),
        metrics=(MetricSpec("top1", "higher"),),
        members=tuple(_member(name) for name in members),
        points=points,
        full_graph="full/model.onnx",
        files=files,
        times={"test": {point.id: PointTime(0.0003, 0.0003) for point in points}},
    )


def _member(name: str) -> Member:
    num_channels = len(MIXES[name])
    return Member(
        id=name,
        budget=num_channels,
        resolution_factor=1,
        features=TensorSpec("features", "uint8", (num_channels, SIDE_PX // 2, SIDE_PX // 2)),
        head=f"heads/{name}/model.onnx",
        tail=f"tails/{name}/1/model.onnx",
        head_macs=1000,
        tail_macs=9,
        exit_metrics={"top1": 0.5},
        layers=LAYER_MAPS if name == PROGRESSIVE else (),
    )


def _prefix(number: int) -> OperatingPoint:
    whole = _split(PROGRESSIVE, levels=16, top1=0.5 + 0.2 * number, num_bytes=60.0 * number)
    return replace(
        whole,
        id=f"{PROGRESSIVE}-l16-p{number}",
        low=LAYER_LOW,
        span=LAYER_SPAN,
        prefix=number,
    )


def _split(member: str, *, levels: int, top1: float, num_bytes: float) -> OperatingPoint:
    num_channels = len(MIXES[member])
    return OperatingPoint(
        id=f"{member}-l{levels}",
        kind=PointKind.SPLIT,
        metrics={"top1": top1},
        bytes=_stats(num_bytes),
        member=member,
        levels=levels,
        low=(0.0,) * num_channels,
        span=(1.0,) * num_channels,
        codec="zstd",
    )


def _stats(mean: float) -> ByteStats:
    return ByteStats(mean=mean, p5=0.9 * mean, p50=mean, p95=1.1 * mean, max=1.2 * mean)


def _head(member: str) -> onnx.ModelProto:
    mix_CI = MIXES[member]
    # A 2 x 2 mean and a mix of colours in one convolution.
    kernel = np.repeat(np.repeat(mix_CI[:, :, None, None], 2, axis=2), 2, axis=3) / 4
    nodes = [
        *_picture_nodes(),
        helper.make_node(
            "Conv", ["nchw", "kernel", "offset"], ["maps"], kernel_shape=[2, 2], strides=[2, 2]
        ),
        *_quantise_nodes(),
        *_classifier_nodes("maps", "exit_probabilities"),
    ]
    constants: dict[str, npt.ArrayLike] = {
        "scale": np.float32(1 / 255),
        "kernel": kernel.astype(np.float32),
        "offset": OFFSETS[member],
        "zero": np.float32(0),
        "one": np.float32(1),
        "map_axes": np.array([2, 3], np.int64),
        "weight": TAIL_WEIGHTS[member],
        "bias": TAIL_BIASES[member],
    }
    inputs = {"picture": ("N", SIDE_PX, SIDE_PX, 3), **_scales(len(mix_CI))}
    half = SIDE_PX // 2
    outputs = {"features": ("N", len(mix_CI), half, half), "exit_probabilities": ("N", 3)}
    return _model(nodes, constants, inputs, outputs)


def _tail(member: str) -> onnx.ModelProto:
    num_channels = len(MIXES[member])
    nodes = [
        helper.make_node("Cast", ["features"], ["codes"], to=TensorProto.FLOAT),
        *_scale_nodes(),
        helper.make_node("Div", ["span4", "steps"], ["step"]),
        helper.make_node("Mul", ["codes", "step"], ["scaled"]),
        helper.make_node("Add", ["scaled", "low4"], ["maps"]),
        *_classifier_nodes("maps", "probabilities"),
    ]
    constants: dict[str, npt.ArrayLike] = {
        "one": np.float32(1),
        "map_axes": np.array([2, 3], np.int64),
        "weight": TAIL_WEIGHTS[member],
        "bias": TAIL_BIASES[member],
    }
    inputs = {
        "features": ("N", num_channels, SIDE_PX // 2, SIDE_PX // 2),
        **_scales(num_channels),
    }
    return _model(nodes, constants, inputs, {"probabilities": ("N", 3)})


def _full() -> onnx.ModelProto:
    nodes = [*_picture_nodes(), *_classifier_nodes("nchw", "probabilities")]
    constants: dict[str, npt.ArrayLike] = {
        "scale": np.float32(1 / 255),
        "weight": TAIL_WEIGHTS["b3r1"],
        "bias": TAIL_BIASES["b3r1"],
    }
    inputs = {"picture": ("N", SIDE_PX, SIDE_PX, 3)}
    return _model(nodes, constants, inputs, {"probabilities": ("N", 3)})


def _picture_nodes() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", ["picture"], ["float_picture"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float_picture", "scale"], ["unit_picture"]),
        helper.make_node("Transpose", ["unit_picture"], ["nchw"], perm=[0, 3, 1, 2]),
    ]


def _scale_nodes() -> list[onnx.NodeProto]:
    """Give low, span and levels two more axes, and count the steps between levels."""
    return [
        helper.make_node("Unsqueeze", ["low", "map_axes"], ["low4"]),
        helper.make_node("Unsqueeze", ["span", "map_axes"], ["span4"]),
        helper.make_node("Unsqueeze", ["levels", "map_axes"], ["levels4"]),
        helper.make_node("Sub", ["levels4", "one"], ["steps"]),
    ]


def _quantise_nodes() -> list[onnx.NodeProto]:
    return [
        *_scale_nodes(),
        helper.make_node("Sub", ["maps", "low4"], ["above"]),
        helper.make_node("Div", ["above", "span4"], ["unit"]),
        helper.make_node("Clip", ["unit", "zero", "one"], ["clipped"]),
        helper.make_node("Mul", ["clipped", "steps"], ["stepped"]),
        helper.make_node("Round", ["stepped"], ["rounded"]),
        helper.make_node("Cast", ["rounded"], ["features"], to=TensorProto.UINT8),
    ]


def _classifier_nodes(maps: str, output: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("GlobalAveragePool", [maps], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["means"]),
        helper.make_node("MatMul", ["means", "weight"], ["weighed"]),
        helper.make_node("Add", ["weighed", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [output], axis=1),
    ]


def _scales(num_channels: int) -> dict[str, tuple[str | int, ...]]:
    return {"low": ("N", num_channels), "span": ("N", num_channels), "levels": ("N", 1)}


def _model(
    nodes: list[onnx.NodeProto],
    constants: Mapping[str, npt.ArrayLike],
    inputs: Mapping[str, tuple[str | int, ...]],
    outputs: Mapping[str, tuple[str | int, ...]],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [_value(name, shape) for name, shape in inputs.items()],
        [_value(name, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opset = helper.make_opsetid("", 18)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10)


def _value(name: str, shape: tuple[str | int, ...]) -> onnx.ValueInfoProto:
    kind = TensorProto.UINT8 if name in ("picture", "features") else TensorProto.FLOAT
    return helper.make_tensor_value_info(name, kind, list(shape))
