"""Claims about exporting a progressive member: every prefix a point, measured layer by layer."""

import shutil
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray

from export.tiny_run import PLAIN_CUT, PROGRESSIVE, TinyRun, write_run
from headgate.export.graphs.deploy import MemberReference, deploy
from headgate.export.graphs.onnx_files import module_to_onnx
from headgate.export.options import ExportOptions
from headgate.export.pipeline import export_family
from headgate.export.points.exit_confidence import with_confidence
from headgate.export.points.measure import Engines, measure_points
from headgate.export.points.parity_gate import check_member, compared_points
from headgate.export.samples import HeldOut
from headgate.profiles.datasets import open_dataset
from headgate.profiles.errors import FamilyError, GateError, UsageError
from headgate.profiles.family import Family, open_family
from headgate.profiles.manifest import Member, OperatingPoint, PointKind
from headgate.profiles.manifest_json import manifest_from_json, manifest_to_json
from headgate.profiles.pictures import preprocess
from headgate.profiles.progressive import layer_bounds
from headgate.runtime.codec.features import decode_features, encode_features
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.edge_engine import EdgeEngine
from headgate.train.folder.run_folder import load_run
from headgate.train.networks.progressive_model import ProgressiveModel
from headgate.train.progressive import ProgressiveConfig
from train import tiny_runs

QUICK = ExportOptions(levels=(16, 4), jpeg_qualities=(20,), webp_qualities=(), num_calibration=16)


def silent(line: str) -> None:
    assert "\n" not in line


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((PROGRESSIVE, QUICK), id="bottleneck"),
        pytest.param((PLAIN_CUT, replace(QUICK, codec="zstd")), id="plain cut"),
    ],
)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    tiny: TinyRun
    tiny, options = request.param
    folder = tmp_path_factory.mktemp("progressive")
    written = export_family(write_run(folder, tiny), folder / "family", options, silent)
    found = open_family(folder / "family")
    assert found.manifest == written
    return found


def member_of(family: Family) -> Member:
    (member,) = family.manifest.members
    return member


def series_of(family: Family) -> dict[int, list[OperatingPoint]]:
    """Return the prefixes of each number of levels, as the manifest has them."""
    found: dict[int, list[OperatingPoint]] = {}
    for point in family.manifest.points:
        if point.kind is PointKind.SPLIT:
            found.setdefault(point.levels or 0, []).append(point)
    return found


def all_prefixes(family: Family) -> Family:
    """Return the family with a point for every prefix, those that export cut off included."""
    member = member_of(family)
    points = [
        replace(prefixes[0], id=f"{member.id}-l{levels}-p{prefix}", prefix=prefix)
        for levels, prefixes in series_of(family).items()
        for prefix in range(1, len(member.layers) + 1)
    ]
    others = [p for p in family.manifest.points if p.kind is not PointKind.SPLIT]
    changed = replace(family.manifest, points=(*points, *others), times={})
    return Family(family.path, manifest_from_json(manifest_to_json(changed), where="family.json"))


def pictures_of(family: Family) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    data = open_dataset(f"npz:{family.path.parent / 'colours.npz'}", "val")
    size = family.manifest.input
    pictures = np.stack([preprocess(data.picture(i), size) for i in range(len(data))])
    return pictures, np.array([data.label(i) for i in range(len(data))])


def trained(family: Family) -> ProgressiveModel:
    model = load_run(family.path.parent / "run").member(member_of(family).id)
    assert isinstance(model, ProgressiveModel)
    return model


def engines_of(family: Family) -> Engines:
    return Engines(DeviceEngine(family), EdgeEngine(family))


@cache
def session(path: Path) -> ort.InferenceSession:
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"])


def payloads(family: Family, point: OperatingPoint, picture: NDArray[np.uint8]) -> list[bytes]:
    """Return the layers that a point sends of a picture, by nothing but graph and codec."""
    member = member_of(family)
    feeds = {
        "picture": picture[None],
        "low": np.array([point.low], np.float32),
        "span": np.array([point.span], np.float32),
        "levels": np.array([[point.levels]], np.float32),
    }
    q_NCHW, _ = session(family.file(member.head)).run(None, feeds)
    assert point.levels is not None
    assert point.codec is not None
    bounds = layer_bounds(member)
    return [
        encode_features(
            q_NCHW[0][begin:end], levels=point.levels, codec=point.codec, table=point.table
        )
        for begin, end in pairwise(bounds[: (point.prefix or 0) + 1])
    ]


