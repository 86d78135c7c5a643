"""Claims about headgate.export.pipeline: what lies in an exported family, and when none does."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import weakref
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray

from export.tiny_run import LENET, NUM_PICTURES, TinyRun, write_run
from headgate.export.graphs.deploy import MemberReference
from headgate.export.options import ExportOptions
from headgate.export.pipeline import export_family
from headgate.export.points.exit_confidence import with_confidence
from headgate.export.points.measure import Engines, measure_point
from headgate.export.points.parity_gate import check_member
from headgate.export.samples import HeldOut
from headgate.profiles.datasets import open_dataset
from headgate.profiles.errors import FamilyError, GateError
from headgate.profiles.family import Family, open_family
from headgate.profiles.manifest import InputSpec, OperatingPoint, PointKind
from headgate.profiles.pictures import decode_picture, encode_picture, preprocess
from headgate.runtime.codec.features import decode_features, encode_features
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.edge_engine import EdgeEngine
from headgate.runtime.session.events import Computed
from headgate.train.folder.run_folder import load_run

QUICK = ExportOptions(
    levels=(256, 4), jpeg_qualities=(10, 80), webp_qualities=(5,), num_calibration=16
)
FEW = replace(QUICK, with_times=False, local_full=False)


def silent(line: str) -> None:
    assert "\n" not in line


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one member, cut at the picture itself, with pictures that no r divides."""
    tiny = replace(LENET, split="0", resolution_factor=3, input=InputSpec(17, 20))
    return write_run(tmp_path_factory.mktemp("lenet"), tiny)


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """What the export of `exported` said."""
    return []


@pytest.fixture(scope="module")
def exported(run: Path, lines: list[str]) -> Family:
    """A family of one member at few points, without times and without `local-full`.

    By its clock each point takes two minutes.
    """
    ticks = count(step=120)
    export_family(run, run.parent / "family", FEW, lines.append, clock=lambda: next(ticks))
    return open_family(run.parent / "family")


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """A family of two members of a narrow VGG with batch norm, at every default point."""
    folder = tmp_path_factory.mktemp("vgg")
    written = export_family(write_run(folder), folder / "family", ExportOptions(), silent)
    found = open_family(folder / "family")
    assert found.manifest == written
    return found


def pictures_of(family: Family) -> tuple[list[NDArray[np.uint8]], list[int]]:
    data = open_dataset(f"npz:{family.path.parent / 'colours.npz'}", "val")
    pictures = [preprocess(data.picture(i), family.manifest.input) for i in range(len(data))]
    return pictures, [data.label(i) for i in range(len(data))]


@cache
def session(path: Path) -> ort.InferenceSession:
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"])


def answer(family: Family, point: OperatingPoint, picture: NDArray[np.uint8]) -> tuple[int, int]:
    """Return label and payload size of one point, by nothing but graphs and codecs."""
    manifest = family.manifest
    if point.kind is PointKind.OFFLOAD or point.member is None:
        payload = b""
        if point.picture_format is not None and point.picture_quality is not None:
            picture_format: Literal["jpeg", "webp"] = (
                "webp" if point.picture_format == "webp" else "jpeg"
            )
            payload = encode_picture(picture, picture_format, point.picture_quality)
            picture = decode_picture(payload, max_pixels=picture.size)
        (rows,) = session(family.file("full/model.onnx")).run(None, {"picture": picture[None]})
        return int(rows[0].argmax()), len(payload)
    member = manifest.member(point.member)
    num_channels = member.features.shape[0]
    scales = {
        "low": np.array([point.low or [0.0] * num_channels], np.float32),
        "span": np.array([point.span or [1.0] * num_channels], np.float32),
        "levels": np.array([[point.levels or 2]], np.float32),
    }
    q, exit_rows = session(family.file(member.head)).run(None, {"picture": picture[None], **scales})
    if point.kind is PointKind.LOCAL:
        return int(exit_rows[0].argmax()), 0
    assert point.levels is not None
    assert point.codec is not None
    payload = encode_features(q[0], levels=point.levels, codec=point.codec, table=point.table)
    sent = decode_features(
        payload,
        shape=member.features.shape,
        levels=point.levels,
        codec=point.codec,
        table=point.table,
    )
    (rows,) = session(family.file(member.tail)).run(None, {"features": sent[None], **scales})
    return int(rows[0].argmax()), len(payload)


