"""The range coder: exact, and as short as the probabilities allow."""

from itertools import pairwise
from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.runtime.codec.range_coder import WHOLE, encode_intervals, first_and_words

Row = tuple[int, ...]  # frequencies


def starts_of(row: Row) -> list[int]:
    return [sum(row[:value]) for value in range(len(row))]


def encode(values: list[int], row: Row) -> bytes:
    starts = starts_of(row)
    bits = sum(row).bit_length() - 1
    return encode_intervals(
        [row[value] for value in values], [starts[value] for value in values], precision_bits=bits
    )


def decode(data: bytes, num: int, row: Row) -> list[int]:
    """Decode as docs/wire.md describes it, with no table and no shortcut."""
    bits = sum(row).bit_length() - 1
    number, words = first_and_words(data)
    span, found = WHOLE, []
    for _ in range(num):
        unit = span >> bits
        value = max(v for v, start in enumerate(starts_of(row)) if start <= number // unit)
        number -= starts_of(row)[value] * unit
        span = row[value] * unit
        if span < 1 << 16:
            span <<= 16
            number = number << 16 | (words.pop(0) if words else 0)
        found.append(value)
    assert not words
    return found


@st.composite
def rows(draw: st.DrawFn) -> Row:
    bits = draw(st.integers(8, 14))
    cuts = draw(st.sets(st.integers(1, (1 << bits) - 1), min_size=1, max_size=12))
    edges = [0, *sorted(cuts), 1 << bits]
    return tuple(b - a for a, b in pairwise(edges))


@given(st.data(), rows())
def test_what_was_encoded_comes_back(data: st.DataObject, row: Row) -> None:
    values = data.draw(st.lists(st.integers(0, len(row) - 1), max_size=300))
    assert decode(encode(values, row), len(values), row) == values


@given(st.data(), rows())
def test_the_bytes_are_as_few_as_the_shares_allow(data: st.DataObject, row: Row) -> None:
    values = data.draw(st.lists(st.integers(0, len(row) - 1), max_size=300))
    bits = sum(log2(sum(row) / row[value]) for value in values)
    # A step rounds the share down by less than one part in 2 ** (16 - precision).
    slack = 1 / (1 << (16 - (sum(row).bit_length() - 1)))
    assert len(encode(values, row)) <= 2 + (bits + 1.5 * slack * len(values)) / 8


def test_carries_run_through_words_that_are_full() -> None:
    # The last value lies at the upper end of every interval, so low is all ones for long.
    row = (1, 255 - 1, 1)
    for length in range(1, 120):
        for end in (0, 1, 2):
            values = [2] * length + [end] * 3
            assert decode(encode(values, row), len(values), row) == values


@pytest.mark.parametrize("values", [[], [0], [0] * 50])
def test_nothing_takes_one_byte(values: list[int]) -> None:
    assert encode(values, (255, 1)) == b"\0"
