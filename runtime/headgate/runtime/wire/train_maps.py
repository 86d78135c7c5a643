"""Maps of split training on a grid, in as few bytes as their neighbours foretell.

Of a map [h, w] that goes row by row, the decoder knows the values to the left, above and at the
corner. Their median edge (the predictor of JPEG-LS, ISO/IEC 14495-1 A.4.2) foretells a value; what
crosses is the difference to it, modulo the L = 1 << bits levels. How the differences are spread
follows from how much the three neighbours differ, and from whether the foretold value lies below,
at or above the grid's middle, a gradient's zero. These contexts' frequencies are counted for each
tensor and cross with it, so neither side keeps anything between two messages.

    bytes of the table u32, the table, then what `train_lanes` writes

The table is a zstd frame of the frequencies [context, level] less their upper bytes, then these.
Maps of all pictures are dealt to the lanes in turn, so that each has some LANE_VALUES to code; the
first lanes may have one map more. A lane takes its values one after the other, which larger maps
than MAX_MAP_VALUES are too slow for: a reader must not be kept for minutes by a few bytes.

Measured on what crosses in four bits (docs/log.md, "Maps of split training"): 25 % fewer bytes of
maps than zstd and 37 of gradients in the first epochs, 11 and 23 in the last, lanes and table
included.
"""

from struct import Struct

import numpy as np
import numpy.typing as npt

from headgate.profiles.errors import WireError
from headgate.runtime.wire.train_lanes import (
    WHOLE,
    LaneDecoder,
    SlotTable,
    encode_lanes,
)
from headgate.runtime.wire.train_zstd import compressed, decompressed

MAX_MAP_VALUES = 1 << 14  # 128 x 128: one takes some 0.4 s to read, 8,192 at once take 5 s
LANE_VALUES = 512  # of a lane: it costs 2 bytes, they take some 150
BORDER = 6  # the class of values that lack a neighbour
SIDES = 3  # of the grid's middle
CONTEXTS = (BORDER + 1) * SIDES
_TABLE_BYTES = Struct("<I")

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.intp]


def encode_maps(values_BCHW: Bytes, *, bits: int) -> bytes:
    """Return the bytes of values 0 .. (1 << bits) - 1.

    There is at least one, and of a map at most MAX_MAP_VALUES.
    """
    levels = 1 << bits
    *_, height, width = values_BCHW.shape
    maps = values_BCHW.reshape(-1, height, width).astype(np.intp)
    foretold, context = _foretell(maps, levels)
    cell = context * levels + ((maps - foretold) & (levels - 1))
    counts_KL = np.bincount(cell.reshape(-1), minlength=CONTEXTS * levels).reshape(-1, levels)
    frequencies_KL = _frequencies(counts_KL)
    starts_KL = np.cumsum(frequencies_KL, axis=1) - frequencies_KL
    num_lanes = lanes_of(len(maps), height * width)
    cell = _in_order(cell.reshape(len(maps), -1), num_lanes)
    coded = encode_lanes(
        frequencies_KL.reshape(-1).astype(np.uint64)[cell],
        starts_KL.reshape(-1).astype(np.uint64)[cell],
        active=_active(len(maps), height * width, num_lanes),
    )
    table = _write_table(frequencies_KL)
    return b"".join([_TABLE_BYTES.pack(len(table)), table, coded])


def decode_maps(data: bytes, *, shape: tuple[int, ...], bits: int) -> Bytes:
    """Return the values [B, C, h, w] that the bytes stand for, or raise WireError.

    Allocates some bytes a value, and takes steps as a map has values: the shape is the caller's to
    check.
    """
    levels = 1 << bits
    *outer, height, width = shape
    num_maps = int(np.prod(outer))
    table, coded = _read_table(data, levels)
    num_lanes = lanes_of(num_maps, height * width)
    decoder = LaneDecoder(coded, num_lanes=num_lanes, table=SlotTable(table))
    maps = np.empty((num_maps, height, width), np.uint8)
    for first in range(0, num_maps, num_lanes):
        _decode_round(decoder, maps[first : first + num_lanes], levels)
    decoder.finish()
    return maps.reshape(shape)