def test_every_point_was_measured_as_a_plain_loop_measures_it(family: Family) -> None:
    pictures, labels = pictures_of(family)
    for point in family.manifest.points:
        answers = [answer(family, point, picture) for picture in pictures]
        right = [label == expected for (label, _), expected in zip(answers, labels, strict=True)]
        assert point.metrics["top1"] == pytest.approx(float(np.mean(right))), point.id
        sizes = [size for _, size in answers]
        assert point.bytes.mean == pytest.approx(float(np.mean(sizes))), point.id
        assert point.bytes.max == max(sizes), point.id
        assert point.bytes.p5 <= point.bytes.p50 <= point.bytes.p95 <= point.bytes.max


def test_offload_and_local_points_are_always_there(family: Family) -> None:
    manifest = family.manifest
    ids = {point.id for point in manifest.points}
    assert {"local-full", "local-exit", "jpeg-q10", "jpeg-q80", "webp-q5", "webp-q80"} <= ids
    assert manifest.point("local-full").graph == "full/model.onnx"
    assert manifest.point("local-exit").member == "b2r1"  # the cheapest head
    assert manifest.point("jpeg-q80").bytes.mean > manifest.point("jpeg-q10").bytes.mean


def test_each_member_keeps_a_split_point_and_measured_exit(family: Family) -> None:
    for member in family.manifest.members:
        kept = [
            point
            for point in family.manifest.points
            if point.kind is PointKind.SPLIT and point.member == member.id
        ]
        assert kept
        assert 0.0 <= member.exit_metrics["top1"] <= 1.0
        assert all(point.id == f"{member.id}-l{point.levels}" for point in kept)
    manifest = family.manifest
    assert manifest.member("b2r1").exit_metrics == manifest.point("local-exit").metrics


def test_after_the_first_point_an_export_says_how_long_the_others_take(
    exported: Family, lines: list[str]
) -> None:
    measured = [line for line in lines if ": top1 " in line]
    said = lines[lines.index(measured[0]) + 1]
    assert said == (
        f"the other {len(measured) - 1} points take about {2 * len(measured) - 2} min like this, "
        f"on {NUM_PICTURES} pictures each; --limit measures on fewer"
    )
    assert sum("--limit" in line for line in lines) == 1


def test_only_points_that_were_worth_nothing_are_said_to_be_dropped(
    exported: Family, lines: list[str]
) -> None:
    split = [line for line in lines if line.startswith("b2r3-l") and ": top1 " in line]
    assert len(split) == 2
    num_kept = sum(point.kind is PointKind.SPLIT for point in exported.manifest.points)
    dropped = f", {len(split) - num_kept} dropped that a cheaper one of their member equals"
    found = f"{len(exported.manifest.points)} points kept{dropped * (len(split) > num_kept)}"
    assert lines[-1] == f"{exported.path}: {found}"  # `local-full` was not asked for


