"""Write the files of a family folder: graphs, Triton's configs, and the manifest over all of them.

heads/<member>/model.onnx      device
tails/<member>/1/model.onnx    edge; a Triton model repository
tails/<member>/config.pbtxt
full/model.onnx                both: the edge for pictures, the device for local-full
full/pictures.onnx             edge: tuned on compressed pictures, where some point wants it
family.json
"""

from pathlib import Path

import torch

from headgate.export.graphs.deploy import Deployed
from headgate.export.graphs.graphs import FullGraph, HeadGraph, TailGraph
from headgate.export.graphs.onnx_files import count_macs, module_to_onnx
from headgate.export.triton import triton_config
from headgate.profiles.family import MANIFEST_NAME, manifest_text
from headgate.profiles.manifest import (
    FileEntry,
    InputSpec,
    Manifest,
    Member,
    TensorSpec,
)
from headgate.profiles.storage import naming, sha256_file, write_atomic

FULL_GRAPH = "full/model.onnx"
PICTURES_GRAPH = "full/pictures.onnx"
# A batch of one would be taken for a constant by the exporter.
EXAMPLE_BATCH = 2

_ROLES = {"heads": ("device",), "tails": ("edge",), "full": ("device", "edge")}


def probabilities_spec(num_classes: int) -> TensorSpec:
    """Return what every graph answers with."""
    return TensorSpec(
        "probabilities", "float32", (num_classes,), meaning="probability of each label"
    )


def write_member(
    folder: Path,
    *,
    member_id: str,
    budget: int,
    resolution_factor: int,
    layers: tuple[int, ...],
    deployed: Deployed,
    picture: InputSpec,
    num_classes: int,
) -> Member:
    """Write the pair of graphs of one member; return its entry, without exit metrics yet.

    `layers` are those of a progressive member.
    """
    head_file, tail_file = f"heads/{member_id}/model.onnx", f"tails/{member_id}/1/model.onnx"
    scales_N = (
        torch.zeros(EXAMPLE_BATCH, budget),
        torch.ones(EXAMPLE_BATCH, budget),
        torch.full((EXAMPLE_BATCH, 1), 16.0),
    )
    pictures_NHWC = _example_pictures(picture)
    with torch.no_grad():
        features_NCHW, _ = deployed.head(pictures_NHWC, *scales_N)
    features = TensorSpec(
        "features", "uint8", tuple(features_NCHW.shape[1:]), meaning="quantised code, channel first"
    )
    head_macs = _write_graph(folder, head_file, deployed.head, (pictures_NHWC, *scales_N))
    tail_macs = _write_graph(folder, tail_file, deployed.tail, (features_NCHW, *scales_N))
    _write_triton(folder / "tails" / member_id, features=features, num_classes=num_classes)
    return Member(
        id=member_id,
        budget=budget,
        resolution_factor=resolution_factor,
        features=features,
        head=head_file,
        tail=tail_file,
        head_macs=head_macs,
        tail_macs=tail_macs,
        exit_metrics={},
        layers=layers,
    )


def write_full(
    folder: Path, *, full: FullGraph, picture: InputSpec, name: str = FULL_GRAPH
) -> None:
    """Write a whole network: the plain one, or under another name another one."""
    _write_graph(folder, name, full, (_example_pictures(picture),))


def list_files(folder: Path) -> dict[str, FileEntry]:
    """Return an entry for every file written so far, with who needs it."""
    entries = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != MANIFEST_NAME:
            roles = ("edge",) if name == PICTURES_GRAPH else _ROLES[name.partition("/")[0]]
            entries[name] = FileEntry(sha256_file(path), path.stat().st_size, roles)
    return entries


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write family.json."""
    write_atomic(folder / MANIFEST_NAME, manifest_text(manifest))


def _write_graph(
    folder: Path,
    name: str,
    module: HeadGraph | TailGraph | FullGraph,
    example: tuple[torch.Tensor, ...],
) -> int:
    """Write one graph and return the multiply-adds it spends on one picture."""
    path = folder / name
    data = module_to_onnx(
        module,
        example,
        input_names=module.input_names,
        output_names=module.output_names,
        where=name,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path):
        path.write_bytes(data)
    return count_macs(data)


def _write_triton(folder: Path, *, features: TensorSpec, num_classes: int) -> None:
    num_channels = features.shape[0]
    inputs = (
        features,
        TensorSpec("low", "float32", (num_channels,)),
        TensorSpec("span", "float32", (num_channels,)),
        TensorSpec("levels", "float32", (1,)),
    )
    text = triton_config(folder.name, inputs=inputs, outputs=(probabilities_spec(num_classes),))
    write_atomic(folder / "config.pbtxt", text)


def _example_pictures(picture: InputSpec) -> torch.Tensor:
    return torch.zeros(EXAMPLE_BATCH, picture.height_px, picture.width_px, 3, dtype=torch.uint8)
