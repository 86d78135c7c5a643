"""Integers 0 .. L - 1 as bytes for zstd, and zstd frames with nothing in them but the data.

A byte, here a symbol, holds k digits to the base L, first digit lowest, L ** k <= 256; zeros pad
the last one. Digits never straddle bytes, so a byte-wise entropy coder sees k neighbouring values
as one symbol: for 5 levels that takes 10 to 25 % fewer bytes than zstd over packed bits, and less
time. Frames have neither magic, content size, checksum nor dictionary (4 to 10 bytes saved; the
size follows from the shape).
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import zstandard

from headgate.profiles.errors import WireError

DIFFERENCES = 16  # added to the digits of a symbol: differences instead of values
_MAX_DIGITS = 8  # 2 ** 8 = 256
# Measured on codes of residual networks (docs/benchmarks.md, codec): level 1 takes 0 to 4 % more
# bytes than level 15 from 5 levels up, in half the time; level 3 takes more than level 1.
QUICK_LEVEL = 1
# Up to 4 levels, 12 once more on the best of the quick ones saves another 2 to 6 %.
THOROUGH_LEVEL, THOROUGH_UP_TO_LEVELS = 12, 4
_MIN_WINDOW_BYTES = 1 << 10  # zstd's own minimum

# Contexts wait here for the next caller. They are not thread-safe, but taking one out of a list
# and putting it back are atomic, so no two threads ever hold the same one.
_idle_compressors: dict[tuple[int, int], list[zstandard.ZstdCompressor]] = {}
_idle_decompressors: list[zstandard.ZstdDecompressor] = []

_Bytes = npt.NDArray[np.uint8]


def smallest_frame(
    values: _Bytes, levels: int, *, zstd_level: int | None = None
) -> tuple[int, bytes]:
    """Return the mode and frame of the best of a few ways to group the values.

    The mode is the number of digits a symbol, plus DIFFERENCES where these are of differences.
    """
    most = max_digits(levels)
    differences = values.copy()
    differences[1:] -= values[:-1]  # wraps at 256; adding L undoes it below 0
    differences[1:][values[1:] < values[:-1]] += np.uint8(levels % 256)
    # Many digits a symbol are best for long arrays, two for short ones (a smaller table).
    modes = {most, max(1, most - 1), min(2, most)}
    symbols = {mode: _to_symbols(values, levels, mode) for mode in sorted(modes)}
    symbols[DIFFERENCES + most] = _to_symbols(differences, levels, most)
    first_level = QUICK_LEVEL if zstd_level is None else zstd_level
    frames = {mode: _compress(data, first_level) for mode, data in symbols.items()}
    best = min(frames, key=lambda mode: len(frames[mode]))
    frame = frames[best]
    if zstd_level is None and levels <= THOROUGH_UP_TO_LEVELS:
        frame = min(frame, _compress(symbols[best], THOROUGH_LEVEL), key=len)
    return best, frame


def values_of_frame(mode: int, frame: bytes, *, num_values: int, levels: int) -> _Bytes:
    """Return the values of a frame, or raise WireError before more than they is allocated."""
    digits = mode % DIFFERENCES
    if mode >= 2 * DIFFERENCES or not 1 <= digits <= max_digits(levels):
        raise WireError(f"features: unknown mode {mode} at {levels} levels; update Headgate")
    symbols = _decompress(frame, num_bytes=-(-num_values // digits))
    values = _from_symbols(symbols, num_values, levels, digits)
    if mode >= DIFFERENCES:
        values = (np.cumsum(values, dtype=np.uint64) % np.uint64(levels)).astype(np.uint8)
    return values


def padded(values: _Bytes, digits: int) -> _Bytes:
    """Return the values in groups [*, digits], zeros after the last."""
    missing = -values.size % digits
    if missing:
        values = np.concatenate([values, np.zeros(missing, np.uint8)])
    return values.reshape(-1, digits)


def without_padding(groups: npt.NDArray[np.integer], num_values: int) -> _Bytes:
    values = groups.reshape(-1)
    if values[num_values:].any():
        raise WireError(f"features: something follows the last of {num_values} values")
    return values[:num_values].astype(np.uint8, copy=False)


def max_digits(levels: int) -> int:
    """Return how many digits a byte holds."""
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
    groups = padded(values, digits)
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
    return without_padding(table[symbols], num_values)


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