def test_measuring_does_not_keep_the_integers_of_every_picture(exported: Family) -> None:
    class Watched(DeviceEngine):
        """Counts integers that somebody still holds when the next ones are made."""

        made: ClassVar[list[weakref.ref[NDArray[np.uint8]]]] = []
        most = 0

        def compute(self, *args: Any) -> Computed:
            Watched.most = max(Watched.most, sum(each() is not None for each in self.made))
            computed = super().compute(*args)
            if computed.integers is not None:
                self.made.append(weakref.ref(computed.integers))
            return computed

    pictures, labels = pictures_of(exported)
    engines = Engines(Watched(exported), EdgeEngine(exported))
    point = next(p for p in exported.manifest.points if p.kind is PointKind.SPLIT)
    found = measure_point(point, engines, pictures_NHWC=np.stack(pictures), labels=np.array(labels))
    assert found.accuracy == point.metrics["top1"]
    held = HeldOut(np.stack(pictures), np.array(labels))
    with_confidence(exported.manifest, engines, held, progress=silent)
    assert len(Watched.made) >= 2 * len(pictures)
    assert Watched.most <= 2


def test_a_head_computes_only_the_maps_that_cross(family: Family) -> None:
    for member in family.manifest.members:
        model = onnx.load(family.file(member.head)).graph
        weights = {tensor.name: tuple(tensor.dims) for tensor in model.initializer}
        convolutions = [node for node in model.node if node.op_type == "Conv"]
        widths = [weights[node.input[1]][0] for node in convolutions]
        # Two of the backbone, the encoder, two of the early exit.
        assert sorted(widths)[0] == member.budget
        assert 16 not in widths[2:]
        assert member.features.shape == (member.budget, 8, 8)


def test_no_batch_norm_is_left_anywhere(family: Family) -> None:
    for name in family.manifest.files:
        if name.endswith(".onnx"):
            nodes = onnx.load(family.file(name)).graph.node
            assert "BatchNormalization" not in {node.op_type for node in nodes}, name


def test_a_smaller_budget_is_a_cheaper_head(family: Family) -> None:
    small, large = family.manifest.member("b2r1"), family.manifest.member("b8r1")
    encoder = 16 * 9 * 8 * 8  # multiply-adds per map: 3 x 3 from 16 maps, at 8 x 8
    assert large.head_macs - small.head_macs == 6 * encoder
    assert large.tail_macs > small.tail_macs


def test_tails_are_a_triton_repository(family: Family) -> None:
    for member in family.manifest.members:
        text = family.file(f"tails/{member.id}/config.pbtxt").read_text()
        assert f'name: "{member.id}"' in text
        assert f"dims: [ {member.budget}, 8, 8 ]" in text
        assert member.tail == f"tails/{member.id}/1/model.onnx"


def test_a_device_needs_no_tails_and_an_edge_no_heads(family: Family) -> None:
    roles = {name: entry.roles for name, entry in family.manifest.files.items()}
    assert roles["heads/b2r1/model.onnx"] == ("device",)
    assert roles["tails/b2r1/1/model.onnx"] == ("edge",)
    assert roles["full/model.onnx"] == ("device", "edge")


def test_times_are_filed_under_a_kind_of_machine_for_every_point(family: Family) -> None:
    ((machine, times),) = family.manifest.times.items()
    assert machine.endswith("core")
    assert times.keys() == {point.id for point in family.manifest.points}
    assert all(time.device_s > 0 for time in times.values())
    assert times["local-full"].edge_s == 0.0
    assert times["jpeg-q10"].edge_s > 0.0


def test_provenance_says_what_it_was_made_of_without_any_path(family: Family) -> None:
    provenance = family.manifest.provenance
    run_json = family.path.parent / "run" / "run.json"
    assert provenance["run_sha256"] == hashlib.sha256(run_json.read_bytes()).hexdigest()
    assert provenance["validation_pictures"] == str(NUM_PICTURES)
    assert provenance["data"] == "npz"
    assert str(family.path.parent) not in (family.path / "family.json").read_text()


def test_two_exports_of_one_run_have_one_digest(
    run: Path, exported: Family, tmp_path: Path
) -> None:
    again = export_family(run, tmp_path / "again", FEW, silent)
    assert again.digest == exported.manifest.digest
    assert (tmp_path / "again" / "family.json").read_bytes() == (
        exported.path / "family.json"
    ).read_bytes()


