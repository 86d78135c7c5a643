"""Bytes <-> the tensors in messages of split training; `train_wire` draws them.

Each part is described in the header by 20 bytes; its values stand in the header too, or in a part
of their own. A description is checked against `TrainLimits` before anything is allocated.

Shapes: C maps, dimension 1 of a tensor whose values lie on a grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from struct import Struct
from typing import Any

import numpy as np
import numpy.typing as npt

from headgate.profiles.errors import WireError
from headgate.profiles.train_messages import PackedTensor, Part
from headgate.runtime.wire.train_bits import BYTE_BITS, pack_bits, packed_bytes, unpack_bits
from headgate.runtime.wire.train_maps import MAX_MAP_VALUES, decode_maps, encode_maps
from headgate.runtime.wire.train_zstd import WORTH_IT, compressed, decompressed

Buffer = bytes | memoryview
Floats = npt.NDArray[np.float32]

MAX_DIMENSIONS = MAPS_DIMENSIONS = 4
MAX_BITS = 8
BYTES, RAW, ZSTD, INLINE, MAPS, PACKED = 0, 0, 1, 2, 3, 4
MAX_INLINE_BYTES = 4096  # that a sender puts in part 0; a reader takes whatever is there

DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("u1"),
    2: np.dtype("<u2"),
    3: np.dtype("<f2"),
    4: np.dtype("<f4"),
}
_CODES = {dtype: code for code, dtype in DTYPES.items()}
_PART = Struct("<BBBBIIII")
DESCRIPTION_BYTES = _PART.size
SCALE_BYTES = 8  # of each map whose values lie on a grid
_PLAIN_BYTES = _PART.pack(BYTES, 0, RAW, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class TrainLimits:
    """What `decode` admits, checked before anything is copied or allocated."""

    max_part_bytes: int = 1 << 28  # give this to ZMQ_MAXMSGSIZE too: it is per part
    max_values: int = 1 << 27  # of one tensor
    max_maps: int = 1 << 16


DEFAULT_LIMITS = TrainLimits()


@dataclass(frozen=True, slots=True)
class Described:
    """What 20 bytes say of a payload part; `dtype` is None for plain bytes."""

    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]
    coding: int
    bits: int
    num_values: int
    num_bytes: int  # once it is decoded


@dataclass(frozen=True, slots=True)
class Layout:
    """What a header says of all payload parts."""

    parts: tuple[Described, ...]
    shown: str  # "b" for plain bytes and "t" for a tensor
    num_outside: int  # parts of the message, beside the header
    num_inside_bytes: int  # of scales and values in the header


def pack(parts: Sequence[Part], *, compress: bool) -> tuple[list[Buffer], list[Buffer]]:
    """Return what goes into the header, and what goes beside it; float values are not copied.

    With `compress` tensors are entropy-coded where that pays.
    """
    descriptions: list[Buffer] = []
    scales: list[Buffer] = []
    inline: list[Buffer] = []
    outside: list[Buffer] = []
    for part in parts:
        if isinstance(part, bytes):
            descriptions.append(_PLAIN_BYTES)
            outside.append(part)
            continue
        values, coding = _encode_values(part, compress=compress)
        descriptions.append(_describe(part.values.dtype, part.values.shape, coding, part.bits))
        if part.bits:
            scales += _encode_scales(part)
        (inline if coding == INLINE else outside).append(values)
    return [*descriptions, *scales, *inline], outside


@lru_cache(maxsize=64)  # what is refused is not kept
def layout_of(described: bytes, limits: TrainLimits) -> Layout:
    """Return what the descriptions of all parts say, or raise WireError."""
    parts = []
    for number, at in enumerate(range(0, len(described), _PART.size), start=1):
        try:
            parts.append(_described(described[at : at + _PART.size], limits))
        except WireError as reason:
            raise WireError(f"part {number}: {reason}") from None
    inline = [part for part in parts if part.coding == INLINE]
    return Layout(
        parts=tuple(parts),
        shown="".join("b" if part.dtype is None else "t" for part in parts),
        num_outside=len(parts) - len(inline),
        num_inside_bytes=sum(part.num_bytes for part in inline)
        + sum(SCALE_BYTES * part.shape[1] for part in parts if part.bits),
    )


def _described(head: bytes, limits: TrainLimits) -> Described:
    """Return what the description of a part says, or raise WireError."""
    code, num_dimensions, coding, bits, *sizes = _PART.unpack(head)
    if code == BYTES:
        if num_dimensions or coding or bits or any(sizes):
            raise WireError("plain bytes with dimensions, coding or bits, expected 0")
        return Described(None, (), RAW, 0, 0, 0)
    shape = tuple(sizes[:num_dimensions])
    if code not in DTYPES or num_dimensions > MAX_DIMENSIONS or any(sizes[num_dimensions:]):
        raise WireError(
            f"dtype {code} with {num_dimensions} dimensions {sizes}, expected one of "
            f"{list(DTYPES)} and at most {MAX_DIMENSIONS}, zeros after the last"
        )
    if coding not in (RAW, ZSTD, INLINE, MAPS, PACKED):
        raise WireError(f"unknown coding {coding}; update Headgate")
    if prod(max(1, size) for size in shape) > limits.max_values:
        raise WireError(f"shape {list(shape)}, at most {limits.max_values} values taken")
    dtype = DTYPES[code]
    fits_grid = bits <= MAX_BITS and dtype.itemsize == 1 and len(shape) >= 2
    if bits and not (fits_grid and shape[1] <= limits.max_maps):
        raise WireError(
            f"{bits} bits of dtype {code} in shape {list(shape)}, expected at most {MAX_BITS} "
            "bits of dtype 1 in [B, C, ...]"
        )
    if coding == MAPS and not (bits and _are_maps(shape)):
        raise WireError(
            f"{bits} bits in shape {list(shape)} coded as maps, expected some, in [B, C, h, w] "
            f"with at most {MAX_MAP_VALUES} values of a map"
        )
    if coding == PACKED and not 0 < bits < BYTE_BITS:
        raise WireError(f"packed values of {bits} bits, expected 1 to {BYTE_BITS - 1}")
    return Described(dtype, shape, coding, bits, prod(shape), prod(shape) * dtype.itemsize)


def unpack(
    layout: Layout, head: bytes, *, at: int, outside: Sequence[bytes], where: str
) -> tuple[Part, ...]:
    """Return the payload; scales and what is inline begin in the header at `at`.

    `outside` are the parts beside the header. Raises WireError that begins with `where`.
    """
    scales = _read_scales(layout, head, at=at, where=where)
    at += sum(SCALE_BYTES * part.shape[1] for part in layout.parts if part.bits)
    payload: list[Part] = []
    rest = iter(outside)
    for number, (part, scale) in enumerate(zip(layout.parts, scales, strict=True), start=1):
        place = f"{where}, part {number}"
        if part.coding == INLINE:
            values = _inline_values(part, head, at=at)
            at += part.num_bytes
        elif part.dtype is None:
            payload.append(bytes(next(rest)))
            continue
        else:
            values = _outside_values(part, next(rest), where=place)
        if scale is None:
            payload.append(PackedTensor(values))
            continue
        if values.size and int(values.max()) >> part.bits:
            raise WireError(f"{place}: value {int(values.max())} in {part.bits} bits")
        payload.append(PackedTensor(values, part.bits, *scale))
    return tuple(payload)


def _read_scales(
    layout: Layout, head: bytes, *, at: int, where: str
) -> list[tuple[Floats, Floats] | None]:
    """Return low and step of each map, for each part that has them."""
    scales: list[tuple[Floats, Floats] | None] = []
    for part in layout.parts:
        if not part.bits:
            scales.append(None)
            continue
        num_maps = part.shape[1]
        low_step = np.frombuffer(head, "<f4", count=2 * num_maps, offset=at)
        at += low_step.nbytes
        if not np.isfinite(low_step).all():
            raise WireError(f"{where}, part {len(scales) + 1}: a scale is not a finite number")
        scales.append((low_step[:num_maps], low_step[num_maps:]))
    return scales


def _inline_values(part: Described, head: bytes, *, at: int) -> npt.NDArray[Any]:
    assert part.dtype is not None
    values = np.frombuffer(head, part.dtype, count=part.num_values, offset=at).reshape(part.shape)
    if not values.flags.aligned:  # torch and vector instructions want it so
        values = values.copy()
        values.flags.writeable = False
    return values


def _outside_values(part: Described, raw: bytes, *, where: str) -> npt.NDArray[Any]:
    assert part.dtype is not None
    try:
        if part.coding == MAPS:
            return decode_maps(raw, shape=part.shape, bits=part.bits)
        if part.coding == PACKED:
            values = unpack_bits(raw, num_values=part.num_values, bits=part.bits)
            return values.reshape(part.shape)
    except WireError as reason:
        raise WireError(f"{where}: {reason}") from None
    if part.coding == ZSTD:
        raw = decompressed(raw, num_bytes=part.num_bytes, where=where)
    elif len(raw) != part.num_bytes:
        raise WireError(f"{where}: {len(raw)} bytes of values, its shape needs {part.num_bytes}")
    return np.frombuffer(raw, part.dtype).reshape(part.shape)


def plain_bytes(num_bytes: int, *, bits: int) -> int:
    """Return what a tensor of so many bytes takes where it is not entropy-coded.

    `bits` are those of its values, 0 where they lie on no grid.
    """
    if _is_packed(num_bytes, bits=bits):
        return packed_bytes(num_bytes, bits=bits)
    return num_bytes


def _is_packed(num_bytes: int, *, bits: int) -> bool:
    """Return whether a tensor's few bits are packed; in the header it would hardly tell."""
    return 0 < bits < BYTE_BITS and num_bytes > MAX_INLINE_BYTES


