"""Feature maps <-> payload bytes, exactly: pack small integers, entropy-code, bounded both ways.

Integers 0 .. L - 1 are digits to the base L. Codec "raw" writes them in groups: as many digits as
fit into 1 to 8 bytes, first digit lowest, little-endian; the number of bytes is the one that wastes
least (the smaller of equals). The last, partial group takes only the bytes it needs. Never more
than whole bits take; over the ideal log2 L a value by at most 5 % up to 16 levels and by 12 % at
the worst (139).

Codec "zstd" begins with a mode byte:

    0        groups follow
    k        1 <= k <= 8: one zstd frame of symbols with k digits each (`zstd_symbols`)
    16 + k   the same after replacing each value but the first by its difference to the one before
             (row by row, map by map), modulo L

The encoder tries a few modes and keeps the smallest, so a payload is never larger than the groups
and one byte; the decoder takes any mode and refuses larger ones.

Codec "context" (`context_coder`) is a range coder with the operating point's own frequencies. Where
that does not save a byte the groups are sent; a payload as long as the groups is the groups. So it
is never larger than they are, and no byte is spent on saying which of the two it is.
"""

from fractions import Fraction
from functools import lru_cache
from math import prod

import numpy as np
import numpy.typing as npt

from headgate.profiles.context_table import ContextTable
from headgate.profiles.errors import WireError
from headgate.profiles.manifest import CODECS
from headgate.profiles.quantise import MAX_LEVELS, MIN_LEVELS
from headgate.runtime.codec.context_coder import decode_contexts, encode_contexts
from headgate.runtime.codec.zstd_symbols import (
    padded,
    smallest_frame,
    values_of_frame,
    without_padding,
)

_GROUPS = 0  # the mode of a zstd payload that is no frame

_Bytes = npt.NDArray[np.uint8]


def encode_features(
    q_CHW: _Bytes,
    *,
    levels: int,
    codec: str,
    table: ContextTable | None = None,
) -> bytes:
    """Return the payload of integers 0 .. levels - 1; at most the packed size and one byte.

    Codec "context" needs `table`, and the decoder the same one.
    """
    assert MIN_LEVELS <= levels <= MAX_LEVELS
    assert q_CHW.size > 0
    assert int(q_CHW.max()) < levels, "the head emitted a value outside its levels"
    values = np.ascontiguousarray(q_CHW, dtype=np.uint8).reshape(-1)
    if codec == "raw":
        return _pack_groups(values, levels)
    if codec == "context":
        assert table is not None
        data = encode_contexts(q_CHW, levels=levels, table=table)
        shorter = len(data) < packed_bytes(values.size, levels)
        return data if shorter else _pack_groups(values, levels)
    assert codec == "zstd"
    mode, frame = smallest_frame(values, levels)
    if len(frame) < packed_bytes(values.size, levels):
        return bytes([mode]) + frame
    return bytes([_GROUPS]) + _pack_groups(values, levels)


def decode_features(
    data: bytes,
    *,
    shape: tuple[int, ...],
    levels: int,
    codec: str,
    table: ContextTable | None = None,
) -> _Bytes:
    """Return the integers of that shape, or raise WireError; allocates no more than they need."""
    assert MIN_LEVELS <= levels <= MAX_LEVELS
    assert codec in CODECS
    num_values = prod(shape)
    largest_bytes = packed_bytes(num_values, levels) + (codec == "zstd")
    if not 1 <= len(data) <= largest_bytes:
        raise WireError(
            f"features: {len(data)} bytes for {list(shape)} at {levels} levels, "
            f"expected 1 to {largest_bytes}; device and edge need the same family"
        )
    if codec == "raw" or (codec == "context" and len(data) == largest_bytes):
        return _unpack_groups(data, num_values, levels).reshape(shape)
    if codec == "context":
        assert table is not None
        return decode_contexts(data, shape=shape, levels=levels, table=table)
    mode, body = data[0], data[1:]
    if mode == _GROUPS:
        return _unpack_groups(body, num_values, levels).reshape(shape)
    values = values_of_frame(mode, body, num_values=num_values, levels=levels)
    return values.reshape(shape)


def packed_bytes(num_values: int, levels: int) -> int:
    """Return the size of that many values as groups."""
    group_bytes, group_digits = _group(levels)
    num_groups, rest = divmod(num_values, group_digits)
    largest_rest: int = levels**rest - 1
    return group_bytes * num_groups + (largest_rest.bit_length() + 7) // 8


# --- groups


@lru_cache(maxsize=256)
def _group(levels: int) -> tuple[int, int]:
    """Return how many bytes a group has, and how many digits they hold."""
    fitting: list[tuple[int, int]] = []
    for num_bytes in range(1, 9):
        digits = max(n for n in range(1, 65) if levels**n <= 256**num_bytes)
        fitting.append((num_bytes, digits))
    return min(fitting, key=lambda group: (Fraction(*group), group))


@lru_cache(maxsize=256)
def _group_powers(levels: int) -> npt.NDArray[np.uint64]:
    powers = [levels**place for place in range(_group(levels)[1])]
    return np.array(powers, dtype=np.uint64)


def _pack_groups(values: _Bytes, levels: int) -> bytes:
    group_bytes, group_digits = _group(levels)
    digits = padded(values, group_digits).astype(np.uint64)
    words: npt.NDArray[np.uint64] = (digits * _group_powers(levels)).sum(axis=1, dtype=np.uint64)
    # Little-endian puts the zero bytes of every word, and of the partial last group, at its end.
    groups = words.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :group_bytes]
    packed: bytes = groups.tobytes()
    return packed[: packed_bytes(values.size, levels)]


def _unpack_groups(data: bytes, num_values: int, levels: int) -> _Bytes:
    expected_bytes = packed_bytes(num_values, levels)
    if len(data) != expected_bytes:
        raise WireError(
            f"features: {len(data)} packed bytes, {num_values} values at {levels} levels "
            f"need {expected_bytes}"
        )
    group_bytes, _ = _group(levels)
    groups = np.frombuffer(data + bytes(-len(data) % group_bytes), np.uint8)
    padded = np.zeros((groups.size // group_bytes, 8), np.uint8)
    padded[:, :group_bytes] = groups.reshape(-1, group_bytes)
    words = padded.view("<u8").astype(np.uint64, copy=False)
    quotients = words // _group_powers(levels)
    if int(quotients[:, -1].max()) >= levels:
        raise WireError(f"features: a packed group holds a value of {levels} or more")
    return without_padding(quotients % np.uint64(levels), num_values)
