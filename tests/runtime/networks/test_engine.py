from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from headgate.profiles.errors import FamilyError, UsageError
from headgate.profiles.family import Family
from headgate.profiles.manifest import FileEntry, InputSpec, PointKind
from headgate.profiles.quantise import quantise
from headgate.profiles.storage import sha256_file
from headgate.runtime.codec.features import decode_features
from headgate.runtime.codec.layer_codec import decode_layers, encode_layers
from headgate.runtime.edge.edge_session import FULL_GRAPH_KEY, BatchItem
from headgate.runtime.networks.engine import DeviceEngine, TailEngine
from headgate.runtime.networks.graphs import EngineOptions
from headgate.runtime.wire.messages import RejectReason
from runtime.tiny_family import (
    LAYER_LOW,
    LAYER_SPAN,
    PROGRESSIVE,
    SIDE_PX,
    TAIL_BIASES,
    TAIL_WEIGHTS,
    tinted_pictures,
    write_tiny_family,
)


@pytest.fixture(scope="module")
def device(tiny_family: Family) -> DeviceEngine:
    return DeviceEngine(tiny_family)


@pytest.fixture(scope="module")
def tails(tiny_family: Family) -> TailEngine:
    return TailEngine(tiny_family, max_batch=4)


def item(device: DeviceEngine, point_id: str, picture: np.ndarray, frame_id: int = 0) -> BatchItem:
    point = device.manifest.point(point_id)
    payload = device.compute(point, picture).payload
    assert payload is not None
    return BatchItem(b"peer", frame_id, point, payload)


@pytest.fixture(scope="module")
def layered(tmp_path_factory: pytest.TempPathFactory) -> tuple[DeviceEngine, TailEngine]:
    family = write_tiny_family(tmp_path_factory.mktemp("layered") / "family", progressive=True)
    return DeviceEngine(family), TailEngine(family, max_batch=4)


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
    device: DeviceEngine, tails: TailEngine, point_id: str
) -> None:
    pictures, labels = tinted_pictures(20, seed=1)
    key = device.manifest.point(point_id).member or FULL_GRAPH_KEY
    for picture, label in zip(pictures, labels, strict=True):
        (outcome,) = tails.infer(key, [item(device, point_id, picture)])
        assert outcome.error is None
        assert outcome.tensors is not None
        assert outcome.tensors[0].name == "probabilities"
        assert outcome.tensors[0].array.argmax() == label


@pytest.mark.parametrize("point_id", ["local-full", "local-exit"])
def test_local_points_answer_by_themselves_and_send_nothing(
    device: DeviceEngine, point_id: str
) -> None:
    pictures, labels = tinted_pictures(20, seed=2)
    for picture, label in zip(pictures, labels, strict=True):
        computed = device.compute(device.manifest.point(point_id), picture)
        assert computed.payload is None
        assert computed.answer is not None
        assert computed.answer.label == label


def test_a_split_frame_carries_the_exit_answer_and_exactly_the_quantised_maps(
    device: DeviceEngine,
) -> None:
    picture = tinted_pictures(1)[0][0]
    point = device.manifest.point("b3r1-l16")
    computed = device.compute(point, picture)
    assert computed.answer is not None
    assert computed.payload is not None
    sent = decode_features(computed.payload, shape=(3, 8, 8), levels=16, codec="zstd")
    maps = (picture / 255).reshape(8, 2, 8, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    expected = quantise(
        maps.astype(np.float32),
        low_C=np.zeros(3, np.float32),
        span_C=np.ones(3, np.float32),
        levels=16,
    )
    assert np.abs(sent.astype(int) - expected.astype(int)).max() <= 1
    assert (sent == expected).mean() > 0.99


def test_a_picture_of_another_size_is_resized_first(device: DeviceEngine) -> None:
    pictures, labels = tinted_pictures(1, side_px=50)
    answer = device.compute(device.manifest.point("local-full"), pictures[0]).answer
    assert answer is not None
    assert answer.label == labels[0]


def test_frames_of_different_points_of_one_member_share_a_batch(
    tiny_family: Family, device: DeviceEngine, tails: TailEngine
) -> None:
    pictures, _ = tinted_pictures(2)
    fine = device.manifest.point("b3r1-l16")
    coarse = replace(fine, id="b3r1-l3", levels=3)
    items = [item(device, "b3r1-l16", pictures[0])]
    alone = tails.infer("b3r1", items)[0]
    manifest = replace(tiny_family.manifest, points=(*tiny_family.manifest.points, coarse))
    both_device = DeviceEngine(replace(tiny_family, manifest=manifest))
    both_tails = TailEngine(replace(tiny_family, manifest=manifest))
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
    device: DeviceEngine, tails: TailEngine, point_id: str
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
    device: DeviceEngine, tails: TailEngine
) -> None:
    from headgate.profiles.pictures import encode_picture

    point = device.manifest.point("jpeg-q50")
    small = encode_picture(np.zeros((8, 8, 3), np.uint8), "jpeg", 50)
    (outcome,) = tails.infer(FULL_GRAPH_KEY, [BatchItem(b"peer", 0, point, small)])
    assert outcome.error is not None
    assert "8 x 8 px, expected 16 x 16 px" in outcome.error


