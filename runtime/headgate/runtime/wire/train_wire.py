"""Bytes <-> messages of split training: type 65 (TRAIN) of the wire, one layout for all kinds.

    part 0   0  magic "HDGT"      4  version u8      5  type u8, 65   6  payload parts u8   7  zero
             8  kind u8            9  status u8      10  phase u16     12  epoch u32
            16  step u32          20  steps u32      24  pictures u32  28  right u32
            32  loss f32          36  budget u16     38  zero u16
            40  for each payload part 20 bytes:
                0  dtype u8 (0: plain bytes)   1  number of dimensions u8
                2  coding u8                   3  bits u8
                4  four dimensions u32 each, zeros after the last
                for each with bits > 0: low f32 of each map (dimension 1), then step f32 of each
                for each with coding 2: its values
    part 1.. the values of each other one; as a zstd frame where coding is 1

Values are little-endian, in C order. Each part of a ZeroMQ message costs both sides some
microseconds, so small tensors travel in part 0 (coding 2). In version 1 scales followed the 20
bytes of their part, and there was no coding 2.

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
import numpy.typing as npt

from headgate.profiles.errors import WireError
from headgate.profiles.train_messages import Header, Kind, PackedTensor, Part, Place, Status
from headgate.runtime.wire.train_zstd import compressed, decompressed

MAGIC = b"HDGT"
TYPE_TRAIN = 65
TRAIN_VERSION = 2
HANDSHAKE_VERSION = 1  # of HELLO and REFUSE, for ever
MAX_DIMENSIONS = 4
MAX_BITS = 8
BYTES, RAW, ZSTD, INLINE = 0, 0, 1, 2
MAX_INLINE_BYTES = 4096  # that a sender puts in part 0; a reader takes whatever is there

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
_KINDS, _STATUSES = {int(kind): kind for kind in Kind}, {int(status): status for status in Status}
_PLAIN_BYTES = _PART.pack(BYTES, 0, RAW, 0, 0, 0, 0, 0)


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
    shown = "".join(["b" if isinstance(part, bytes) else "t" for part in parts])
    assert shown in _PARTS[header.kind], f"{header.kind.name} with parts {shown!r}"
    heads: list[bytes] = []
    scales: list[bytes] = []
    inline: list[Buffer] = []
    data: list[Buffer] = []
    for part in parts:
        if isinstance(part, bytes):
            heads.append(_PLAIN_BYTES)
            data.append(part)
            continue
        values, coding = _encode_values(part, compress=compress)
        heads.append(_head(part.values.dtype, part.values.shape, coding, part.bits))
        if part.bits:
            scales += _encode_scales(part)
        (inline if coding == INLINE else data).append(values)
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
    return [b"".join([fields, *heads, *scales, *inline]), *data]


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
    head = parts[0]
    header, num_payloads = _decode_fields(head)
    at = _FIELDS.size + _PART.size * num_payloads
    if len(head) < at:
        raise WireError(f"{header.kind.name}: the header ends before its parts are described")
    try:
        layout = _layout(bytes(head[_FIELDS.size : at]), limits)
    except WireError as reason:
        raise WireError(f"{header.kind.name}, {reason}") from None
    if layout.num_outside != len(parts) - 1:
        raise WireError(
            f"{header.kind.name}: {len(parts) - 1} parts beside the header, which describes "
            f"{layout.num_outside}"
        )
    if len(head) != at + layout.num_inside_bytes:
        raise WireError(
            f"{header.kind.name}: {len(head)} bytes of header, expected "
            f"{at + layout.num_inside_bytes}; the header ends before its scales do, or something "
            "follows its last part"
        )
    if layout.shown not in _PARTS[header.kind]:
        raise WireError(
            f"{header.kind.name}: payload {layout.shown!r} (b bytes, t tensor), expected "
            f"{' or '.join(repr(known) for known in _PARTS[header.kind])}"
        )
    return header, _decode_payload(layout, head, at, parts, kind=header.kind)


def _decode_payload(
    layout: _Layout, head: bytes, at: int, parts: Sequence[bytes], *, kind: Kind
) -> tuple[Part, ...]:
    """Return the payload; scales and what is inline begin in the header at `at`."""
    scales: list[tuple[_Floats, _Floats] | None] = []
    for each in layout.parts:
        if not each.bits:
            scales.append(None)
            continue
        num_maps = each.shape[1]
        low_step = np.frombuffer(head, "<f4", count=2 * num_maps, offset=at)
        at += low_step.nbytes
        if not np.isfinite(low_step).all():
            raise WireError(f"{kind.name}, part {len(scales) + 1}: a scale is not a finite number")
        scales.append((low_step[:num_maps], low_step[num_maps:]))
    payload: list[Part] = []
    outside = iter(parts)
    next(outside)
    for each, scale in zip(layout.parts, scales, strict=True):
        if each.coding == INLINE:
            values = np.frombuffer(head, each.dtype, count=each.num_values, offset=at)
            values = values.reshape(each.shape)
            if not values.flags.aligned:  # torch and vector instructions want it so
                values = values.copy()
                values.flags.writeable = False
            at += each.num_bytes
        elif each.dtype is None:
            payload.append(bytes(next(outside)))
            continue
        else:
            raw = next(outside)
            if each.coding == ZSTD:
                where = f"{kind.name}, part {len(payload) + 1}"
                raw = decompressed(raw, num_bytes=each.num_bytes, where=where)
            elif len(raw) != each.num_bytes:
                raise WireError(
                    f"{kind.name}, part {len(payload) + 1}: {len(raw)} bytes of values, its shape "
                    f"needs {each.num_bytes}"
                )
            values = np.frombuffer(raw, each.dtype).reshape(each.shape)
        if scale is None:
            payload.append(PackedTensor(values))
            continue
        if values.size and int(values.max()) >> each.bits:
            raise WireError(
                f"{kind.name}, part {len(payload) + 1}: value {int(values.max())} in {each.bits} "
                "bits"
            )
        payload.append(PackedTensor(values, each.bits, *scale))
    return tuple(payload)


def _decode_fields(part: bytes) -> tuple[Header, int]:
    """Return the header, and how many payload parts it describes."""
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
    kind = _KINDS.get(kind_number)
    if kind is None:
        raise WireError(f"TRAIN: unknown kind {kind_number}; update Headgate")
    spoken = HANDSHAKE_VERSION if kind in _HANDSHAKE else TRAIN_VERSION
    if version != spoken:
        raise WireError(
            f"{kind.name}: version {version}, this side speaks {spoken}; update the older one"
        )
    known_status = _STATUSES.get(status)
    if known_status is None:
        raise WireError(f"{kind.name}: unknown status {status}; update Headgate")
    if zero or last_zero:
        raise WireError(f"{kind.name}: a reserved field is not 0; update Headgate")
    header = Header(
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
    return header, announced


def _encode_values(part: PackedTensor, *, compress: bool) -> tuple[Buffer, int]:
    """Return a tensor's bytes, not copied, and how they are coded."""
    values = part.values
    if not values.flags.c_contiguous:
        values = np.asarray(values, order="C")  # ascontiguousarray makes 1 of 0 dimensions
    values = values.astype(values.dtype.newbyteorder("<"), copy=False)
    data: Buffer = values.data.cast("B") if values.size else b""
    if compress:
        frame = compressed(data)
        if frame is not None:
            return frame, ZSTD
    return data, INLINE if values.nbytes <= MAX_INLINE_BYTES else RAW