def lanes_of(num_maps: int, map_values: int) -> int:
    """Return how many lanes code so many maps of so many values."""
    return min(num_maps, max(1, num_maps * map_values // LANE_VALUES))


# --- what neighbours foretell


def _foretell(maps: Ints, levels: int) -> tuple[Ints, Ints]:
    """Return what is foretold of each value, and its context."""
    foretold = np.empty_like(maps)
    spread = np.full(maps.shape, BORDER)
    foretold[:, 0, 0] = _middle(levels)
    foretold[:, 0, 1:] = maps[:, 0, :-1]
    foretold[:, 1:, 0] = maps[:, :-1, 0]
    left, up, corner = maps[:, 1:, :-1], maps[:, :-1, 1:], maps[:, :-1, :-1]
    foretold[:, 1:, 1:], range_ = _median_edge(left, up, corner)
    spread[:, 1:, 1:] = _spread_classes(levels)[range_]
    return foretold, SIDES * spread + _sides(levels)[foretold]


def _median_edge(left: Ints, up: Ints, corner: Ints) -> tuple[Ints, Ints]:
    """Return the foretold values, and how much the three differ."""
    least, most = np.minimum(left, up), np.maximum(left, up)
    foretold = np.minimum(np.maximum(left + up - corner, least), most)
    return foretold, np.maximum(most, corner) - np.minimum(least, corner)


def _spread_classes(levels: int) -> Ints:
    """Return the class of each range of neighbours, 0 to BORDER - 1: bounds at 1/64 to 1/4."""
    bounds = [max(1, levels >> shift) for shift in range(BORDER, 1, -1)]
    return np.searchsorted(bounds, np.arange(levels), side="right")


def _sides(levels: int) -> Ints:
    """Return for each value whether it is below, at or above the middle: 0, 1, 2."""
    return np.sign(np.arange(levels) - _middle(levels)) + 1


def _middle(levels: int) -> int:
    return levels // 2 - 1  # where the grid of gradients has its zero


def _decode_round(decoder: LaneDecoder, maps: Bytes, levels: int) -> None:
    """Fill maps [n, h, w], one of each lane, all at once."""
    num, height, width = maps.shape
    sides = WHOLE * _sides(levels)
    classes = WHOLE * SIDES * _spread_classes(levels)
    border = WHOLE * SIDES * BORDER
    left = up = np.full(num, _middle(levels))
    above: list[Bytes] = []
    for y in range(height):
        row: list[Bytes] = []
        for x in range(width):
            corner, up = up, above[x].astype(np.intp) if y else up
            if x and y:
                foretold, range_ = _median_edge(left, up, corner)
                first_slots = classes[range_] + sides[foretold]
            else:
                foretold = left if x else up
                first_slots = border + sides[foretold]
            left = (decoder.take(first_slots, num=num) + foretold) & (levels - 1)
            row.append(left.astype(np.uint8))  # a row may be long, and there may be many lanes
        maps[:, y] = np.stack(row, axis=1)
        above = row


# --- in which order


def _in_order(cell_MV: Ints, num_lanes: int) -> Ints:
    """Return the values of maps [maps, values] step after step: one of each lane."""
    whole = len(cell_MV) // num_lanes * num_lanes
    rounds = cell_MV[:whole].reshape(-1, num_lanes, cell_MV.shape[1]).transpose(0, 2, 1)
    return np.concatenate([rounds.reshape(-1), cell_MV[whole:].T.reshape(-1)])


def _active(num_maps: int, map_values: int, num_lanes: int) -> list[int]:
    rounds, rest = divmod(num_maps, num_lanes)
    return [num_lanes] * (rounds * map_values) + ([rest] * map_values if rest else [])


# --- tables


def _frequencies(counts_KL: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return frequencies that add up to WHOLE, at least 1 for what occurs."""
    occurs = counts_KL > 0
    totals = np.maximum(1, counts_KL.sum(axis=1, keepdims=True))
    shares: npt.NDArray[np.int64] = np.maximum(counts_KL * WHOLE // totals, occurs)
    for row in shares:
        row[row.argmax()] += max(0, WHOLE - row.sum())
        while (excess := row.sum() - WHOLE) > 0:  # of what was rounded up to 1
            row[row.argmax()] -= min(excess, row.max() // 2)
    return shares


def _write_table(frequencies_KL: npt.NDArray[np.int64]) -> bytes:
    """Return the table as a zstd frame; it is plain where that does not pay."""
    lower, upper = frequencies_KL & 0xFF, frequencies_KL >> 8
    plain = np.concatenate([lower.reshape(-1), upper.reshape(-1)]).astype(np.uint8).tobytes()
    return compressed(plain) or plain


def _read_table(data: bytes, levels: int) -> tuple[npt.NDArray[np.int64], bytes]:
    """Return the frequencies [context, level], and what follows them; raises WireError."""
    if len(data) < _TABLE_BYTES.size:
        raise WireError(f"{len(data)} bytes, too few for a table")
    (num_bytes,) = _TABLE_BYTES.unpack_from(data)
    table, coded = data[_TABLE_BYTES.size :][:num_bytes], data[_TABLE_BYTES.size + num_bytes :]
    plain_bytes = 2 * CONTEXTS * levels
    if len(table) < plain_bytes:
        table = decompressed(table, num_bytes=plain_bytes, where="the table")
    elif len(table) > plain_bytes:
        raise WireError(f"a table of {len(table)} bytes, expected at most {plain_bytes}")
    lower, upper = np.frombuffer(table, np.uint8).reshape(2, CONTEXTS, levels).astype(np.int64)
    frequencies_KL = lower + (upper << 8)
    if (frequencies_KL.sum(axis=1) != WHOLE).any():
        raise WireError(f"frequencies of the table do not add up to {WHOLE}")
    return frequencies_KL, coded