def _encode_values(part: PackedTensor, *, compress: bool) -> tuple[Buffer, int]:
    """Return a tensor's bytes and how they are coded; not copied where they go as they are."""
    values = np.asarray(part.values, order="C")  # ascontiguousarray makes 1 of 0 dimensions
    values = values.astype(values.dtype.newbyteorder("<"), copy=False)
    if compress:
        coded = _smallest(part, values)
        if coded is not None:
            return coded
    if _is_packed(values.nbytes, bits=part.bits):
        return pack_bits(values, bits=part.bits), PACKED
    return _data(values), INLINE if values.nbytes <= MAX_INLINE_BYTES else RAW


def _smallest(part: PackedTensor, values: npt.NDArray[Any]) -> tuple[bytes, int] | None:
    """Return the shorter of a zstd frame and coded maps, or None where neither pays."""
    worth_bytes = WORTH_IT * plain_bytes(values.nbytes, bits=part.bits)
    frame = compressed(_data(values))
    if frame is not None and len(frame) > worth_bytes:
        frame = None
    if part.bits and _are_maps(values.shape):
        maps = encode_maps(values, bits=part.bits)
        if len(maps) < (worth_bytes if frame is None else len(frame)):
            return maps, MAPS
    return None if frame is None else (frame, ZSTD)


