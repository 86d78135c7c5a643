"""An entropy coder that NumPy runs for many lanes at once: asymmetric numeral systems (rANS).

A lane is a number that its symbols are folded into; the shares of a symbol, frequency and start of
1 << PRECISION_BITS, may differ from step to step. Where a lane would outgrow 32 bits, its lower 16
go out as a word first. All lanes take a step together, the first so many of them, and their words
are one stream: a decoder need only know the number of lanes to say whose word comes next. Only
whole numbers are used: every machine gets the same bytes. (J. Duda, Asymmetric numeral systems,
2013; F. Giesen, Interleaved entropy coders, 2014.)

    lanes u32 each, then words u16, all little-endian

A lane costs some 2 bytes beyond what its symbols are worth. A frame's payload is too short for
that (`codec.range_coder`); a batch of split training is not.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headgate.profiles.errors import WireError

PRECISION_BITS = 12
WHOLE = 1 << PRECISION_BITS
LANE_BYTES = 4
_WORD_BITS = 16
_LEAST = 1 << _WORD_BITS  # a lane is never less, and begins with it
_SLOT_MASK = np.uint64(WHOLE - 1)
_PRECISION, _WORD = np.uint64(PRECISION_BITS), np.uint64(_WORD_BITS)
_FULL = np.uint64(2 * _WORD_BITS - PRECISION_BITS)  # at frequency << _FULL a lane is too large

Shares = npt.NDArray[np.uint64]
Index = npt.NDArray[np.intp]


def encode_lanes(frequencies: Shares, starts: Shares, *, active: Sequence[int]) -> bytes:
    """Return the bytes of symbols with these shares, step after step.

    `active` says how many lanes take part in each step, never more than in the first.
    """
    lanes = np.full(active[0], _LEAST, np.uint64)
    words: list[npt.NDArray[np.uint64]] = []
    end = len(frequencies)
    for num in reversed(active):  # what is folded in last comes out first
        frequency, start = frequencies[end - num : end], starts[end - num : end]
        end -= num
        lane = lanes[:num]
        full = np.flatnonzero(lane >= frequency << _FULL)
        if full.size:
            words.append(lane[full])
            lane[full] >>= _WORD
        times, rest = np.divmod(lane, frequency)
        lane[:] = (times << _PRECISION) + rest + start
    stream = np.concatenate(words[::-1]).astype("<u2").tobytes() if words else b""
    return lanes.astype("<u4").tobytes() + stream


class SlotTable:
    """For each context and slot: whose slot it is, its frequency, and how far in it is."""

    def __init__(self, frequencies_KL: npt.NDArray[np.int64]) -> None:
        """The frequencies of each context's L symbols add up to WHOLE."""
        rows, num_symbols = frequencies_KL.shape
        owners = np.tile(np.arange(num_symbols), rows)
        shares = frequencies_KL.reshape(-1)
        starts = (np.cumsum(frequencies_KL, axis=1) - frequencies_KL).reshape(-1)
        slots = np.tile(np.arange(WHOLE), rows)
        self.owner: Index = np.repeat(owners, shares)
        self.frequency = np.repeat(shares, shares).astype(np.uint64)
        self.inside = (slots - np.repeat(starts, shares)).astype(np.uint64)


class LaneDecoder:
    """Takes symbols out of lanes, step by step, in the order in which they were given."""

    def __init__(self, data: bytes, *, num_lanes: int, table: SlotTable) -> None:
        """Raises WireError if there is no room for so many lanes."""
        if len(data) < LANE_BYTES * num_lanes or len(data) % 2:
            raise WireError(f"{len(data)} bytes for {num_lanes} lanes and whole words")
        self._lanes = np.frombuffer(data, "<u4", count=num_lanes).astype(np.uint64)
        self._words = np.frombuffer(data, "<u2", offset=LANE_BYTES * num_lanes).astype(np.uint64)
        self._next_word = 0
        self._table = table

    def take(self, first_slots: Index, *, num: int) -> Index:
        """Return the symbols of the first `num` lanes.

        `first_slots` is where the slots of each one's context begin: WHOLE times its number.
        """
        lane = self._lanes[:num]
        at = (lane & _SLOT_MASK).astype(np.intp) + first_slots
        lane[:] = self._table.frequency[at] * (lane >> _PRECISION) + self._table.inside[at]
        low = np.flatnonzero(lane < _LEAST)
        if low.size:
            words = self._words[self._next_word : self._next_word + low.size]
            if words.size < low.size:
                raise WireError("the words end before the last value; they are damaged")
            self._next_word += low.size
            lane[low] = (lane[low] << _WORD) | words
        symbols: Index = self._table.owner[at]
        return symbols

    def finish(self) -> None:
        """Raise WireError unless all that was folded in has come out."""
        if self._next_word < len(self._words) or (self._lanes != _LEAST).any():
            raise WireError("something is left after the last value; the bytes are damaged")
