from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from headgate.profiles.errors import UsageError
from headgate.profiles.family import Family
from headgate.profiles.manifest import FileEntry
from headgate.profiles.pictures import decode_picture, encode_picture
from headgate.profiles.storage import sha256_file
from headgate.runtime.edge.edge_events import FULL_GRAPH_KEY, BatchItem
from headgate.runtime.networks import edge_engine
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.edge_engine import EdgeEngine
from headgate.runtime.networks.graphs import (
    CPU_PROVIDER,
    CUDA_PROVIDER,
    EngineOptions,
    Graph,
)
from headgate.runtime.wire.messages import RejectReason
from runtime.tiny_family import (
    LAYER_LOW,
    LAYER_SPAN,
    PROGRESSIVE,
    TAIL_BIASES,
    TAIL_WEIGHTS,
    tinted_pictures,
    write_tiny_family,
)


def item(device: DeviceEngine, point_id: str, picture: np.ndarray, frame_id: int = 0) -> BatchItem:
    point = device.manifest.point(point_id)
    payload = device.compute(point, picture).payload
    assert payload is not None
    return BatchItem(b"peer", frame_id, point, payload)


def layered_item(device: DeviceEngine, num: int, picture: np.ndarray) -> BatchItem:
    """Return a frame planned as all layers of which `num` arrived."""
    layers = device.compute(device.manifest.point(f"{PROGRESSIVE}-l16-p2"), picture).layers
    assert len(layers) == 2
    point = device.manifest.point(f"{PROGRESSIVE}-l16-p{num}")
    return BatchItem(b"peer", num, point, b"", layers=layers[:num])


def layered_reference(features_CHW: np.ndarray, num_maps: int) -> np.ndarray:
    """Return the probabilities of the progressive tail from its first maps, in NumPy."""
    low_C, span_C = np.array(LAYER_LOW), np.array(LAYER_SPAN)
    maps_CHW = features_CHW / 15 * span_C[:, None, None] + low_C[:, None, None]
    maps_CHW[num_maps:] = 0.0
    logits = maps_CHW.mean(axis=(1, 2)) @ TAIL_WEIGHTS[PROGRESSIVE] + TAIL_BIASES[PROGRESSIVE]
    exponentials = np.exp(logits - logits.max())
    return np.asarray(exponentials / exponentials.sum())


@pytest.mark.parametrize("point_id", ["b3r1-l16", "b1r1-l5", "jpeg-q50"])
def test_what_the_device_sends_is_answered_rightly_by_the_edge(
    device: DeviceEngine, tails: EdgeEngine, point_id: str
) -> None:
    pictures, labels = tinted_pictures(20, seed=1)
    key = device.manifest.point(point_id).member or FULL_GRAPH_KEY
    for picture, label in zip(pictures, labels, strict=True):
        (outcome,) = tails.infer(key, [item(device, point_id, picture)])
        assert outcome.error is None
        assert outcome.tensors is not None
        assert outcome.tensors[0].name == "probabilities"
        assert outcome.tensors[0].array.argmax() == label