def _encode_scales(part: PackedTensor) -> list[bytes]:
    assert part.low_C is not None
    assert part.step_C is not None
    assert part.values.ndim >= 2
    assert len(part.low_C) == len(part.step_C) == part.values.shape[1]
    return [part.low_C.astype("<f4").tobytes(), part.step_C.astype("<f4").tobytes()]


@lru_cache(maxsize=64)  # messages of a training all look alike
def _head(dtype: np.dtype[Any], shape: tuple[int, ...], coding: int, bits: int) -> bytes:
    """Return the 20 bytes that describe a tensor."""
    code = _CODES.get(dtype.newbyteorder("<"))
    assert code is not None, f"{dtype} does not cross the wire"
    assert len(shape) <= MAX_DIMENSIONS
    sizes = shape + (0,) * (MAX_DIMENSIONS - len(shape))
    return _PART.pack(code, len(shape), coding, bits, *sizes)


_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Described:
    """What 20 bytes say of a payload part; `dtype` is None for plain bytes."""

    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]
    coding: int
    bits: int
    num_values: int
    num_bytes: int  # once it is decoded


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a header says of all payload parts."""

    parts: tuple[_Described, ...]
    shown: str  # "b" for plain bytes and "t" for a tensor
    num_outside: int  # parts of the message, beside the header
    num_inside_bytes: int  # of scales and values in the header


@lru_cache(maxsize=64)  # what is refused is not kept
def _layout(described: bytes, limits: TrainLimits) -> _Layout:
    """Return what the descriptions of all parts say, or raise WireError."""
    parts = []
    for number, at in enumerate(range(0, len(described), _PART.size), start=1):
        try:
            parts.append(_described(described[at : at + _PART.size], limits))
        except WireError as reason:
            raise WireError(f"part {number}: {reason}") from None
    inline = [part for part in parts if part.coding == INLINE]
    return _Layout(
        parts=tuple(parts),
        shown="".join("b" if part.dtype is None else "t" for part in parts),
        num_outside=len(parts) - len(inline),
        num_inside_bytes=sum(part.num_bytes for part in inline)
        + sum(8 * part.shape[1] for part in parts if part.bits),
    )


def _described(head: bytes, limits: TrainLimits) -> _Described:
    """Return what the description of a part says, or raise WireError."""
    code, num_dimensions, coding, bits, *sizes = _PART.unpack(head)
    if code == BYTES:
        if num_dimensions or coding or bits or any(sizes):
            raise WireError("plain bytes with dimensions, coding or bits, expected 0")
        return _Described(None, (), RAW, 0, 0, 0)
    shape = tuple(sizes[:num_dimensions])
    if code not in DTYPES or num_dimensions > MAX_DIMENSIONS or any(sizes[num_dimensions:]):
        raise WireError(
            f"dtype {code} with {num_dimensions} dimensions {sizes}, expected one of "
            f"{list(DTYPES)} and at most {MAX_DIMENSIONS}, zeros after the last"
        )
    if coding not in (RAW, ZSTD, INLINE):
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
    return _Described(dtype, shape, coding, bits, prod(shape), prod(shape) * dtype.itemsize)