def test_without_local_full_a_device_does_not_need_the_whole_network(
    exported: Family, tmp_path: Path
) -> None:
    folder, manifest = tmp_path / "family", exported.manifest
    shutil.copytree(exported.path, folder)
    assert "local-full" not in {point.id for point in manifest.points}
    EdgeEngine(open_family(folder))  # has it, for pictures
    shutil.rmtree(folder / "full")
    device = DeviceEngine(open_family(folder, roles=("device",)))
    assert device.manifest == manifest
    with pytest.raises(FamilyError, match=r"full/model\.onnx: is missing"):
        open_family(folder, roles=("edge",))


@pytest.mark.parametrize(
    "name",
    [
        "bottleneck.encoder.weight",
        "bottleneck.f_hat",
        "bottleneck.decoder.weight",
        "tail.features.8.weight",
    ],
)
def test_one_wrong_weight_of_a_member_fails_the_gate(family: Family, name: str) -> None:
    model = load_run(family.path.parent / "run").member("b8r1")
    assert model.selected is not None
    with torch.no_grad():
        model.get_parameter(name)[model.selected[0]] -= 4.0
    pictures_NHWC = np.stack(pictures_of(family)[0])
    engines = Engines(DeviceEngine(family), EdgeEngine(family))
    with pytest.raises(GateError, match=r"point b8r1-l\d+: .* not the same"):
        check_member(
            family.manifest,
            MemberReference(model),
            engines,
            member_id="b8r1",
            pictures_NHWC=pictures_NHWC,
        )


def test_a_split_at_the_picture_with_a_resolution_factor_exports(exported: Family) -> None:
    member = exported.manifest.member("b2r3")
    assert member.features.shape == (2, 7, 8)
    assert exported.manifest.input == InputSpec(17, 20)


def test_a_graph_that_answers_differently_fails_and_nothing_is_written(tmp_path: Path) -> None:
    tiny = TinyRun("export.drifting:build", 1.0, "relu", budgets=(2,), input=InputSpec(8, 8))
    run = write_run(tmp_path, tiny)
    (tmp_path / "family").mkdir()
    with pytest.raises(GateError, match=r"the whole network: .* nothing was written"):
        export_family(run, tmp_path / "family", replace(QUICK, force=True), silent)
    assert GateError.exit_code == 3
    assert list((tmp_path / "family").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"colours.npz", "run", "family"}


def test_a_network_that_answers_otherwise_than_after_its_training_is_told_of(
    run: Path, exported: Family, lines: list[str], tmp_path: Path
) -> None:
    said = "did the code of the network change"
    assert exported.manifest.points
    assert not any(said in line for line in lines)
    shutil.copytree(run, tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    record.pop("digest", None)
    record["backbone"]["accuracy"] = abs(record["backbone"]["accuracy"] - 0.25)
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    changed: list[str] = []
    export_family(tmp_path / "run", tmp_path / "family", FEW, changed.append)
    assert sum(said in line for line in changed) == 1


KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from headgate.export.options import ExportOptions
from headgate.export.pipeline import export_family

def progress(line):
    if line.startswith("full: writing"):
        os.kill(os.getpid(), signal.SIGKILL)

options = ExportOptions(levels=(4,), num_calibration=4, force=True)
export_family(Path(sys.argv[1]), Path(sys.argv[2]), options, progress)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_export_leaves_the_old_family(run: Path, exported: Family, tmp_path: Path) -> None:
    target = tmp_path / "family"
    shutil.copytree(exported.path, target)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_WRITING, str(run), str(target)],
        check=False,
        capture_output=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert open_family(target).manifest == exported.manifest


def test_a_manifest_is_readable_json(family: Family) -> None:
    value = json.loads((family.path / "family.json").read_text())
    assert value["schema"] == 1
    assert value["metrics"] == [{"name": "top1", "direction": "higher"}]
