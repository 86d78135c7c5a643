import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.profiles.errors import WireError
from headgate.runtime.codec.changes import decode_changes, encode_changes

Values = npt.NDArray[np.uint8]


def moved(reference: Values, *, levels: int, share: float, most: int, seed: int) -> Values:
    """Return the values with about that share of them moved by at most `most`."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(-most, most + 1, reference.shape) * (rng.random(reference.shape) < share)
    values: Values = np.clip(reference + steps, 0, levels - 1).astype(np.uint8)
    return values


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Values, Values, int]:
    """Draw two arrays of one shape, from equal to unrelated, and their number of levels."""
    levels = draw(st.sampled_from([2, 3, 4, 5, 16, 255, 256]))
    shape = draw(st.tuples(*[st.integers(1, 7)] * 3))
    seed = draw(st.integers(0, 1 << 20))
    reference = np.random.default_rng(seed).integers(0, levels, shape).astype(np.uint8)
    share = draw(st.sampled_from([0.0, 0.02, 0.3, 1.0]))
    most = draw(st.sampled_from([1, 2, 255]))
    return moved(reference, levels=levels, share=share, most=most, seed=seed), reference, levels


@given(pairs())
def test_what_was_encoded_comes_back_and_the_reference_stays(
    pair: tuple[Values, Values, int],
) -> None:
    values, reference, levels = pair
    before = reference.copy()
    decoded = decode_changes(
        encode_changes(values, reference, levels=levels), reference, levels=levels
    )
    assert np.array_equal(decoded, values)
    assert decoded.dtype == np.uint8
    assert np.array_equal(reference, before)


def test_nothing_changed_is_no_byte() -> None:
    values = np.ones((2, 3, 3), np.uint8)
    assert encode_changes(values, values.copy(), levels=4) == b""
    assert np.array_equal(decode_changes(b"", values, levels=4), values)


@pytest.mark.parametrize(
    ("levels", "most", "expected"),
    [(4, 1, "0496c9ea00"), (16, 5, "0496c9ea832e")],
)
def test_the_bits_stay_what_they_are(levels: int, most: int, expected: str) -> None:
    reference = (1 + np.arange(48).reshape(3, 4, 4) * 7 % max(1, levels - 2)).astype(np.uint8)
    values = reference.copy()
    values[0, 1, 2] += 1
    values[2, 0, 0] -= 1
    values[2, 3, 3] = min(levels - 1, int(values[2, 3, 3]) + most)
    data = encode_changes(values, reference, levels=levels)
    assert data.hex() == expected
    assert np.array_equal(decode_changes(data, reference, levels=levels), values)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_scattered_changes_by_one_take_little_more_than_their_entropy(share: float) -> None:
    reference = np.full((8, 20, 20), 2, np.uint8)
    values = moved(reference, levels=5, share=1.5 * share, most=1, seed=5)  # a third moves by 0
    found = np.count_nonzero(values != reference) / values.size
    ideal_bits = values.size * (-found * np.log2(found / 2) - (1 - found) * np.log2(1 - found))
    assert 8 * len(encode_changes(values, reference, levels=5)) < 1.06 * ideal_bits + 40


def test_changes_of_whole_places_are_found_to_be_neighbours() -> None:
    reference = np.full((16, 10, 10), 2, np.uint8)
    values = reference.copy()
    values[:, 2, 3] = values[:, 7, 1] = 3  # all maps at two places
    assert len(encode_changes(values, reference, levels=5)) < 16
    values = reference.copy()
    values[4, 2:4] = 3  # two rows of one map
    assert len(encode_changes(values, reference, levels=5)) < 16


@given(st.binary(min_size=1, max_size=40), st.sampled_from([2, 3, 16, 256]), st.integers(0, 99))
def test_any_bytes_decode_within_the_levels_or_are_refused(
    data: bytes, levels: int, seed: int
) -> None:
    reference = np.random.default_rng(seed).integers(0, levels, (2, 5, 3)).astype(np.uint8)
    try:
        decoded = decode_changes(data, reference, levels=levels)
    except WireError:
        return
    assert decoded.shape == reference.shape
    assert decoded.max() < levels


@given(pairs(), st.integers(1, 8))
def test_a_cut_or_padded_payload_is_refused(
    pair: tuple[Values, Values, int], num_bytes: int
) -> None:
    values, reference, levels = pair
    data = encode_changes(values, reference, levels=levels)
    with pytest.raises(WireError, match="follows" if data else "early|follows"):
        decode_changes(data + bytes(num_bytes), reference, levels=levels)
    if len(data) > num_bytes:
        with pytest.raises(WireError):
            decode_changes(data[:-num_bytes], reference, levels=levels)
