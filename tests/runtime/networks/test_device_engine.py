import numpy as np
import pytest

from headgate.profiles.family import Family
from headgate.profiles.manifest import PointKind
from headgate.profiles.quantise import quantise
from headgate.runtime.codec.features import decode_features
from headgate.runtime.codec.layer_codec import decode_layers, encode_layers
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.edge_engine import EdgeEngine
from runtime.tiny_family import (
    PROGRESSIVE,
    tinted_pictures,
)


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


def test_every_kind_of_point_is_in_the_tiny_family(tiny_family: Family) -> None:
    assert {point.kind for point in tiny_family.manifest.points} == set(PointKind)


def test_a_progressive_point_yields_its_layers_and_all_maps_whatever_it_sends(
    layered: tuple[DeviceEngine, EdgeEngine],
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


def test_each_layer_is_coded_by_itself(layered: tuple[DeviceEngine, EdgeEngine]) -> None:
    device, _ = layered
    member = device.manifest.member(PROGRESSIVE)
    point = device.manifest.point(f"{PROGRESSIVE}-l16-p2")
    features, _ = device.features(point, tinted_pictures(2, seed=12)[0])
    one, other = (encode_layers(point, each, member=member) for each in features)
    mixed = decode_layers(point, (one[0], other[1]), member=member)
    np.testing.assert_array_equal(mixed[:1], features[0][:1])
    np.testing.assert_array_equal(mixed[1:], features[1][1:])
