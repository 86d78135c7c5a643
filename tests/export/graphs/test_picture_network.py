"""Claims about the whole network for pictures: where an exported family uses it, and where not."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from export.tiny_run import LENET, write_run
from headgate.export.family_writer import PICTURES_GRAPH, write_full
from headgate.export.graphs.deploy import PlainReference
from headgate.export.graphs.graphs import FullGraph
from headgate.export.graphs.picture_network import with_picture_network
from headgate.export.options import ExportOptions
from headgate.export.pipeline import export_family
from headgate.export.samples import HeldOut, load_samples
from headgate.profiles.errors import GateError
from headgate.profiles.family import Family, open_family
from headgate.profiles.manifest import Manifest, PointKind
from headgate.profiles.parse import unparse
from headgate.profiles.storage import canonical_json, sha256_file
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.edge_engine import EdgeEngine
from headgate.train.folder.run_folder import Run, load_run
from headgate.train.folder.run_record import SideEntry
from headgate.train.pictures.data import load_training_data

QUICK = ExportOptions(
    levels=(4,), jpeg_qualities=(10, 80), webp_qualities=(5,), num_calibration=8, with_times=False
)


def silent(line: str) -> None:
    assert "\n" not in line


def add_picture_network(path: Path, *, steps: int) -> None:
    """Give a run a second whole network: the plain one after some steps."""
    run = load_run(path)
    network = run.backbone().train()
    data = load_training_data(run.record.dataset.spec, run.input)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(steps):
        x_BCHW = data.train_pictures_NCHW.float() / 255
        loss = nn.functional.cross_entropy(network(x_BCHW), data.train_labels_N)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    file = "weights/pictures.safetensors"
    save_file(network.state_dict(), path / file)
    entry = SideEntry(file, sha256_file(path / file), 0.5, plain_accuracy=0.4, epochs=1)
    record = replace(run.record, sides={"pictures": entry})
    (path / "run.json").write_bytes(canonical_json(unparse(record)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run and its family; its plain network is untrained, so the other one is better."""
    folder = tmp_path_factory.mktemp("tuned")
    run = write_run(folder, replace(LENET, steps=0))
    add_picture_network(run, steps=20)
    export_family(run, folder / "family", QUICK, silent)
    return folder


def asked_of_both(run: Run, family: Family, *, folder: Path, reference: nn.Module) -> Manifest:
    """Return a manifest as if its points had been the plain network's; `folder` has the graphs."""
    points = tuple(
        replace(point, graph=family.manifest.full_graph)
        if point.kind is PointKind.OFFLOAD
        else point
        for point in family.manifest.points
    )
    samples = load_samples(run, data=None, num_calibration=8, limit=None)
    assert len(samples.held_out.labels) > 0
    return with_picture_network(
        replace(family.manifest, points=points),
        folder,
        PlainReference(reference),
        held_out=samples.held_out,
        parity_NHWC=samples.pictures,
        threads=1,
        progress=silent,
    )


def test_a_picture_graph_unlike_the_trained_network_is_refused(folder: Path) -> None:
    """Asked with the plain network as the reference, which is another one."""
    run, family = load_run(folder / "run"), open_family(folder / "family")
    with pytest.raises(GateError, match="the whole network for pictures"):
        with_picture_network(
            family.manifest,
            family.path,
            PlainReference(run.backbone()),
            held_out=HeldOut(np.zeros((0, 16, 16, 3), np.uint8), np.zeros(0, np.int64)),
            parity_NHWC=np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8),
            threads=1,
            progress=silent,
        )


def test_points_are_answered_by_the_network_for_pictures_where_it_is_better(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "family", tmp_path / "family")
    family = open_family(tmp_path / "family")
    manifest = family.manifest
    offload = [point for point in manifest.points if point.kind is PointKind.OFFLOAD]
    assert {point.graph for point in offload} == {"full/pictures.onnx"}
    assert manifest.files["full/pictures.onnx"].roles == ("edge",)
    assert manifest.point("local-full").graph == "full/model.onnx"
    for point in offload:
        assert point.metrics["top1"] > manifest.point("local-full").metrics["top1"] + 0.2
    # What was measured is what an edge answers; a device needs no such file.
    EdgeEngine(family)
    (family.path / "full" / "pictures.onnx").unlink()
    DeviceEngine(open_family(family.path, roles=("device",)))


def test_a_network_for_pictures_that_is_no_better_is_left_out(folder: Path, tmp_path: Path) -> None:
    """The tuned network is the plain one here, and the one for pictures answers all alike."""
    run, family = load_run(folder / "run"), open_family(folder / "family")
    full = tmp_path / "family" / "full"
    shutil.copytree(family.path / "full", full)
    (full / "pictures.onnx").rename(full / "model.onnx")
    bad = run.backbone().eval()
    for parameter in bad.parameters():
        nn.init.zeros_(parameter)
    write_full(tmp_path / "family", full=FullGraph(bad), picture=run.input, name=PICTURES_GRAPH)
    manifest = asked_of_both(run, family, folder=tmp_path / "family", reference=bad)
    offload = [point for point in manifest.points if point.kind is PointKind.OFFLOAD]
    assert {point.graph for point in offload} == {"full/model.onnx"}
    assert "full/pictures.onnx" not in manifest.files
    assert not (full / "pictures.onnx").exists()


def test_where_both_are_right_as_often_the_network_for_pictures_answers(
    folder: Path, tmp_path: Path
) -> None:
    """The plain one learnt from the pictures that are asked; here both are the tuned one."""
    run, family = load_run(folder / "run"), open_family(folder / "family")
    full = tmp_path / "family" / "full"
    shutil.copytree(family.path / "full", full)
    shutil.copyfile(full / "pictures.onnx", full / "model.onnx")
    tuned = run.picture_network()
    assert tuned is not None
    manifest = asked_of_both(run, family, folder=tmp_path / "family", reference=tuned)
    assert manifest == family.manifest
