"""Layers of integers and their payloads: exact, each by itself, zeros for what is absent."""

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.profiles.errors import WireError
from headgate.profiles.manifest import OperatingPoint
from headgate.runtime.codec.features import encode_features
from headgate.runtime.codec.layer_codec import decode_layers, encode_layers
from headgate.runtime.networks.scales import scales_of, tail_scales_of
from runtime.codec.test_context_coder import smooth_integers, smooth_table
from runtime.layered import LAYERED, SHAPE

MEMBER = LAYERED.member("b4r1")


def point_of(prefix: int, codec: str) -> OperatingPoint:
    table = smooth_table(16) if codec == "context" else None
    return replace(LAYERED.point(f"b4r1-l16-p{prefix}"), codec=codec, table=table)


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.sampled_from(["raw", "zstd", "context"]))
def test_what_is_sent_comes_out_exactly_and_the_rest_is_zero(
    seed: int, prefix: int, codec: str
) -> None:
    integers = smooth_integers(SHAPE, 16, seed=seed)
    point = point_of(prefix, codec)
    payloads = encode_layers(point, integers, member=MEMBER)
    num_maps = (1, 3, 4)[prefix - 1]
    decoded = decode_layers(point, payloads, member=MEMBER)
    assert decoded.shape == SHAPE
    np.testing.assert_array_equal(decoded[:num_maps], integers[:num_maps])
    assert not decoded[num_maps:].any()


def test_a_layer_is_coded_as_a_frame_of_its_maps_and_prefixes_share_their_layers() -> None:
    integers = smooth_integers(SHAPE, 16, seed=3)
    all_three = encode_layers(point_of(3, "zstd"), integers, member=MEMBER)
    assert all_three[1] == encode_features(integers[1:3], levels=16, codec="zstd")
    assert encode_layers(point_of(2, "zstd"), integers, member=MEMBER) == all_three[:2]


@pytest.mark.parametrize("num", [0, 1, 3])
def test_another_number_of_layers_than_the_points_is_refused(num: int) -> None:
    integers = smooth_integers(SHAPE, 16, seed=4)
    payloads = encode_layers(point_of(3, "raw"), integers, member=MEMBER)[:num]
    with pytest.raises(WireError, match=f"{num} layers, point b4r1-l16-p2 is answered from 2"):
        decode_layers(point_of(2, "raw"), payloads, member=MEMBER)


@given(st.lists(st.binary(max_size=40), min_size=2, max_size=2), st.sampled_from(["raw", "zstd"]))
def test_garbage_is_a_wire_error_or_integers_within_the_levels(
    payloads: list[bytes], codec: str
) -> None:
    with suppress(WireError):
        decoded = decode_layers(point_of(2, codec), payloads, member=MEMBER)
        assert decoded.max() < 16
        assert not decoded[3:].any()


def test_the_tail_has_no_range_for_maps_that_are_not_sent_and_the_head_has_all() -> None:
    point = point_of(2, "zstd")
    np.testing.assert_array_equal(
        tail_scales_of(point, MEMBER).span, np.array([[1.0, 2.0, 1.0, 0.0]], np.float32)
    )
    np.testing.assert_array_equal(
        tail_scales_of(replace(point, prefix=1), MEMBER).low, np.array([[0.1, 0, 0, 0]], np.float32)
    )
    np.testing.assert_array_equal(
        scales_of(point, MEMBER).span, np.array([[1.0, 2.0, 1.0, 0.5]], np.float32)
    )
    assert tail_scales_of(point, MEMBER).low.dtype == np.float32
