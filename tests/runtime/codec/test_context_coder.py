"""The codec "context": exact with any table, bounded, and deaf to garbage."""

from contextlib import suppress
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.profiles.context_table import NEIGHBOURS, ContextTable, make_table, table_fault
from headgate.profiles.errors import WireError
from headgate.runtime.codec.features import decode_features, encode_features, packed_bytes

GOLDEN = Path(__file__).parents[1] / "golden"
Integers = npt.NDArray[np.uint8]

neighbour_sets = st.sets(st.sampled_from(NEIGHBOURS[1:])).map(
    lambda names: ("left", *sorted(names))
)


def smooth_table(
    levels: int, *, names: tuple[str, ...] = ("left", "up", "corner"), bits: int = 10
) -> ContextTable:
    """Return a table that expects a value near its neighbours."""
    bins = min(levels, 8)
    rows = []
    for centre in range(bins):
        middle = (2 * centre + 1) * levels // (2 * bins)
        wide = -(-levels // 8)  # values that look alike to a neighbour's class
        away = [max(0, abs(value - middle) - wide + 1) for value in range(levels)]
        weights = [(1 << 20) // (1 + 4 * steps**2) for steps in away]
        free = (1 << bits) - levels
        near = [1 + weight * free // sum(weights) for weight in weights]
        near[middle] += (1 << bits) - sum(near)
        rows.append(tuple(near))
    assignment = tuple(
        mean_inside(classes, bins) * len(rows) // bins
        for classes in product(range(bins + 1), repeat=len(names))
    )
    table = make_table(neighbours=names, bins=bins, assignment=assignment, frequencies=tuple(rows))
    assert table_fault(table, levels=levels) is None
    return table


def mean_inside(classes: tuple[int, ...], bins: int) -> int:
    """Return the rounded mean of the neighbours that are not beyond the border."""
    inside = [found for found in classes if found < bins] or [bins // 2]
    return (2 * sum(inside) + len(inside)) // (2 * len(inside))


def smooth_integers(shape: tuple[int, ...], levels: int, *, seed: int) -> Integers:
    """Return maps that change by one at most from place to place."""
    rng = np.random.default_rng(seed)
    down = rng.integers(-1, 2, (*shape[:2], 1)).cumsum(axis=1)
    along = rng.integers(-1, 2, (shape[0], 1, shape[2])).cumsum(axis=2)
    found: Integers = ((down + along) // 2 + levels // 2).clip(0, levels - 1).astype(np.uint8)
    return found


@st.composite
def cases(draw: st.DrawFn) -> tuple[Integers, int, ContextTable]:
    """Draw integers between smooth and even, and a table."""
    levels = draw(st.sampled_from([2, 3, 4, 5, 7, 8, 16, 33, 64, 256]))
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7)))
    seed = draw(st.integers(0, 2**32))
    q_CHW = smooth_integers(shape, levels, seed=seed)
    if draw(st.booleans()):
        q_CHW = np.random.default_rng(seed).integers(0, levels, shape).astype(np.uint8)
    bits = draw(st.integers(10 if levels < 100 else 12, 14))
    return q_CHW, levels, smooth_table(levels, names=draw(neighbour_sets), bits=bits)


@given(cases())
def test_decoding_what_was_encoded_gives_the_same_integers(
    case: tuple[Integers, int, ContextTable],
) -> None:
    q_CHW, levels, table = case
    data = encode_features(q_CHW, levels=levels, codec="context", table=table)
    assert 1 <= len(data) <= packed_bytes(q_CHW.size, levels)
    found = decode_features(data, shape=q_CHW.shape, levels=levels, codec="context", table=table)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, q_CHW)


@pytest.mark.parametrize("levels", [3, 5, 8, 16, 64])
def test_smooth_maps_take_much_less_than_packed(levels: int) -> None:
    q_CHW = smooth_integers((8, 10, 10), levels, seed=3)
    data = encode_features(q_CHW, levels=levels, codec="context", table=smooth_table(levels))
    assert len(data) < 0.8 * packed_bytes(800, levels)


def test_integers_that_the_table_did_not_expect_are_packed() -> None:
    q_CHW = np.random.default_rng(5).integers(0, 5, (6, 10, 10)).astype(np.uint8)
    data = encode_features(q_CHW, levels=5, codec="context", table=smooth_table(5))
    assert data == encode_features(q_CHW, levels=5, codec="raw")
    found = decode_features(
        data, shape=q_CHW.shape, levels=5, codec="context", table=smooth_table(5)
    )
    np.testing.assert_array_equal(found, q_CHW)


# --- golden vectors: what every machine and every later version must understand


def golden_case(levels: int) -> tuple[Integers, ContextTable]:
    c, y, x = np.indices((4, 7, 7), dtype=np.int64)
    wave = ((2 * y + x + 3 * c) * levels // 16 + (c * y * x) % 7 // 6) % (2 * levels)
    values: Integers = np.minimum(wave, 2 * levels - 1 - wave).astype(np.uint8)
    return values, smooth_table(levels, bits=12)


@pytest.mark.parametrize("levels", [2, 3, 5, 16, 100])
def test_golden_payloads_are_written_and_understood(levels: int) -> None:
    q_CHW, table = golden_case(levels)
    data = bytes.fromhex((GOLDEN / f"context-l{levels}.hex").read_text())
    assert len(data) < packed_bytes(q_CHW.size, levels)
    found = decode_features(data, shape=q_CHW.shape, levels=levels, codec="context", table=table)
    np.testing.assert_array_equal(found, q_CHW)
    assert encode_features(q_CHW, levels=levels, codec="context", table=table) == data


# --- garbage


@given(st.binary(min_size=0, max_size=80), st.sampled_from([2, 5, 16, 100]))
def test_garbage_is_a_wire_error_or_integers_within_the_levels(data: bytes, levels: int) -> None:
    shape = (3, 5, 6)
    with suppress(WireError):
        found = decode_features(
            data, shape=shape, levels=levels, codec="context", table=smooth_table(levels)
        )
        assert found.shape == shape
        assert int(found.max()) < levels


@given(st.data(), st.sampled_from([2, 3, 5, 16]))
def test_a_damaged_payload_is_a_wire_error_or_integers_within_the_levels(
    data: st.DataObject, levels: int
) -> None:
    q_CHW, table = smooth_integers((4, 8, 8), levels, seed=2), smooth_table(levels)
    payload = bytearray(encode_features(q_CHW, levels=levels, codec="context", table=table))
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(payload[: data.draw(st.integers(0, len(payload)) | st.just(len(payload)))])
    with suppress(WireError):
        found = decode_features(
            damaged, shape=q_CHW.shape, levels=levels, codec="context", table=table
        )
        assert int(found.max()) < levels


REFUSED = {
    "nothing": (b"", "0 bytes for"),
    "more than can be": (bytes(packed_bytes(300, 5) + 1), "expected 1 to 88"),
    "bytes that name no value": (b"\xff" * 40, "the bytes name no value"),
    "more words than the values take": (b"\x10" + bytes(80), "something follows the last of 300"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_malformed_payloads_are_refused_with_a_sentence(case: str) -> None:
    data, sentence = REFUSED[case]
    # Shares are rounded down, so that the interval's last numbers belong to nobody.
    likely = (1, 1, 1, 1, 1020)
    table = make_table(neighbours=("left",), bins=1, assignment=(0, 0), frequencies=(likely,))
    with pytest.raises(WireError, match=sentence):
        decode_features(data, shape=(3, 10, 10), levels=5, codec="context", table=table)
