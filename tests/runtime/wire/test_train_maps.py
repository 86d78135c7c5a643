"""Maps of split training, coded by their neighbours: exact, short, and safe to read."""

from collections.abc import Callable
from math import log2
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headgate.profiles.errors import WireError
from headgate.runtime.wire.train_lanes import (
    LANE_BYTES,
    WHOLE,
    LaneDecoder,
    SlotTable,
    encode_lanes,
)
from headgate.runtime.wire.train_maps import (
    CONTEXTS,
    decode_maps,
    encode_maps,
    lanes_of,
)
from runtime.grid_maps import Bytes, noise, smooth

GOLDEN = Path(__file__).parents[1] / "golden" / "maps"
SHAPE = (8, 4, 8, 8)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("make", [noise, smooth])
@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 1, 1),
        (1, 1, 1, 9),
        (3, 5, 7, 1),
        (2, 3, 1, 1),
        SHAPE,
        (7, 13, 5, 3),  # 91 maps, of which the last lanes have one less
        (1, 3, 40, 30),  # a map is longer than a lane has to be
    ],
)
def test_what_was_coded_comes_out_again(
    shape: tuple[int, ...], make: Callable[..., Bytes], bits: int
) -> None:
    values = make(shape, bits=bits)
    found = decode_maps(encode_maps(values, bits=bits), shape=shape, bits=bits)
    assert found.dtype == np.uint8
    assert np.array_equal(found, values)


@given(st.data(), st.integers(1, 8))
def test_any_maps_come_out_again(data: st.DataObject, bits: int) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=4, max_dims=4, max_side=6))
    values = data.draw(hnp.arrays("u1", shape, elements=st.integers(0, (1 << bits) - 1)))
    coded = encode_maps(values, bits=bits)
    assert np.array_equal(decode_maps(coded, shape=shape, bits=bits), values)


def test_levels_that_hardly_occur_come_out_again_beside_common_ones() -> None:
    """Each needs a share of its own: more of them than one common level could give up."""
    common = np.repeat(np.arange(56), 500)
    values = np.concatenate([common, np.arange(56, 256)]).astype(np.uint8).reshape(-1, 1, 1, 1)
    found = decode_maps(encode_maps(values, bits=8), shape=values.shape, bits=8)
    assert np.array_equal(found, values)


