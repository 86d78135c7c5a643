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
    part 1.. the values of each other one; as a zstd frame where coding is 1, as `train_maps` codes
             them where it is 3, `bits` of each as `train_bits` packs them where it is 4

Values are little-endian, in C order. Each part of a ZeroMQ message costs both sides some
microseconds, so small tensors travel in part 0 (coding 2). In version 1 scales followed the 20
bytes of their part, and there was no coding 2; in version 2 there was no coding 3, in 3 no 4.

HELLO and REFUSE keep this layout and version 1 for ever, so that any two sides can at least refuse
each other: a HELLO's text names the version that its side speaks. Payload parts by kind:

    HELLO      text                             BATCH      maps, filter, labels
    WELCOME    text, indices of maps[, half]    GRADIENT   none, or of maps and of filter
    REFUSE     text                             EPOCH_END  half
    GO         indices of maps[, half]          GOODBYE    none
                                                WORKING    none

In a WELCOME and a GO of AdaSplit `pictures` says how many of the client's cross in that epoch. Text
is UTF-8 JSON, but plain in a REFUSE. A half is the client's weights in a safetensors
container, which is opaque here. Every length is checked against `TrainLimits` before anything is
allocated: a zstd frame must decode to exactly what its dimensions say, and names no size. Payload
parts are written and read in `train_parts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from headgate.profiles.errors import WireError
from headgate.profiles.train_messages import Header, Kind, Part, Place, Status
from headgate.runtime.wire.train_parts import (
    DEFAULT_LIMITS,
    DESCRIPTION_BYTES,
    SCALE_BYTES,
    Buffer,
    TrainLimits,
    layout_of,
    pack,
    unpack,
)

MAGIC = b"HDGT"
TYPE_TRAIN = 65
TRAIN_VERSION = 4
HANDSHAKE_VERSION = 1  # of HELLO and REFUSE, for ever

_FIELDS = Struct("<4sBBBBBBHIIIIIfHH")
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
    Kind.WORKING: ("",),
}
_HANDSHAKE = (Kind.HELLO, Kind.REFUSE)
_KINDS, _STATUSES = {int(kind): kind for kind in Kind}, {int(status): status for status in Status}


def encode(
    header: Header, parts: Sequence[Part], *, compress: bool = False, version: int = TRAIN_VERSION
) -> list[Buffer]:
    """Return the parts of one ZeroMQ message; values that go as they are are not copied.

    With `compress` tensors are entropy-coded where that pays.
    """
    shown = "".join(["b" if isinstance(part, bytes) else "t" for part in parts])
    assert shown in _PARTS[header.kind], f"{header.kind.name} with parts {shown!r}"
    inside, outside = pack(parts, compress=compress)
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
    return [b"".join([fields, *inside]), *outside]


def message_bytes(*, data_bytes: Sequence[int], num_scales: int = 0) -> int:
    """Return the size of a message with payload parts of these sizes, see `plain_bytes`.

    `num_scales` counts maps whose values lie on a grid.
    """
    described_bytes = DESCRIPTION_BYTES * len(data_bytes) + SCALE_BYTES * num_scales
    return _FIELDS.size + described_bytes + sum(data_bytes)


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
    at = _FIELDS.size + DESCRIPTION_BYTES * num_payloads
    if len(head) < at:
        raise WireError(f"{header.kind.name}: the header ends before its parts are described")
    try:
        layout = layout_of(bytes(head[_FIELDS.size : at]), limits)
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
    return header, unpack(layout, head, at=at, outside=parts[1:], where=header.kind.name)


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
