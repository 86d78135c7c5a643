"""The feature codec: exact, bounded both ways, and deaf to garbage."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import ceil, log2, prod
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headgate.profiles.errors import WireError
from headgate.runtime.codec.features import decode_features, encode_features, packed_bytes

GOLDEN = Path(__file__).parents[1] / "golden"
CODECS = ("zstd", "raw")  # "context" needs tables: see test_context_coder

all_levels = st.integers(2, 256)
codecs = st.sampled_from(CODECS)
shapes = hnp.array_shapes(min_dims=3, max_dims=3, max_side=12)


@st.composite
def features(draw: st.DrawFn) -> tuple[npt.NDArray[np.uint8], int]:
    """Draw integers between even and peaky, and their number of levels."""
    levels, shape = draw(all_levels), draw(shapes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    peak = draw(st.sampled_from([0.0, 0.1, 1.0, 100.0]))
    spread = np.abs(rng.normal(scale=peak * levels, size=shape))
    return np.clip(spread, 0, levels - 1).astype(np.uint8), levels


def peaky(shape: tuple[int, ...], levels: int, *, seed: int = 0) -> npt.NDArray[np.uint8]:
    spread: npt.NDArray[np.float64] = np.random.default_rng(seed).exponential(
        0.12 * levels, size=shape
    )
    return np.clip(spread, 0, levels - 1).astype(np.uint8)


@given(features(), codecs)
def test_decoding_what_was_encoded_gives_the_same_integers(
    drawn: tuple[npt.NDArray[np.uint8], int], codec: str
) -> None:
    q_CHW, levels = drawn
    data = encode_features(q_CHW, levels=levels, codec=codec)
    found = decode_features(data, shape=q_CHW.shape, levels=levels, codec=codec)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, q_CHW)


@given(features())
def test_a_payload_is_never_larger_than_the_packed_integers_and_one_byte(
    drawn: tuple[npt.NDArray[np.uint8], int],
) -> None:
    q_CHW, levels = drawn
    packed = packed_bytes(q_CHW.size, levels)
    assert len(encode_features(q_CHW, levels=levels, codec="raw")) == packed
    assert len(encode_features(q_CHW, levels=levels, codec="zstd")) <= packed + 1


@given(st.integers(1, 10_000), all_levels)
def test_packing_never_takes_more_than_whole_bits_do_and_is_near_the_ideal(
    num_values: int, levels: int
) -> None:
    packed = packed_bytes(num_values, levels)
    assert packed <= ceil(num_values * ceil(log2(levels)) / 8)
    assert packed <= 1.125 * num_values * log2(levels) / 8 + 1


@pytest.mark.parametrize("levels", range(2, 257))
@pytest.mark.parametrize("codec", CODECS)
def test_every_number_of_levels_survives_at_both_ends(levels: int, codec: str) -> None:
    ends = np.array([0, levels - 1], np.uint8)
    q_CHW = np.resize(ends, (3, 5, 7))
    data = encode_features(q_CHW, levels=levels, codec=codec)
    found = decode_features(data, shape=(3, 5, 7), levels=levels, codec=codec)
    np.testing.assert_array_equal(found, q_CHW)
    top = np.full((2, 3, 3), levels - 1, np.uint8)
    data = encode_features(top, levels=levels, codec=codec)
    np.testing.assert_array_equal(
        decode_features(data, shape=(2, 3, 3), levels=levels, codec=codec), top
    )


@pytest.mark.parametrize("shape", [(12, 10, 10), (32, 12, 12)])
@pytest.mark.parametrize("levels", [3, 5, 8, 16])
def test_peaky_integers_take_much_less_than_packed(shape: tuple[int, ...], levels: int) -> None:
    q_CHW = peaky(shape, levels)
    data = encode_features(q_CHW, levels=levels, codec="zstd")
    assert len(data) < 0.75 * packed_bytes(prod(shape), levels)


def test_integers_that_change_slowly_are_sent_as_differences() -> None:
    ramp = np.arange(2400, dtype=np.uint32).reshape(24, 10, 10)
    q_CHW = (ramp // 7 % 200).astype(np.uint8)
    data = encode_features(q_CHW, levels=200, codec="zstd")
    assert data[0] == 16 + 1
    np.testing.assert_array_equal(
        decode_features(data, shape=q_CHW.shape, levels=200, codec="zstd"), q_CHW
    )


# --- golden vectors: what another version of this program, or of zstd, must understand


def golden_integers(levels: int) -> npt.NDArray[np.uint8]:
    index = np.arange(150, dtype=np.int64)
    values = (index * index // 11 % levels * (index % 3 == 0)).astype(np.uint8)
    shaped: npt.NDArray[np.uint8] = values.reshape(6, 5, 5)
    return shaped


GOLDEN_FEATURES = [
    (f"features-{codec}-l{levels}", codec, levels)
    for codec in CODECS
    for levels in (2, 3, 5, 16, 100, 256)
] + [("features-zstd-mode17-l256", "zstd", 256), ("features-zstd-mode0-l5", "zstd", 5)]


@pytest.mark.parametrize(("name", "codec", "levels"), GOLDEN_FEATURES)
def test_golden_payloads_are_understood(name: str, codec: str, levels: int) -> None:
    data = bytes.fromhex((GOLDEN / f"{name}.hex").read_text())
    found = decode_features(data, shape=(6, 5, 5), levels=levels, codec=codec)
    np.testing.assert_array_equal(found, golden_integers(levels))
    if codec == "raw":
        assert encode_features(found, levels=levels, codec="raw") == data


def test_every_golden_payload_is_tested() -> None:
    files = {path.stem for path in GOLDEN.glob("features-*.hex")}
    assert files == {name for name, _, _ in GOLDEN_FEATURES}


# --- garbage


@given(st.binary(max_size=60), all_levels, codecs, shapes)
@example(b"\x01\x00\x58\x01\x00\x00", 256, "zstd", (1, 1, 1))
def test_garbage_is_a_wire_error_or_integers_within_the_levels(
    data: bytes, levels: int, codec: str, shape: tuple[int, ...]
) -> None:
    with suppress(WireError):
        found = decode_features(data, shape=shape, levels=levels, codec=codec)
        assert found.shape == shape
        assert int(found.max()) < levels


@given(st.data(), st.sampled_from([2, 3, 5, 7, 16, 100, 255]))
def test_a_damaged_payload_is_a_wire_error_or_integers_within_the_levels(
    data: st.DataObject, levels: int
) -> None:
    payload = bytearray(encode_features(peaky((6, 10, 10), levels), levels=levels, codec="zstd"))
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(payload[: data.draw(st.integers(0, len(payload)) | st.just(len(payload)))])
    with suppress(WireError):
        found = decode_features(damaged, shape=(6, 10, 10), levels=levels, codec="zstd")
        assert int(found.max()) < levels


def magicless(data: bytes, **options: int) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        3,
        **{
            "format": zstandard.FORMAT_ZSTD1_MAGICLESS,
            "write_content_size": 0,
            "source_size": len(data),
            **options,
        },
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)


REFUSED = {
    "nothing": (b"", "0 bytes for"),
    "more than can be": (bytes(5002), "5002 bytes for .10, 20, 25. at 256 levels"),
    "an unknown mode": (b"\x21" + bytes(10), "unknown mode 33"),
    "a mode with no values per symbol": (b"\x10" + bytes(10), "unknown mode 16"),
    "two values a byte at 256 levels": (b"\x02" + bytes(10), "unknown mode 2"),
    "words cut short": (b"\x00" + bytes(4999), "4999 packed bytes, 5000 values"),
    "no zstd frame": (b"\x01" + b"\xff" * 30, "zstd frame"),
    "a zstd frame cut short": (b"\x01" + magicless(bytes(5000))[:-1], "not a whole zstd frame"),
    "too few values": (b"\x01" + magicless(bytes(4999)), "holds 4999 bytes, expected 5000"),
    "too many values": (b"\x01" + magicless(bytes(5001)), "not a whole zstd frame of 5000"),
    "a bomb": (b"\x01" + magicless(bytes(10_000_000), source_size=5000), "zstd frame"),
    "a bomb that names its size": (
        b"\x01" + magicless(bytes(10_000_000), write_content_size=1),
        "names a size",
    ),
    "a window larger than the features": (
        b"\x01" + b"\x00\x88" + ((5000 << 3) | 0b011).to_bytes(3, "little") + b"\0",
        "wants a window of 134217728 bytes",
    ),
    "something after the frame": (b"\x01" + magicless(bytes(5000)) + b"x", "zstd frame"),
    "two frames": (b"\x01" + magicless(bytes(2500)) * 2, "zstd frame"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_malformed_payloads_are_refused_with_a_sentence(case: str) -> None:
    data, sentence = REFUSED[case]
    with pytest.raises(WireError, match=sentence):
        decode_features(data, shape=(10, 20, 25), levels=256, codec="zstd")


def test_values_beyond_the_levels_are_refused() -> None:
    with pytest.raises(WireError, match="symbol 5, 1 values at 5 levels end at 4"):
        decode_features(
            b"\x01" + magicless(bytes(99) + b"\x05"), shape=(1, 10, 10), levels=5, codec="zstd"
        )
    with pytest.raises(WireError, match="symbol 125"):
        decode_features(
            b"\x03" + magicless(b"\x7d" + bytes(29)), shape=(1, 9, 10), levels=5, codec="zstd"
        )
    with pytest.raises(WireError, match="a packed group holds a value of 5 or more"):
        decode_features(b"\xff" * 7, shape=(1, 1, 24), levels=5, codec="raw")


def test_padding_that_is_not_zero_is_refused() -> None:
    with pytest.raises(WireError, match="something follows the last of 100 values"):
        decode_features(
            b"\x03" + magicless(bytes(33) + b"\x19"), shape=(1, 10, 10), levels=5, codec="zstd"
        )
    with pytest.raises(WireError, match="something follows the last of 3 values"):
        decode_features(b"\xff", shape=(1, 1, 3), levels=2, codec="raw")


def test_many_threads_encode_and_decode_at_once() -> None:
    arrays = [peaky((8, 10, 10), 5, seed=seed) for seed in range(40)]

    def there_and_back(q_CHW: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        for _ in range(5):
            data = encode_features(q_CHW, levels=5, codec="zstd")
            q_CHW = decode_features(data, shape=q_CHW.shape, levels=5, codec="zstd")
        return q_CHW

    with ThreadPoolExecutor(8) as pool:
        for sent, found in zip(arrays, pool.map(there_and_back, arrays), strict=True):
            np.testing.assert_array_equal(found, sent)