@pytest.mark.parametrize(
    ("bits", "name"), [(1, "1-bits"), (2, "2-bits"), (4, "4-bits"), (8, "8-bits"), (4, "falling")]
)
def test_maps_have_exactly_the_bytes_of_the_golden_vectors(bits: int, name: str) -> None:
    """Changing one of them is a new version of the messages.

    How short zstd makes the table may change with it: read, and coded again, it is the same.
    """
    b, c, y, x = np.ogrid[:4, :40, :9, :7]
    wave = 3 * y + 5 * x + (x * y + c) % 4 + (7 * b + 11 * c) % 13 * (y > 4)
    values = (wave * (1 << bits) // 64 % (1 << bits)).astype(np.uint8)
    if name == "falling":  # corners above both neighbours, too
        values = (1 << bits) - 1 - values
    coded = bytes.fromhex((GOLDEN / f"{name}.hex").read_text())
    assert np.array_equal(decode_maps(coded, shape=values.shape, bits=bits), values)
    again = encode_maps(values, bits=bits)
    num_lanes = lanes_of(4 * 40, 9 * 7)
    assert num_lanes == 19
    after, again_after = (data[4 + int.from_bytes(data[:4], "little") :] for data in (coded, again))
    assert len(after) > LANE_BYTES * num_lanes
    assert again_after == after


def test_constant_maps_take_hardly_more_than_their_lanes() -> None:
    values = np.full((64, 16, 8, 8), 7, np.uint8)
    lanes_bytes = LANE_BYTES * lanes_of(64 * 16, 64)
    assert len(encode_maps(values, bits=4)) < lanes_bytes + 300


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_noise_takes_as_many_bits_as_it_has(bits: int) -> None:
    """Beside 2 bytes a lane, and the frequencies, of which noise of 8 bits has many."""
    values = noise((64, 16, 8, 8), bits=bits)
    per_value = (8 * len(encode_maps(values, bits=bits)) - 16 * lanes_of(64 * 16, 64)) / values.size
    assert bits - 0.01 < per_value < bits + (0.9 if bits == 8 else 0.1)


def test_maps_whose_values_follow_from_neighbours_take_few_bits() -> None:
    values = smooth((64, 16, 8, 8), bits=4)
    counts = np.bincount(values.reshape(-1), minlength=16)
    own_bits = -sum(count * log2(count / values.size) for count in counts if count)
    assert 8 * len(encode_maps(values, bits=4)) < 0.6 * own_bits


def test_lanes_have_as_many_values_as_pays_for_them() -> None:
    """A reader counts them the same way: other numbers are a new version of the messages."""
    assert lanes_of(64 * 16, 64) == 64 * 16 * 64 // 512
    assert lanes_of(3, 511) == 2
    assert lanes_of(3, 1200) == 3
    assert lanes_of(5, 1) == 1


@given(st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=300)
def test_damaged_bytes_are_refused_or_are_other_values(place: int, change: int) -> None:
    coded = bytearray(encode_maps(smooth(SHAPE, bits=4), bits=4))
    coded[place % len(coded)] ^= change
    try:
        found = decode_maps(bytes(coded), shape=SHAPE, bits=4)
    except WireError:
        return
    assert found.shape == SHAPE
    assert int(found.max()) < 16


@pytest.mark.parametrize("num_bytes", range(0, 600, 7))
def test_bytes_that_end_early_are_refused(num_bytes: int) -> None:
    coded = encode_maps(smooth(SHAPE, bits=4), bits=4)
    with pytest.raises(WireError):
        decode_maps(coded[: min(num_bytes, len(coded) - 1)], shape=SHAPE, bits=4)


def plain_table(frequency: int) -> bytes:
    """Return a table of 4 levels that all have this frequency, uncompressed."""
    lower = np.full(4 * CONTEXTS, frequency & 0xFF, np.uint8)
    upper = np.full(4 * CONTEXTS, frequency >> 8, np.uint8)
    table = lower.tobytes() + upper.tobytes()
    return len(table).to_bytes(4, "little") + table


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\0\0", "too few for a table"),
        (plain_table(WHOLE // 4 - 1), "do not add up to 4096"),
        (plain_table(WHOLE // 4), "0 bytes for 4 lanes"),
        (plain_table(WHOLE // 4) + b"\0\0\1\0" * 4 + b"\0", "whole words"),
        (plain_table(WHOLE // 4) + b"\0\0\1\0" * 4 + b"\0\0", "end before the last value"),
        ((1000).to_bytes(4, "little") + bytes(1000), "a table of 1000 bytes, expected at most 168"),
        ((9).to_bytes(4, "little") + bytes(9), "the table: not a whole zstd frame"),
    ],
)
def test_what_is_no_coded_map_is_refused_with_what_is_wrong(data: bytes, said: str) -> None:
    with pytest.raises(WireError, match=said):
        decode_maps(data, shape=SHAPE, bits=2)


@pytest.mark.parametrize("shape", [(1, 1, 4, 4), SHAPE])
def test_bytes_with_something_left_after_the_last_value_are_refused(shape: tuple[int, ...]) -> None:
    coded = encode_maps(noise(shape, bits=4), bits=4)
    with pytest.raises(WireError, match="something is left"):
        decode_maps(coded + b"\0\0", shape=shape, bits=4)


def test_a_lane_that_does_not_end_as_it_began_is_refused() -> None:
    """Of values that are all alike each lane stays as it was: there are no words after them."""
    coded = bytearray(encode_maps(np.full((1, 2, 8, 8), 7, np.uint8), bits=4))
    assert decode_maps(bytes(coded), shape=(1, 2, 8, 8), bits=4).max() == 7
    coded[-LANE_BYTES] += 1
    with pytest.raises(WireError, match="something is left"):
        decode_maps(bytes(coded), shape=(1, 2, 8, 8), bits=4)


@pytest.mark.parametrize("seed", range(5))
def test_lanes_take_what_their_symbols_are_worth(seed: int) -> None:
    source = np.random.default_rng(seed)
    frequencies = np.array([[1, 95, 4000], [2000, 2000, 96]])
    active = [50] * 300 + [20] * 100
    context = source.integers(0, 2, sum(active))
    shares = frequencies / WHOLE
    symbol = (source.random(len(context))[:, None] > shares.cumsum(1)[context][:, :-1]).sum(1)
    starts = frequencies.cumsum(1) - frequencies
    coded = encode_lanes(
        frequencies[context, symbol].astype(np.uint64),
        starts[context, symbol].astype(np.uint64),
        active=active,
    )
    worth = -np.log2(shares[context, symbol]).sum() / 8
    assert worth < len(coded) < 1.005 * worth + 3 * 50

    decoder = LaneDecoder(coded, num_lanes=50, table=SlotTable(frequencies))
    begin = 0
    for num in active:
        step = slice(begin, begin + num)
        assert np.array_equal(decoder.take(WHOLE * context[step], num=num), symbol[step])
        begin += num
    decoder.finish()
