"""A range coder: write values into as few bytes as their probabilities allow, exactly.

The coder narrows an interval of whole numbers. Every value takes the share `frequency / 2 ** P` of
what is left, and the bytes name a number inside the last interval. Its width `span` stays within
16 to 32 bits: below, 16 more bits are taken in at the lower end. Only whole numbers are used, so
every machine gets the same bytes. (G. N. N. Martin, Range encoding, 1979. The encoder resolves
carries at the end, so there are no special cases.)

One plain loop over the values, in both directions: for the few hundred to few thousand values of
a frame, lanes that NumPy could run side by side cost more than they save (the log has numbers).
"""

from collections.abc import Iterable

import numpy as np

WORD_BITS = 16
WORD = 1 << WORD_BITS
WHOLE = 1 << (2 * WORD_BITS)  # the first interval
FIRST_BYTES = 2 * WORD_BITS // 8


def encode_intervals(
    frequencies: Iterable[int], starts: Iterable[int], *, precision_bits: int
) -> bytes:
    """Return the bytes for values whose shares are [start, start + frequency) of 2 ** precision.

    At least one byte; zeros at the end are left out, because a decoder reads zeros there.
    """
    low, span = 0, WHOLE
    words: list[int] = []
    for frequency, start in zip(frequencies, starts, strict=True):
        unit = span >> precision_bits
        low += start * unit
        span = frequency * unit
        if span < WORD:
            words.append(low >> WORD_BITS)
            low = (low & (WORD - 1)) << WORD_BITS
            span <<= WORD_BITS
    return _shortest(words, low, span)


def _shortest(words: list[int], low: int, span: int) -> bytes:
    """Return the fewest bytes that name a number in [low, low + span), after the words."""
    num_bytes = FIRST_BYTES
    end = low
    for cut_bits in (24, 16, 8):
        rounded = -(-low >> cut_bits) << cut_bits
        if rounded < low + span:
            num_bytes, end = FIRST_BYTES - cut_bits // 8, rounded
            break
    # A word may hold a 17th bit: the carry into the word before it.
    all_words = np.array([*words, end >> WORD_BITS, end & (WORD - 1)], dtype=np.uint32)
    digits = int.from_bytes((all_words & (WORD - 1)).astype(">u2").tobytes(), "big")
    carries = int.from_bytes((all_words >> WORD_BITS).astype(">u2").tobytes(), "big")
    total = digits + (carries << WORD_BITS)
    whole = total.to_bytes(2 * len(all_words), "big")
    kept = whole[: 2 * len(words) + num_bytes].rstrip(b"\0")
    return kept or b"\0"


def first_and_words(data: bytes) -> tuple[int, list[int]]:
    """Return the number a decoder starts with, and the words it will take in; zeros follow."""
    padded = (data + bytes(-len(data) % 2)).ljust(FIRST_BYTES, b"\0")
    first = int.from_bytes(padded[:FIRST_BYTES], "big")
    words: list[int] = np.frombuffer(padded[FIRST_BYTES:], dtype=">u2").tolist()
    return first, words