def _data(values: npt.NDArray[Any]) -> Buffer:
    return values.data.cast("B") if values.size else b""


def _are_maps(shape: tuple[int, ...]) -> bool:
    """Return whether `train_maps` takes values of this shape."""
    return len(shape) == MAPS_DIMENSIONS and prod(shape) > 0 and prod(shape[2:]) <= MAX_MAP_VALUES


def _encode_scales(part: PackedTensor) -> list[bytes]:
    assert part.low_C is not None
    assert part.step_C is not None
    assert part.values.ndim >= 2
    assert len(part.low_C) == len(part.step_C) == part.values.shape[1]
    return [part.low_C.astype("<f4").tobytes(), part.step_C.astype("<f4").tobytes()]


@lru_cache(maxsize=64)  # messages of a training all look alike
def _describe(dtype: np.dtype[Any], shape: tuple[int, ...], coding: int, bits: int) -> bytes:
    """Return the 20 bytes that describe a tensor."""
    code = _CODES.get(dtype.newbyteorder("<"))
    assert code is not None, f"{dtype} does not cross the wire"
    assert len(shape) <= MAX_DIMENSIONS
    sizes = shape + (0,) * (MAX_DIMENSIONS - len(shape))
    return _PART.pack(code, len(shape), coding, bits, *sizes)
