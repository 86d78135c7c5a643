"""Bytes <-> messages of split training: type 65 (TRAIN) of the wire, one layout for all kinds.

    part 0   0  magic "HDGT"      4  version u8      5  type u8, 65   6  payload parts u8   7  zero
             8  kind u8            9  status u8      10  phase u16     12  epoch u32
            16  step u32          20  steps u32      24  pictures u32  28  right u32
            32  loss f32          36  budget u16     38  zero u16
            40  for each payload part: 20 bytes, and its scales:
                0  dtype u8 (0: plain bytes)   1  number of dimensions u8
                2  coding u8                   3  bits u8
                4  four dimensions u32 each, zeros after the last
               20  if bits > 0: low f32 and step f32 of each map (dimension 1), all lows first
    part 1.. the values of each, little-endian, in C order; as a zstd frame where coding is 1

HELLO and REFUSE keep this layout and version 1 for ever, so that any two sides can at least refuse
each other: a HELLO's text names the version that its side speaks. Payload parts by kind:

    HELLO      text                             BATCH      maps, filter, labels
    WELCOME    text, indices of maps[, half]    GRADIENT   none, or of maps and of filter
    REFUSE     text                             EPOCH_END  half
    GO         indices of maps[, half]          GOODBYE    none

Text is UTF-8 JSON, but plain in a REFUSE. A half is the client's weights in a safetensors
container, which is opaque here. Every length is checked against `TrainLimits` before anything is
allocated: a zstd frame must decode to exactly what its dimensions say, and names no size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from struct import Struct
from typing import Any

import numpy as np

from headgate.profiles.errors import WireError
from headgate.profiles.train_messages import Header, Kind, PackedTensor, Part, Place, Status

MAGIC = b"HDGT"
TYPE_TRAIN = 65
TRAIN_VERSION = 1
HANDSHAKE_VERSION = 1  # of HELLO and REFUSE, for ever
MAX_DIMENSIONS = 4
MAX_BITS = 8
BYTES, RAW, ZSTD = 0, 0, 1

Buffer = bytes | memoryview

DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("u1"),
    2: np.dtype("<u2"),
    3: np.dtype("<f2"),
    4: np.dtype("<f4"),
}
_CODES = {dtype: code for code, dtype in DTYPES.items()}
_FIELDS = Struct("<4sBBBBBBHIIIIIfHH")
_PART = Struct("<BBBBIIII")
# Payload parts of each kind, "b" plain bytes and "t" a tensor; two where some are optional.
_PARTS: dict[Kind, tuple[str, ...]] = {
    Kind.HELLO: ("b",),
    Kind.WELCOME: ("bt", "btb"),
    Kind.REFUSE: ("b",),
    Kind.BATCH: ("ttt",),
    Kind.GRADIENT: ("", "tt"),
    Kind.EPOCH_END: ("b",),
    Kind.GO: ("t", "tb"),
    Kind.GOODBYE: ("",),
}
_HANDSHAKE = (Kind.HELLO, Kind.REFUSE)
_SAMPLE_BYTES = 16 << 10  # entropy coding is tried on so many first,
_WORTH_IT = 0.95  # and used where it leaves at most this share
_ZSTD_LEVEL = 1
_MIN_WINDOW_BYTES = 1 << 10  # zstd's own minimum


@dataclass(frozen=True, slots=True)
class TrainLimits:
    """What `decode` admits, checked before anything is copied or allocated."""

    max_part_bytes: int = 1 << 28  # give this to ZMQ_MAXMSGSIZE too: it is per part
    max_values: int = 1 << 27  # of one tensor
    max_maps: int = 1 << 16


DEFAULT_LIMITS = TrainLimits()


def encode(
    header: Header, parts: Sequence[Part], *, compress: bool = False, version: int = TRAIN_VERSION
) -> list[Buffer]:
    """Return the parts of one ZeroMQ message; the values of a tensor are not copied.

    With `compress` tensors are entropy-coded where that pays.
    """
    shown = "".join("b" if isinstance(part, bytes) else "t" for part in parts)
    assert shown in _PARTS[header.kind], f"{header.kind.name} with parts {shown!r}"
    heads, data = [], []
    for part in parts:
        head, values = _encode_part(part, compress=compress)
        heads.append(head)
        data.append(values)
    fields = _FIELDS.pack(
        MAGIC,
        HANDSHAKE_VERSION if header.kind in _HANDSHAKE else version,
        TYPE_TRAIN,
        len(parts),
        0,
        header.kind,
        header.status,
        header.phase,
        header.place.epoch,
        header.place.step,
        header.num_steps,
        header.num_pictures,
        header.num_right,
        header.loss,
        header.budget,
        0,
    )
    return [fields + b"".join(heads), *data]


def message_bytes(*, data_bytes: Sequence[int], num_scales: int = 0) -> int:
    """Return the size of an uncompressed message with payload parts of these sizes.

    `num_scales` counts maps whose values lie on a grid.
    """
    return _FIELDS.size + _PART.size * len(data_bytes) + 8 * num_scales + sum(data_bytes)


def decode(
    parts: Sequence[bytes], limits: TrainLimits = DEFAULT_LIMITS
) -> tuple[Header, tuple[Part, ...]]:
    """Return header and payload, or raise WireError saying what is wrong; never anything else.

    Tensors that are not compressed are read-only views of the parts.
    """
    largest_bytes = max(map(len, parts), default=0)
    if largest_bytes > limits.max_part_bytes:
        raise WireError(
            f"TRAIN: a part of {largest_bytes} bytes, at most {limits.max_part_bytes} are taken"
        )
    if not parts or len(parts[0]) < _FIELDS.size:
        raise WireError(
            f"TRAIN: a header of {len(parts[0]) if parts else 0} bytes, "
            f"expected {_FIELDS.size} or more"
        )
    header = _decode_fields(parts[0], num_payloads=len(parts) - 1)
    payloads: list[Part] = []
    at = _FIELDS.size
    for place, data in enumerate(parts[1:]):
        where = f"{header.kind.name}, part {place + 1}"
        part, at = _decode_part(parts[0], at, data, limits=limits, where=where)
        payloads.append(part)
    if at != len(parts[0]):
        raise WireError(
            f"{header.kind.name}: {len(parts[0])} bytes of header, expected {at}; something "
            "follows its last part"
        )
    shown = "".join("b" if isinstance(part, bytes) else "t" for part in payloads)
    if shown not in _PARTS[header.kind]:
        raise WireError(
            f"{header.kind.name}: payload {shown!r} (b bytes, t tensor), expected "
            f"{' or '.join(repr(known) for known in _PARTS[header.kind])}"
        )
    return header, tuple(payloads)


def _decode_fields(part: bytes, *, num_payloads: int) -> Header:
    (
        magic,
        version,
        number,
        announced,
        zero,
        kind_number,
        status,
        phase,
        epoch,
        step,
        num_steps,
        num_pictures,
        num_right,
        loss,
        budget,
        last_zero,
    ) = _FIELDS.unpack_from(part)
    if magic != MAGIC or number != TYPE_TRAIN:
        raise WireError(
            f"TRAIN: begins with {magic!r} and type {number}, expected {MAGIC!r} and "
            f"{TYPE_TRAIN}; not a side of split training"
        )
    try:
        kind = Kind(kind_number)
    except ValueError:
        raise WireError(f"TRAIN: unknown kind {kind_number}; update Headgate") from None
    spoken = HANDSHAKE_VERSION if kind in _HANDSHAKE else TRAIN_VERSION
    if version != spoken:
        raise WireError(
            f"{kind.name}: version {version}, this side speaks {spoken}; update the older one"
        )
    try:
        known_status = Status(status)
    except ValueError:
        raise WireError(f"{kind.name}: unknown status {status}; update Headgate") from None
    if zero or last_zero:
        raise WireError(f"{kind.name}: a reserved field is not 0; update Headgate")
    if announced != num_payloads:
        raise WireError(f"{kind.name}: {num_payloads} payload parts, the header says {announced}")
    return Header(
        kind,
        Place(epoch, step),
        known_status,
        phase=phase,
        budget=budget,
        num_steps=num_steps,
        num_pictures=num_pictures,
        num_right=num_right,
        loss=loss,
    )


def _encode_part(part: Part, *, compress: bool) -> tuple[bytes, Buffer]:
    if isinstance(part, bytes):
        return _PART.pack(BYTES, 0, RAW, 0, 0, 0, 0, 0), part
    values = np.asarray(part.values, order="C")  # ascontiguousarray makes 1 of 0 dimensions
    values = values.astype(values.dtype.newbyteorder("<"), copy=False)
    data: Buffer = values.data.cast("B") if values.size else b""
    coding = RAW
    if compress:
        frame = _compressed(data)
        if frame is not None:
            data, coding = frame, ZSTD
    head = _head(values.dtype, values.shape, coding, part.bits)
    if part.bits:
        assert part.low_C is not None
        assert part.step_C is not None
        assert values.ndim >= 2
        assert len(part.low_C) == len(part.step_C) == values.shape[1]
        head += part.low_C.astype("<f4").tobytes() + part.step_C.astype("<f4").tobytes()
    return head, data


@lru_cache(maxsize=64)  # messages of a training all look alike
def _head(dtype: np.dtype[Any], shape: tuple[int, ...], coding: int, bits: int) -> bytes:
    """Return the 20 bytes that describe a tensor."""
    assert dtype in _CODES, f"{dtype} does not cross the wire"
    assert len(shape) <= MAX_DIMENSIONS
    sizes = shape + (0,) * (MAX_DIMENSIONS - len(shape))
    return _PART.pack(_CODES[dtype], len(shape), coding, bits, *sizes)


@dataclass(frozen=True, slots=True)
class _Described:
    """What 20 bytes say of a payload part; `dtype` is None for plain bytes."""

    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]
    coding: int
    bits: int
    num_bytes: int  # once it is decoded


def _decode_part(
    header: bytes, at: int, data: bytes, *, limits: TrainLimits, where: str
) -> tuple[Part, int]:
    """Return one payload part and where in the header the next begins."""
    if len(header) < at + _PART.size:
        raise WireError(f"{where}: the header ends before it is described")
    try:
        described = _described(bytes(header[at : at + _PART.size]), limits)
    except WireError as reason:
        raise WireError(f"{where}: {reason}") from None
    at += _PART.size
    if described.dtype is None:
        return bytes(data), at
    shape, bits = described.shape, described.bits
    low_C = step_C = None
    if bits:
        num_bytes = 4 * shape[1]
        if len(header) < at + 2 * num_bytes:
            raise WireError(f"{where}: the header ends before its scales do")
        low_C = np.frombuffer(header, "<f4", count=shape[1], offset=at)
        step_C = np.frombuffer(header, "<f4", count=shape[1], offset=at + num_bytes)
        at += 2 * num_bytes
        if not (np.isfinite(low_C).all() and np.isfinite(step_C).all()):
            raise WireError(f"{where}: a scale is not a finite number")
    raw = _raw_bytes(data, described.coding, num_bytes=described.num_bytes, where=where)
    values = np.frombuffer(raw, described.dtype).reshape(shape)
    if bits and values.size and int(values.max()) >> bits:
        raise WireError(f"{where}: value {int(values.max())} in {bits} bits")
    return PackedTensor(values, bits, low_C, step_C), at


@lru_cache(maxsize=64)  # what is refused is not kept
def _described(head: bytes, limits: TrainLimits) -> _Described:
    """Return what the description of a part says, or raise WireError."""
    code, num_dimensions, coding, bits, *sizes = _PART.unpack(head)
    if code == BYTES:
        if num_dimensions or coding or bits or any(sizes):
            raise WireError("plain bytes with dimensions, coding or bits, expected 0")
        return _Described(None, (), RAW, 0, 0)
    shape = tuple(sizes[:num_dimensions])
    if code not in DTYPES or num_dimensions > MAX_DIMENSIONS or any(sizes[num_dimensions:]):
        raise WireError(
            f"dtype {code} with {num_dimensions} dimensions {sizes}, expected one of "
            f"{list(DTYPES)} and at most {MAX_DIMENSIONS}, zeros after the last"
        )
    if prod(max(1, size) for size in shape) > limits.max_values:
        raise WireError(f"shape {list(shape)}, at most {limits.max_values} values taken")
    dtype = DTYPES[code]
    fits_grid = bits <= MAX_BITS and dtype.itemsize == 1 and len(shape) >= 2
    if bits and not (fits_grid and shape[1] <= limits.max_maps):
        raise WireError(
            f"{bits} bits of dtype {code} in shape {list(shape)}, expected at most {MAX_BITS} "
            "bits of dtype 1 in [B, C, ...]"
        )
    return _Described(dtype, shape, coding, bits, prod(shape) * dtype.itemsize)


def _raw_bytes(data: bytes, coding: int, *, num_bytes: int, where: str) -> bytes:
    if coding == ZSTD:
        return _decompressed(data, num_bytes=num_bytes, where=where)
    if coding != RAW:
        raise WireError(f"{where}: unknown coding {coding}; update Headgate")
    if len(data) != num_bytes:
        raise WireError(f"{where}: {len(data)} bytes of values, its shape needs {num_bytes}")
    return data


def _compressed(data: Buffer) -> bytes | None:
    """Return a zstd frame, or None where it would not pay."""
    import zstandard  # not at the top: training in float32 does without

    parameters = zstandard.ZstdCompressionParameters.from_level(
        _ZSTD_LEVEL, source_size=max(1, len(data)), write_content_size=0, write_checksum=0
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    if len(data) > 2 * _SAMPLE_BYTES:
        sample = compressor.compress(data[:_SAMPLE_BYTES])
        if len(sample) > _WORTH_IT * _SAMPLE_BYTES:
            return None
    frame = compressor.compress(data)
    return frame if len(frame) <= _WORTH_IT * len(data) else None


def _decompressed(frame: bytes, *, num_bytes: int, where: str) -> bytes:
    """Return exactly that many bytes, or raise WireError before anything larger is allocated."""
    import zstandard

    try:
        announced = zstandard.get_frame_parameters(frame)
        # A size in the frame would be allocated whatever limit we pass; so would a large window.
        if announced.content_size != zstandard.CONTENTSIZE_UNKNOWN or announced.dict_id:
            raise WireError(f"{where}: the zstd frame names a size or dictionary, expected neither")
        if announced.window_size > max(_MIN_WINDOW_BYTES, 2 * num_bytes):
            raise WireError(
                f"{where}: the zstd frame wants a window of {announced.window_size} bytes "
                f"for {num_bytes}"
            )
        data = zstandard.ZstdDecompressor().decompress(
            frame, max_output_size=num_bytes, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise WireError(f"{where}: not a whole zstd frame of {num_bytes} bytes: {error}") from None
    if len(data) != num_bytes:
        raise WireError(f"{where}: the zstd frame holds {len(data)} bytes, expected {num_bytes}")
    return data