def test_every_prefix_up_to_the_largest_is_a_point_and_shares_what_a_layer_means(
    family: Family,
) -> None:
    member = member_of(family)
    entry = load_run(family.path.parent / "run").entry(member.id)
    assert member.layers == entry.layers
    assert entry.order not in (entry.selected, tuple(reversed(entry.selected)))
    for levels, prefixes in series_of(family).items():
        ids = [point.id for point in prefixes]
        assert ids == [f"{member.id}-l{levels}-p{n}" for n in range(1, len(prefixes) + 1)]
        assert len({point.series for point in prefixes}) == 1
        assert len(prefixes[0].low) == len(prefixes[0].span) == member.features.shape[0]


def test_some_series_has_more_than_one_prefix(family: Family) -> None:
    assert max(len(prefixes) for prefixes in series_of(family).values()) >= 2


def test_bytes_of_a_prefix_are_those_of_its_layers_together(family: Family) -> None:
    pictures, _ = pictures_of(family)
    for prefixes in series_of(family).values():
        sent = [payloads(family, prefixes[-1], picture) for picture in pictures]
        for count, point in enumerate(prefixes, start=1):
            sizes = [sum(map(len, layers[:count])) for layers in sent]
            assert point.bytes.mean == pytest.approx(float(np.mean(sizes))), point.id
            assert point.bytes.p95 == pytest.approx(float(np.percentile(sizes, 95))), point.id
            assert point.bytes.max == max(sizes), point.id


def test_a_prefix_is_as_accurate_as_the_trained_member_with_zeros_for_the_absent_maps(
    family: Family,
) -> None:
    model = trained(family)
    assert model.layer_plan is not None
    order = list(model.layer_plan.order)
    pictures, labels = pictures_of(family)
    x_NCHW = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    for levels, prefixes in series_of(family).items():
        model.code_range.low_P[order] = torch.tensor(prefixes[0].low)
        model.code_range.span_P[order] = torch.tensor(prefixes[0].span)
        for point in prefixes:
            assert point.prefix is not None
            with torch.no_grad():
                output = model(x_NCHW, levels=levels, prefixes=(point.prefix,))
            right_N = output.logits_BK.argmax(dim=1).numpy() == labels
            # A value that lies between two integers may fall either way: one picture may differ.
            assert point.metrics["top1"] == pytest.approx(right_N.mean(), abs=1.01 / len(labels))


def test_prefixes_measured_together_are_as_each_is_alone(family: Family) -> None:
    family = all_prefixes(family)
    pictures, labels = pictures_of(family)
    engines = engines_of(family)
    points = [point for point in family.manifest.points if point.kind is PointKind.SPLIT]
    together = list(
        measure_points(points, engines, pictures_NHWC=pictures[:12], labels=labels[:12])
    )
    assert [item.point.id for item in together] == [point.id for point in points]
    for point, item in zip(points, together, strict=True):
        (alone,) = measure_points([point], engines, pictures_NHWC=pictures[:12], labels=labels[:12])
        np.testing.assert_array_equal(alone.right, item.right)
        np.testing.assert_array_equal(alone.sizes, item.sizes)
        assert alone.exit_accuracy == item.exit_accuracy


def test_the_gate_looks_at_the_first_the_middle_and_the_last_prefix_of_each_series(
    family: Family,
) -> None:
    everything = all_prefixes(family).manifest
    member = member_of(family)
    compared = {point.id for point in compared_points(everything, member.id)}
    kept = series_of(family)
    assert 4 in kept
    assert compared == {f"{member.id}-l{levels}-p{n}" for levels in kept for n in (1, 2, 3)}


@pytest.mark.parametrize("wrong", ["neighbours swapped", "reversed"])
def test_another_order_than_the_trained_one_fails_the_gate(family: Family, wrong: str) -> None:
    model = trained(family)
    assert model.layer_plan is not None
    order = list(model.layer_plan.order)
    order = order[::-1] if wrong == "reversed" else [order[1], order[0], *order[2:]]
    with pytest.raises(GateError, match=r"point .*-l(16|4)-p1: .*integers"):
        check_member(
            family.manifest,
            MemberReference(model, order),
            engines_of(family),
            member_id=member_of(family).id,
            pictures_NHWC=pictures_of(family)[0],
        )


