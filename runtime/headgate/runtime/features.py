"""Feature maps <-> payload bytes, exactly: pack small integers, entropy-code, bounded both ways.

Integers 0 .. L - 1 are digits to the base L. Two ways to write digits densely:

- groups: as many digits as fit into 1 to 8 bytes, first digit lowest, little-endian; the number of
  bytes is the one that wastes least (the smaller of equals). The last, partial group takes only
  the bytes it needs. Never more than whole bits take; over the ideal log2 L a value by at most
  5 % up to 16 levels and by 12 % at the worst (139).
- symbols: k digits in one byte, first digit lowest, L ** k <= 256; zeros pad the last byte. Digits
  never straddle bytes, so a byte-wise entropy coder sees k neighbouring values as one symbol: for
  5 levels that takes 10 to 25 % fewer bytes than zstd over packed bits, and less time.

Codec "raw" is groups. Codec "zstd" begins with a mode byte:

    0        groups follow
    k        1 <= k <= 8: one zstd frame of symbols with k digits each
    16 + k   the same after replacing each value but the first by its difference to the one before
             (row by row, map by map), modulo L

The zstd frame has neither magic, content size, checksum nor dictionary (4 to 10 bytes saved; the
size follows from the shape). The encoder tries a few modes and keeps the smallest, so a payload
is never larger than the groups and one byte; the decoder takes any mode and refuses larger ones.

Codec "context" (`context_coder`) is a range coder with the operating point's own frequencies. Where
that does not save a byte the groups are sent; a payload as long as the groups is the groups. So it
is never larger than they are, and no byte is spent on saying which of the two it is.
"""

from fractions import Fraction
from functools import lru_cache
from math import prod

import numpy as np
import numpy.typing as npt
import zstandard

from headgate.profiles.context_table import ContextTable
from headgate.profiles.errors import WireError
from headgate.profiles.manifest import CODECS
from headgate.profiles.quantise import MAX_LEVELS, MIN_LEVELS
from headgate.runtime.context_coder import decode_contexts, encode_contexts

_GROUPS = 0
_DIFFERENCES = 16
_MAX_DIGITS = 8  # 2 ** 8 = 256
# Measured on 256 to 8192 peaky integers, 1 core of a server: level 15 takes 1 to 8 % fewer bytes
# than level 3 in 5 to 70 us up to 2 kB of symbols; beyond, its time grows faster than its gain.
_BEST_LEVEL, _BEST_UP_TO_BYTES = 15, 2048
_GOOD_LEVEL, _GOOD_UP_TO_BYTES = 9, 1 << 15
_QUICK_LEVEL = 3
_TRY_ALL_UP_TO_VALUES = 1024  # below, trying quickly first ranks wrongly and saves nothing
_MIN_WINDOW_BYTES = 1 << 10  # zstd's own minimum

# Contexts wait here for the next caller. They are not thread-safe, but taking one out of a list
# and putting it back are atomic, so no two threads ever hold the same one.
_idle_compressors: dict[tuple[int, int], list[zstandard.ZstdCompressor]] = {}
_idle_decompressors: list[zstandard.ZstdDecompressor] = []

_Bytes = npt.NDArray[np.uint8]