def test_a_graph_with_other_inputs_is_a_family_error(tmp_path: Path) -> None:
    family = write_tiny_family(tmp_path / "family")
    members = tuple(
        replace(each, head=family.manifest.full_graph) for each in family.manifest.members
    )
    manifest = replace(family.manifest, members=members)
    with pytest.raises(FamilyError, match=r"takes \['picture'\].*expected"):
        DeviceEngine(replace(family, manifest=manifest))


def test_graphs_that_do_not_fit_the_manifest_are_a_family_error(tmp_path: Path) -> None:
    family = write_tiny_family(tmp_path / "family")
    larger = replace(family.manifest, input=InputSpec(height_px=8, width_px=SIDE_PX))
    family = replace(family, manifest=larger)
    for engine in (DeviceEngine, TailEngine):
        with pytest.raises(FamilyError, match=r"family: graph failed: .*export the family again"):
            engine(family)


def test_the_backend_says_what_it_serves(tails: TailEngine, tiny_family: Family) -> None:
    described = tails.describe()
    assert described.family_digest == tiny_family.manifest.digest
    assert described.graph_keys == ("b3r1", "b1r1", FULL_GRAPH_KEY)
    assert described.max_batch == 4
    assert tails.health()


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
    device, tails = DeviceEngine(family), TailEngine(family)
    assert tails.describe().graph_keys[-2:] == (FULL_GRAPH_KEY, "full/pictures.onnx")
    (picture,), (label,) = tinted_pictures(1, seed=4)
    for key, point_id, expected in (
        (FULL_GRAPH_KEY, "jpeg-q50", label),
        ("full/pictures.onnx", "jpeg-q10", (label + 1) % 3),
    ):
        for num in (1, 3):
            for outcome in tails.infer(key, [item(device, point_id, picture)] * num):
                assert outcome.tensors is not None
                assert outcome.tensors[0].array.argmax() == expected


def test_every_kind_of_point_is_in_the_tiny_family(tiny_family: Family) -> None:
    assert {point.kind for point in tiny_family.manifest.points} == set(PointKind)


def test_a_sample_the_graph_chokes_on_is_the_edges_fault_and_fails_alone(
    device: DeviceEngine, tiny_family: Family
) -> None:
    tails = TailEngine(tiny_family)
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


def test_a_gpu_answers_as_the_cpu_does(tiny_family: Family) -> None:
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA")
    try:
        device = DeviceEngine(tiny_family, options=EngineOptions(providers="cuda"))
        tails = TailEngine(tiny_family, options=EngineOptions(providers="cuda"), max_batch=4)
    except UsageError as reason:
        pytest.skip(str(reason))
    assert tails.describe().provider == "CUDAExecutionProvider"
    on_cpu = TailEngine(tiny_family, options=EngineOptions(providers="cpu"), max_batch=4)
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


# --- progressive members


def test_a_progressive_point_yields_its_layers_and_all_maps_whatever_it_sends(
    layered: tuple[DeviceEngine, TailEngine],
) -> None:
    device, _ = layered
    picture = tinted_pictures(1, seed=7)[0][0]
    member = device.manifest.member(PROGRESSIVE)
    small, large = (device.manifest.point(f"{PROGRESSIVE}-l16-p{num}") for num in (1, 2))
    whole = device.compute(large, picture)
    assert whole.integers is not None
    assert whole.integers.shape == (3, 8, 8)
    assert whole.payload == b"".join(whole.layers)
    np.testing.assert_array_equal(decode_layers(large, whole.layers, member=member), whole.integers)
    first = device.compute(small, picture)
    assert first.layers == whole.layers[:1]
    np.testing.assert_array_equal(first.integers, whole.integers)
    assert first.answer is not None


@pytest.mark.parametrize("num", [1, 2])
def test_layers_that_did_not_come_are_zeros_to_the_tail(
    layered: tuple[DeviceEngine, TailEngine], num: int
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
    layered: tuple[DeviceEngine, TailEngine],
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
    layered: tuple[DeviceEngine, TailEngine],
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
    layered: tuple[DeviceEngine, TailEngine],
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
    layered: tuple[DeviceEngine, TailEngine],
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


def test_each_layer_is_coded_by_itself(layered: tuple[DeviceEngine, TailEngine]) -> None:
    device, _ = layered
    member = device.manifest.member(PROGRESSIVE)
    point = device.manifest.point(f"{PROGRESSIVE}-l16-p2")
    features, _ = device.features(point, tinted_pictures(2, seed=12)[0])
    one, other = (encode_layers(point, each, member=member) for each in features)
    mixed = decode_layers(point, (one[0], other[1]), member=member)
    np.testing.assert_array_equal(mixed[:1], features[0][:1])
    np.testing.assert_array_equal(mixed[1:], features[1][1:])
