"""The codec "context": a range coder with frequencies that depend on a value's neighbours.

Values are coded map by map, row by row. The frequencies of each come from the operating point's
table (`headgate.profiles.context_table`), chosen by the neighbours that the decoder already knows.
The encoder knows them all, so it looks frequencies up with NumPy and only the range coder is a
loop; the decoder finds the neighbours as it goes. Both allocate in proportion to the values.
"""

from dataclasses import dataclass
from functools import lru_cache
from operator import length_hint

import numpy as np
import numpy.typing as npt

from headgate.profiles.context_table import ContextTable
from headgate.profiles.errors import WireError
from headgate.runtime.codec.range_coder import (
    WHOLE,
    WORD,
    WORD_BITS,
    encode_intervals,
    first_and_words,
)

_Bytes = npt.NDArray[np.uint8]
# The value each slot belongs to, and for every value itself, its frequency and its start.
_Slots = tuple[bytes, list[tuple[int, int, int]]]
_ByLeft = list[_Slots]  # by the value to the left; the last is for the border


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A table, ready for both directions."""

    precision_bits: int
    row_of_context: npt.NDArray[np.uint8]
    frequencies: npt.NDArray[np.uint16]  # [rows, levels]
    starts: npt.NDArray[np.uint16]
    classes: _Bytes  # [levels + 1], the border's last
    class_of_value: list[int]  # the same
    slots: list[list[_ByLeft]]  # by the classes above and at the corner


def encode_contexts(q_CHW: _Bytes, *, levels: int, table: ContextTable) -> bytes:
    """Return the bytes for integers 0 .. levels - 1; nothing bounds them from above."""
    compiled = _compile(table, levels)
    num_maps, height, width = q_CHW.shape
    padded = np.full((num_maps, height + 1, width + 1), table.bins, dtype=np.int32)
    padded[:, 1:, 1:] = compiled.classes[q_CHW]
    planes = {"left": padded[:, 1:, :-1], "up": padded[:, :-1, 1:], "corner": padded[:, :-1, :-1]}
    context = planes[table.neighbours[0]]
    for name in table.neighbours[1:]:
        context = context * (table.bins + 1) + planes[name]
    row = compiled.row_of_context[context].reshape(-1)
    values = q_CHW.reshape(-1)
    return encode_intervals(
        compiled.frequencies[row, values].tolist(),
        compiled.starts[row, values].tolist(),
        precision_bits=compiled.precision_bits,
    )


def decode_contexts(
    data: bytes, *, shape: tuple[int, ...], levels: int, table: ContextTable
) -> _Bytes:
    """Return the integers [C, h, w] that the bytes stand for, or raise WireError.

    The inner loop is what an edge pays: what it reads is local, and the corner of a place is the
    upper neighbour of the one before (a third less time than looking it up).
    """
    compiled = _compile(table, levels)
    slots, precision_bits, border = compiled.slots, compiled.precision_bits, table.bins
    number, listed = first_and_words(data)
    words, span = iter(listed), WHOLE
    num_maps, height, width = shape
    found: list[int] = []
    append = found.append
    try:
        for index in range(num_maps * height):
            if index % height == 0:
                ups = [border] * width
            corner, value = border, levels
            for up in ups:
                owner_of_slot, owners = slots[up][corner][value]
                unit = span >> precision_bits
                value, frequency, start = owners[owner_of_slot[number // unit]]
                number -= start * unit
                span = frequency * unit
                if span < WORD:
                    span <<= WORD_BITS
                    number = number << WORD_BITS | next(words, 0)
                append(value)
                corner = up
            ups = found[-width:]
            if border != levels:
                ups = [compiled.class_of_value[value] for value in ups]
    except IndexError:
        raise WireError("features: the bytes name no value; they are damaged") from None
    if length_hint(words):
        raise WireError(f"features: something follows the last of {len(found)} values")
    return np.array(found, dtype=np.uint8).reshape(shape)


@lru_cache(maxsize=1024)  # as many points as all families of an edge may have; 30 to 500 kB each
def _compile(table: ContextTable, levels: int) -> _Compiled:
    frequencies = np.array(table.frequencies, dtype=np.int64)
    starts = np.cumsum(frequencies, axis=1) - frequencies
    assignment = table.assignment
    class_of_value = [*(value * table.bins // levels for value in range(levels)), table.bins]
    slots_of_row = [
        (
            bytes(np.repeat(np.arange(levels), row).astype(np.uint8)),
            list(zip(range(levels), row.tolist(), first.tolist(), strict=True)),
        )
        for row, first in zip(frequencies, starts, strict=True)
    ]
    return _Compiled(
        precision_bits=int(frequencies[0].sum()).bit_length() - 1,
        row_of_context=np.array(assignment, dtype=np.uint8),
        frequencies=frequencies.astype(np.uint16),
        starts=starts.astype(np.uint16),
        classes=np.array(class_of_value, dtype=np.uint8),
        class_of_value=class_of_value,
        slots=_slots(table, slots_of_row, class_of_value),
    )


def _slots(
    table: ContextTable, slots_of_row: list[_Slots], class_of_value: list[int]
) -> list[list[_ByLeft]]:
    """Arrange the rows' slots for the decoder, whatever the order of the table's neighbours."""
    base, names, assignment = table.bins + 1, table.neighbours, table.assignment
    # Neighbours that the table does not name make no difference.
    worth = {"up": 0, "corner": 0}
    worth |= {name: base ** (len(names) - 1 - place) for place, name in enumerate(names)}

    def row_of(left: int, up: int, corner: int) -> int:
        return assignment[left * worth["left"] + up * worth["up"] + corner * worth["corner"]]

    return [
        [
            [slots_of_row[row_of(left, up, corner)] for left in class_of_value]
            for corner in range(base)
        ]
        for up in range(base)
    ]