def encode_features(
    q_CHW: _Bytes,
    *,
    levels: int,
    codec: str,
    table: ContextTable | None = None,
    before_CHW: _Bytes | None = None,
) -> bytes:
    """Return the payload of integers 0 .. levels - 1; at most the packed size and one byte.

    Codec "context" needs `table`, and a table with the neighbour "before" the integers of the
    previous frame, which the decoder must have too.
    """
    assert MIN_LEVELS <= levels <= MAX_LEVELS
    assert q_CHW.size > 0
    assert int(q_CHW.max()) < levels, "the head emitted a value outside its levels"
    values = np.ascontiguousarray(q_CHW, dtype=np.uint8).reshape(-1)
    if codec == "raw":
        return _pack_groups(values, levels)
    if codec == "context":
        assert table is not None
        data = encode_contexts(q_CHW, levels=levels, table=table, before_CHW=before_CHW)
        shorter = len(data) < packed_bytes(values.size, levels)
        return data if shorter else _pack_groups(values, levels)
    assert codec == "zstd"
    mode, frame = _smallest_frame(values, levels)
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
    before_CHW: _Bytes | None = None,
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
        return decode_contexts(data, shape=shape, levels=levels, table=table, before_CHW=before_CHW)
    mode, body = data[0], data[1:]
    if mode == _GROUPS:
        return _unpack_groups(body, num_values, levels).reshape(shape)
    digits = mode % _DIFFERENCES
    if mode >= 2 * _DIFFERENCES or not 1 <= digits <= _max_digits(levels):
        raise WireError(f"features: unknown mode {mode} at {levels} levels; update Headgate")
    symbols = _decompress(body, num_bytes=-(-num_values // digits))
    values = _from_symbols(symbols, num_values, levels, digits)
    if mode >= _DIFFERENCES:
        values = (np.cumsum(values, dtype=np.uint64) % np.uint64(levels)).astype(np.uint8)
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
    digits = _padded(values, group_digits).astype(np.uint64)
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
    return _without_padding(quotients % np.uint64(levels), num_values)


# --- symbols


def _max_digits(levels: int) -> int:
    fitting = [digits for digits in range(1, _MAX_DIGITS + 1) if levels**digits <= 256]
    return fitting[-1]


@lru_cache(maxsize=256)
def _symbol_digits(levels: int, digits: int) -> _Bytes:
    """Return the digits of every symbol: [levels ** digits, digits]."""
    symbols = np.arange(levels**digits, dtype=np.uint32)[:, None]
    powers = np.uint32(levels) ** np.arange(digits, dtype=np.uint32)
    digits_by_symbol: _Bytes = (symbols // powers % np.uint32(levels)).astype(np.uint8)
    return digits_by_symbol


def _to_symbols(values: _Bytes, levels: int, digits: int) -> bytes:
    if digits == 1:
        return values.tobytes()
    groups = _padded(values, digits)
    symbols = groups[:, -1].copy()
    for place in range(digits - 2, -1, -1):  # Horner; faster than a sum over an axis
        symbols *= np.uint8(levels)
        symbols += groups[:, place]
    return symbols.tobytes()


def _from_symbols(data: bytes, num_values: int, levels: int, digits: int) -> _Bytes:
    symbols = np.frombuffer(data, dtype=np.uint8)
    table = _symbol_digits(levels, digits)
    if int(symbols.max()) >= len(table):
        raise WireError(
            f"features: symbol {int(symbols.max())}, {digits} values at {levels} levels "
            f"end at {len(table) - 1}"
        )
    return _without_padding(table[symbols], num_values)


def _padded(values: _Bytes, digits: int) -> _Bytes:
    """Return the values in groups [*, digits], zeros after the last."""
    missing = -values.size % digits
    if missing:
        values = np.concatenate([values, np.zeros(missing, np.uint8)])
    return values.reshape(-1, digits)


def _without_padding(groups: npt.NDArray[np.integer], num_values: int) -> _Bytes:
    values = groups.reshape(-1)
    if values[num_values:].any():
        raise WireError(f"features: something follows the last of {num_values} values")
    return values[:num_values].astype(np.uint8, copy=False)


# --- entropy coding


def _smallest_frame(values: _Bytes, levels: int) -> tuple[int, bytes]:
    """Return the mode and frame of the best of a few ways to group the values."""
    most = _max_digits(levels)
    differences = values.copy()
    differences[1:] -= values[:-1]  # wraps at 256; adding L undoes it below 0
    differences[1:][values[1:] < values[:-1]] += np.uint8(levels % 256)
    # Many digits a symbol are best for long arrays, two for short ones (a smaller table).
    modes = {most, max(1, most - 1), min(2, most)}
    symbols = {mode: _to_symbols(values, levels, mode) for mode in sorted(modes)}
    symbols[_DIFFERENCES + most] = _to_symbols(differences, levels, most)
    if values.size > _TRY_ALL_UP_TO_VALUES:
        tried = {mode: len(_compress(data, _QUICK_LEVEL)) for mode, data in symbols.items()}
        best = min(tried, key=lambda mode: tried[mode])
        symbols = {best: symbols[best]}
    frames = {mode: _compress(data, _level_for(len(data))) for mode, data in symbols.items()}
    return min(frames.items(), key=lambda item: len(item[1]))


def _level_for(num_bytes: int) -> int:
    if num_bytes <= _BEST_UP_TO_BYTES:
        return _BEST_LEVEL
    return _GOOD_LEVEL if num_bytes <= _GOOD_UP_TO_BYTES else _QUICK_LEVEL


def _compress(data: bytes, level: int) -> bytes:
    key = (level, len(data).bit_length())
    idle = _idle_compressors.setdefault(key, [])
    try:
        compressor = idle.pop()
    except IndexError:
        compressor = _new_compressor(level, source_bytes=1 << key[1])
    frame = compressor.compress(data)
    idle.append(compressor)
    return frame


def _new_compressor(level: int, *, source_bytes: int) -> zstandard.ZstdCompressor:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level,
        source_size=source_bytes,
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=0,
        write_checksum=0,
        write_dict_id=0,
    )
    return zstandard.ZstdCompressor(compression_params=parameters)


def _decompress(frame: bytes, *, num_bytes: int) -> bytes:
    """Return exactly that many bytes, or raise WireError before anything larger is allocated."""
    try:
        announced = zstandard.get_frame_parameters(frame, format=zstandard.FORMAT_ZSTD1_MAGICLESS)
        # A size in the frame would be allocated whatever limit we pass; so would a large window.
        if announced.content_size != zstandard.CONTENTSIZE_UNKNOWN or announced.dict_id:
            raise WireError("features: the zstd frame names a size or dictionary, expected neither")
        if announced.window_size > max(_MIN_WINDOW_BYTES, 2 * num_bytes):
            raise WireError(
                f"features: the zstd frame wants a window of {announced.window_size} bytes "
                f"for {num_bytes}"
            )
        data = _decompress_frame(frame, num_bytes)
    except zstandard.ZstdError as error:
        raise WireError(f"features: not a whole zstd frame of {num_bytes} bytes: {error}") from None
    if len(data) != num_bytes:
        raise WireError(f"features: the zstd frame holds {len(data)} bytes, expected {num_bytes}")
    return data


def _decompress_frame(frame: bytes, num_bytes: int) -> bytes:
    try:
        decompressor = _idle_decompressors.pop()
    except IndexError:
        decompressor = zstandard.ZstdDecompressor(format=zstandard.FORMAT_ZSTD1_MAGICLESS)
    data = decompressor.decompress(frame, max_output_size=num_bytes, allow_extra_data=False)
    _idle_decompressors.append(decompressor)  # after an error it is dropped instead
    return data