def test_a_tail_that_takes_maps_in_another_order_than_the_head_emits_fails_the_gate(
    family: Family, tmp_path: Path
) -> None:
    model = trained(family)
    assert model.layer_plan is not None
    order = model.layer_plan.order
    member = member_of(family)
    wrong = deploy(model, (*order[1:], order[0])).tail
    num_maps = member.features.shape[0]
    scales = (torch.zeros(2, num_maps), torch.ones(2, num_maps), torch.full((2, 1), 16.0))
    graph = module_to_onnx(
        wrong,
        (torch.zeros(2, *member.features.shape, dtype=torch.uint8), *scales),
        input_names=wrong.input_names,
        output_names=wrong.output_names,
        where=member.id,
    )
    shutil.copytree(family.path, tmp_path / "family")
    (tmp_path / "family" / member.tail).write_bytes(graph)
    spoilt = Family(tmp_path / "family", family.manifest)
    with pytest.raises(GateError, match=r"point .*: .*probabilities differ"):
        check_member(
            spoilt.manifest,
            MemberReference(model, order),
            engines_of(spoilt),
            member_id=member.id,
            pictures_NHWC=pictures_of(family)[0],
        )


def test_a_flipped_byte_in_a_graph_or_the_manifest_is_refused(
    family: Family, tmp_path: Path
) -> None:
    member = member_of(family)
    for name in (member.head, member.tail, "family.json"):
        folder = tmp_path / name.replace("/", "-")
        shutil.copytree(family.path, folder)
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
        with pytest.raises(FamilyError):
            open_family(folder)


def test_layers_decode_alone_whatever_became_of_the_others(family: Family) -> None:
    member = member_of(family)
    point = family.manifest.points[0]
    pictures, _ = pictures_of(family)
    largest = replace(point, prefix=len(member.layers))
    assert point.levels is not None
    assert point.codec is not None
    for layer, payload in enumerate(payloads(family, largest, pictures[0])):
        q_CHW = decode_features(
            payload,
            shape=(member.layers[layer], *member.features.shape[1:]),
            levels=point.levels,
            codec=point.codec,
            table=point.table,
        )
        assert q_CHW.max() < point.levels


def test_triton_config_takes_all_maps(family: Family) -> None:
    member = member_of(family)
    text = family.file(f"tails/{member.id}/config.pbtxt").read_text()
    num_maps, height, width = member.features.shape
    assert f"dims: [ {num_maps}, {height}, {width} ]" in text


def test_exits_are_calibrated_for_every_prefix(family: Family) -> None:
    held = HeldOut(*pictures_of(family))
    manifest = with_confidence(family.manifest, engines_of(family), held, progress=silent)
    split = [point for point in manifest.points if point.kind is PointKind.SPLIT]
    assert all(point.confidence is not None for point in split)
    assert manifest_from_json(manifest_to_json(manifest), where="family.json") == manifest


def test_what_a_family_cannot_hold_is_refused_before_any_work(tmp_path: Path) -> None:
    pictures = tiny_runs.write_pictures(tmp_path / "t.npz")
    config = ProgressiveConfig(method="clio", slice_maps=2, order="natural", many_tails=True,
                               prefix_weights=(0.5, 0.5), epochs=1)  # fmt: skip
    run = tiny_runs.train_tiny(
        pictures, tmp_path / "run", budgets=(4,), epochs=1, member_epochs=1, progressive=config
    )
    with pytest.raises(UsageError, match=r"member c4r1 has 2 tails.*without --many-tails"):
        export_family(run.path, tmp_path / "family", QUICK, silent)
    assert not (tmp_path / "family").exists()


def test_a_video_is_refused_for_a_member_with_layers(family: Family, tmp_path: Path) -> None:
    options = replace(QUICK, video="film.mp4")
    with pytest.raises(UsageError, match=r"--video: member n\dr1 .* sent in layers"):
        export_family(family.path.parent / "run", tmp_path / "family", options, silent)
    assert list(tmp_path.iterdir()) == []