def test_frames_of_different_points_of_one_member_share_a_batch(
    tiny_family: Family, device: DeviceEngine, tails: EdgeEngine
) -> None:
    pictures, _ = tinted_pictures(2)
    fine = device.manifest.point("b3r1-l16")
    coarse = replace(fine, id="b3r1-l3", levels=3)
    items = [item(device, "b3r1-l16", pictures[0])]
    alone = tails.infer("b3r1", items)[0]
    manifest = replace(tiny_family.manifest, points=(*tiny_family.manifest.points, coarse))
    both_device = DeviceEngine(replace(tiny_family, manifest=manifest))
    both_tails = EdgeEngine(replace(tiny_family, manifest=manifest))
    items.append(item(both_device, "b3r1-l3", pictures[1]))
    together = both_tails.infer("b3r1", items)
    assert alone.tensors is not None
    assert together[0].tensors is not None
    assert together[1].tensors is not None
    np.testing.assert_allclose(
        alone.tensors[0].array, together[0].tensors[0].array, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("point_id", ["b3r1-l16", "jpeg-q50"])
def test_a_broken_payload_fails_alone(
    device: DeviceEngine, tails: EdgeEngine, point_id: str
) -> None:
    picture = tinted_pictures(1)[0][0]
    good = item(device, point_id, picture)
    bad = replace(good, payload=good.payload[: len(good.payload) // 2])
    empty = replace(good, payload=b"")
    key = good.point.member or FULL_GRAPH_KEY
    first, second, third, fourth = tails.infer(key, [good, bad, empty, good])
    assert first.tensors is not None
    assert fourth.tensors is not None
    for broken in (second, third):
        assert broken.tensors is None
        assert broken.error
        assert broken.reason is RejectReason.MALFORMED


def test_a_picture_of_the_wrong_size_is_refused_before_the_network(
    device: DeviceEngine, tails: EdgeEngine
) -> None:
    point = device.manifest.point("jpeg-q50")
    small = encode_picture(np.zeros((8, 8, 3), np.uint8), "jpeg", 50)
    (outcome,) = tails.infer(FULL_GRAPH_KEY, [BatchItem(b"peer", 0, point, small)])
    assert outcome.error is not None
    assert "8 x 8 px, expected 16 x 16 px" in outcome.error


def test_each_offload_point_is_answered_by_the_whole_network_it_names(tmp_path: Path) -> None:
    """The second network here has its answers in another order: red is called green."""
    family = write_tiny_family(tmp_path / "family")
    plain = onnx.load(family.file("full/model.onnx"))
    for constant in plain.graph.initializer:
        if constant.name == "weight":
            turned = np.roll(numpy_helper.to_array(constant), 1, axis=1)
            constant.CopyFrom(numpy_helper.from_array(turned, "weight"))
    path = family.path / "full" / "pictures.onnx"
    path.write_bytes(plain.SerializeToString())
    entry = FileEntry(sha256_file(path), path.stat().st_size, ("edge",))
    offload = family.manifest.point("jpeg-q50")
    tuned = replace(offload, id="jpeg-q10", graph="full/pictures.onnx", picture_quality=10)
    manifest = replace(
        family.manifest,
        points=(*family.manifest.points, tuned),
        files=family.manifest.files | {"full/pictures.onnx": entry},
    )
    family = replace(family, manifest=manifest)
    device, tails = DeviceEngine(family), EdgeEngine(family)
    (picture,), (label,) = tinted_pictures(1, seed=4)
    for key, point_id, expected in (
        (FULL_GRAPH_KEY, "jpeg-q50", label),
        ("full/pictures.onnx", "jpeg-q10", (label + 1) % 3),
    ):
        for num in (1, 3):
            for outcome in tails.infer(key, [item(device, point_id, picture)] * num):
                assert outcome.tensors is not None
                assert outcome.tensors[0].array.argmax() == expected


def test_a_sample_the_graph_chokes_on_is_the_edges_fault_and_fails_alone(
    device: DeviceEngine, tiny_family: Family
) -> None:
    tails = EdgeEngine(tiny_family)
    decode = tails._decode
    pictures, labels = tinted_pictures(3)
    items = [item(device, "b3r1-l16", picture, index) for index, picture in enumerate(pictures)]

    def decode_one_badly(each: BatchItem) -> np.ndarray:
        sample = decode(each)
        return sample[:2] if each.frame_id == 1 else sample

    tails._decode = decode_one_badly  # type: ignore[method-assign, assignment]
    (alone,) = tails.infer("b3r1", items[1:2])
    assert alone.error is not None
    assert alone.error.startswith("graph failed: ")
    assert alone.reason is RejectReason.FAILED
    first, last = tails.infer("b3r1", [items[0], items[2]])
    assert first.tensors is not None
    assert last.tensors is not None
    assert [int(each.tensors[0].array.argmax()) for each in (first, last) if each.tensors] == [
        labels[0],
        labels[2],
    ]


@pytest.mark.parametrize(("with_cuda", "expected"), [(True, [1, 2, 3, 4, 5]), (False, [1, 5])])
def test_with_cuda_every_batch_size_has_run_before_a_device_asks(
    tiny_family: Family, monkeypatch: pytest.MonkeyPatch, with_cuda: bool, expected: list[int]
) -> None:
    """TensorRT, which builds an engine for each size that is new to it, takes the two ends."""
    sizes = set()
    run = Graph.run

    def noting(
        graph: Graph, outputs: Sequence[str], feeds: Mapping[str, npt.NDArray[np.generic]]
    ) -> list[npt.NDArray[np.generic]]:
        sizes.add(len(next(iter(feeds.values()))))
        return run(graph, outputs, feeds)

    monkeypatch.setattr(Graph, "run", noting)
    monkeypatch.setattr(edge_engine, "CUDA_PROVIDER", CPU_PROVIDER if with_cuda else CUDA_PROVIDER)
    EdgeEngine(tiny_family, options=EngineOptions(providers="cpu"), max_batch=5)
    assert sorted(sizes) == expected


def test_a_picture_of_each_format_is_decoded_before_a_device_sends_one(
    tiny_family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []

    def noting(data: bytes, *, max_pixels: int) -> npt.NDArray[np.uint8]:
        decoded.append(data[:2])
        return decode_picture(data, max_pixels=max_pixels)

    monkeypatch.setattr(edge_engine, "decode_picture", noting)
    EdgeEngine(tiny_family, options=EngineOptions(providers="cpu"))
    assert decoded == [b"\xff\xd8"]  # of its only offload point, a JPEG


def test_a_gpu_answers_as_the_cpu_does(tiny_family: Family) -> None:
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA")
    try:
        device = DeviceEngine(tiny_family, options=EngineOptions(providers="cuda"))
        tails = EdgeEngine(tiny_family, options=EngineOptions(providers="cuda"), max_batch=4)
    except UsageError as reason:
        pytest.skip(str(reason))
    assert tails.provider == "CUDAExecutionProvider"
    on_cpu = EdgeEngine(tiny_family, options=EngineOptions(providers="cpu"), max_batch=4)
    pictures, _ = tinted_pictures(4, seed=5)
    for point_id in ("b3r1-l16", "jpeg-q50"):
        items = [item(device, point_id, picture, i) for i, picture in enumerate(pictures)]
        key = device.manifest.point(point_id).member or FULL_GRAPH_KEY
        for batch in (items[:1], items, items[:1]):  # buffers are kept per size, and reused
            answers = [outcome.tensors for outcome in tails.infer(key, batch)]
            expected = [outcome.tensors for outcome in on_cpu.infer(key, batch)]
            for mine, theirs in zip(answers, expected, strict=True):
                assert mine is not None
                assert theirs is not None
                np.testing.assert_allclose(mine[0].array, theirs[0].array, atol=2e-3)  # TF32


@pytest.mark.parametrize("num", [1, 2])
def test_layers_that_did_not_come_are_zeros_to_the_tail(
    layered: tuple[DeviceEngine, EdgeEngine], num: int
) -> None:
    device, tails = layered
    for picture in tinted_pictures(5, seed=8)[0]:
        item = layered_item(device, num, picture)
        (outcome,) = tails.infer(PROGRESSIVE, [item])
        assert outcome.tensors is not None
        features = device.compute(item.point, picture).integers
        assert features is not None
        expected = layered_reference(features, (1, 3)[num - 1])
        np.testing.assert_allclose(outcome.tensors[0].array, expected, rtol=1e-4, atol=1e-6)


def test_the_first_layer_alone_tells_green_and_all_of_them_tell_every_colour(
    layered: tuple[DeviceEngine, EdgeEngine],
) -> None:
    device, tails = layered
    pictures, labels = tinted_pictures(30, seed=9)
    for num, colours in ((1, [1]), (2, [0, 1, 2])):
        answers = [tails.infer(PROGRESSIVE, [layered_item(device, num, p)])[0] for p in pictures]
        found = np.array([a.tensors[0].array.argmax() for a in answers if a.tensors])
        shown = np.isin(labels, colours)
        assert (found[shown] == labels[shown]).all()
        assert num == 2 or (found[~shown] != 1).all()


def test_frames_of_different_prefixes_share_a_batch_without_changing_an_answer(
    layered: tuple[DeviceEngine, EdgeEngine],
) -> None:
    device, tails = layered
    pictures, _ = tinted_pictures(4, seed=10)
    items = [layered_item(device, 1 + index % 2, p) for index, p in enumerate(pictures)]
    together = tails.infer(PROGRESSIVE, items)
    for item, outcome in zip(items, together, strict=True):
        (alone,) = tails.infer(PROGRESSIVE, [item])
        assert alone.tensors is not None
        assert outcome.tensors is not None
        np.testing.assert_allclose(
            outcome.tensors[0].array, alone.tensors[0].array, rtol=1e-5, atol=1e-6
        )


def test_the_tail_of_a_prefix_ignores_the_other_maps_it_is_given(
    layered: tuple[DeviceEngine, EdgeEngine],
) -> None:
    device, tails = layered
    pictures, _ = tinted_pictures(3, seed=11)
    point = device.manifest.point(f"{PROGRESSIVE}-l16-p1")
    features, _ = device.features(point, pictures)
    assert features.shape == (3, 3, 8, 8)
    expected = [layered_reference(each, 1) for each in features]
    np.testing.assert_allclose(tails.tails(point, features), expected, rtol=1e-4, atol=1e-6)
    cut = features.copy()
    cut[:, 1:] = 0
    np.testing.assert_array_equal(tails.tails(point, features), tails.tails(point, cut))


def test_a_layer_that_does_not_decode_fails_its_frame_alone(
    layered: tuple[DeviceEngine, EdgeEngine],
) -> None:
    device, tails = layered
    good = layered_item(device, 2, tinted_pictures(1)[0][0])
    broken = replace(good, layers=(good.layers[0], b"\xff"))
    missing = replace(good, layers=good.layers[:1])
    whole = replace(good, payload=b"".join(good.layers), layers=())
    first, *bad, last = tails.infer(PROGRESSIVE, [good, broken, missing, good])
    bad += tails.infer(PROGRESSIVE, [whole])
    assert first.tensors is not None
    assert last.tensors is not None
    assert [(each.tensors, each.reason) for each in bad] == [(None, RejectReason.MALFORMED)] * 3
    assert bad[1].error == "features: 1 layers, point p3r1-l16-p2 is answered from 2"
