from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.profiles.errors import FamilyError, WireError
from headgate.profiles.manifest import OperatingPoint
from headgate.profiles.manifest_json import manifest_from_json, manifest_to_json
from headgate.runtime.codec.prediction import (
    Integers,
    Reference,
    decode_split,
    encode_split,
    reference_distance,
    streams_of,
)
from runtime.predicted import drifting, predicted_manifest

SHAPE = (4, 8, 8)
MANIFEST = predicted_manifest()
POINT = MANIFEST.point("b1r1-l16-p")
TWIN = MANIFEST.point("b1r1-l16")


def encoded(q: Integers, reference: Integers | None, *, distance: int = 3) -> bytes:
    return encode_split(POINT, q, None if reference is None else Reference(distance, reference))


def test_twin_and_predicted_point_share_a_stream_and_others_have_none() -> None:
    streams = streams_of(MANIFEST)
    assert streams["b1r1-l16-p"] == streams["b1r1-l16"] == "b1r1-l16"
    assert "webp-q80" not in streams
    assert len(set(streams.values())) == 5


def test_a_frame_is_written_as_what_changed_and_names_its_reference() -> None:
    before, after = drifting(SHAPE, 2, levels=16, seed=1)
    payload = encoded(after, before, distance=7)
    assert reference_distance(payload) == 7
    assert len(payload) < 0.7 * len(encode_split(TWIN, after, None))
    assert np.array_equal(decode_split(POINT, payload, before, shape=SHAPE), after)


def test_without_a_reference_a_frame_goes_whole_at_one_byte_more() -> None:
    (frame,) = drifting(SHAPE, 1, levels=16, seed=2)
    payload = encoded(frame, None)
    assert payload == b"\0" + encode_split(TWIN, frame, None)
    assert np.array_equal(decode_split(POINT, payload, None, shape=SHAPE), frame)


def test_after_a_cut_the_frame_goes_whole_although_there_is_a_reference() -> None:
    before, after = (drifting(SHAPE, 1, levels=16, seed=seed)[0] // 4 * 4 for seed in (3, 4))
    payload = encoded(after, before)
    assert reference_distance(payload) == 0
    assert payload == encoded(after, None)


@given(st.integers(0, 500), st.sampled_from([0.0, 0.05, 0.5, 1.0]))
def test_a_payload_is_never_larger_than_the_whole_frame_would_be(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    before, other = drifting(SHAPE, 2, levels=16, seed=seed)
    after = np.where(rng.random(SHAPE) < share, rng.permuted(other), before).astype(np.uint8)
    payload = encoded(after, before)
    # Where few values changed the whole frame is not even tried; two bytes cover that.
    assert len(payload) <= len(encoded(after, None)) + 2
    assert np.array_equal(decode_split(POINT, payload, before, shape=SHAPE), after)


@pytest.mark.parametrize(
    ("point", "payload", "reference", "said"),
    [
        (POINT, b"", None, "0 bytes"),
        (POINT, b"\x05", None, "the frame 5 before this one is not known"),
        (POINT, b"\x05" + bytes(131), np.zeros(SHAPE, np.uint8), "expected up to 130"),
        (POINT, b"\x05", np.zeros((1, 2, 2), np.uint8), r"changes to \[1, 2, 2\]"),
        (POINT, b"\x05\x40", np.zeros(SHAPE, np.uint8), "early"),
        (POINT, b"\0", None, "0 bytes"),
        (POINT, b"\0\xff\xff", None, "mode 255"),
        (TWIN, b"", None, "0 bytes"),
    ],
)
def test_hostile_payloads_are_refused_with_a_reason(
    point: OperatingPoint, payload: bytes, reference: Integers | None, said: str
) -> None:
    with pytest.raises(WireError, match=said):
        decode_split(point, payload, reference, shape=SHAPE)


@given(st.binary(max_size=60))
def test_any_bytes_decode_within_the_levels_or_are_refused(payload: bytes) -> None:
    reference = np.full(SHAPE, 3, np.uint8)
    try:
        found = decode_split(replace(POINT, levels=5), payload, reference, shape=SHAPE)
    except WireError:
        return
    assert found.shape == SHAPE
    assert found.max() < 5
    assert (reference == 3).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"twin": "b9"}, "no operating point 'b9'"),
        ({"twin": "webp-q80"}, "webp-q80 has another member, levels, low or span"),
        ({"twin": "b1r1-l17"}, "b1r1-l17 has another member, levels, low or span"),
        ({"twin": "b1r1-l17-p"}, "may name another that has no twin itself"),
        ({"span": (2.0,)}, "b1r1-l16 has another member, levels, low or span"),
    ],
)
def test_a_manifest_whose_twin_sends_other_integers_is_refused(
    change: dict[str, object], said: str
) -> None:
    value = manifest_to_json(MANIFEST)
    index = MANIFEST.index_of(POINT.id)
    assert manifest_from_json(value, where="f") == MANIFEST
    value["points"][index] |= {k: list(v) if isinstance(v, tuple) else v for k, v in change.items()}
    with pytest.raises(FamilyError, match=said):
        manifest_from_json(value, where="f")
