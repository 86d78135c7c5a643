"""Bytes <-> messages: one fixed little-endian header, then payload parts.

A message is one ZeroMQ message of several parts. Part 0 is the header: a prefix that every
message has, then fields whose length the type fixes. All numbers are little-endian and unsigned.

    prefix   0  magic "HDGT"       4  version u8    5  type u8    6  payload parts u8    7  zero u8

    type               fields after the prefix                                     payload parts
    1  HELLO           8  versions 8 x u8, newest first, zeros after the last      none
                      16  family digest, 32 bytes
                      48  max message bytes u32
    2  WELCOME         8  family digest, 32 bytes                                  none
                      40  max payload bytes u32   44  max in flight u16   46  zero u16
    3  FRAME           8  frame id u32    12  budget us u32    16  point u16       1: payload
                      18  layer u8        19  zero u8
                      20  fragment u16    22  fragments u16
    4  RESULT          8  arrived us u64  16  frame id u32     20  residence us u32    1 per tensor
                      24  queue us u32    28  decode us u32    32  tail us u32
                      36  point u16       38  frames queued u16
                      40  busy permille u16    42  arrivals u16 (in version 1: zero u16)
         version 2:   44  spread us u32   48  burst bytes u32  52  largest gap us u32
    5  REJECT          8  frame id u32 (all ones: none)  12  reason u16  14  zero u16  1: UTF-8 text
    6  PROBE           8  probe id u32                                             1: padding
    7  PROBE_REPLY     8  arrived us u64  16  probe id u32     20  residence us u32    none
    8  GOODBYE         -                                                           none
    64 CONTROL, 65 TRAIN  reserved

The last four of RESULT are `messages.Burst`, all zero for a frame that came in one arrival. The
tensor part is drawn in `headgate.runtime.tensor_parts`.

Versions. The layout of HELLO and REJECT never changes and their version byte stays 1, so that any
two Headgates can at least refuse each other. HELLO lists what the device speaks (N and N - 1);
the edge takes the newest version both speak, WELCOME and all after it carry that one. A change of
layout or meaning is a new version; type numbers and reasons are never reused. Version 2 added
the arrivals inside a frame to RESULT; all else is as in version 1.

Every length is checked against `Limits` and against the parts at hand before anything is copied.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from struct import Struct
from typing import Any

from headgate.profiles.errors import WireError
from headgate.runtime.messages import (
    MAX_BUDGET_US,
    NO_BUDGET_US,
    NO_BURST,
    Burst,
    Frame,
    Goodbye,
    Hello,
    Load,
    Message,
    NamedTensor,
    Probe,
    ProbeReply,
    Reject,
    RejectReason,
    Result,
    Welcome,
)
from headgate.runtime.tensor_parts import decode_tensor, encode_tensor

__all__ = [
    "DEFAULT_LIMITS",
    "MAX_BUDGET_US",
    "NO_BUDGET_US",
    "NO_BURST",
    "SPOKEN_VERSIONS",
    "Burst",
    "Frame",
    "Goodbye",
    "Hello",
    "Limits",
    "Load",
    "Message",
    "NamedTensor",
    "Probe",
    "ProbeReply",
    "Reject",
    "RejectReason",
    "Result",
    "Welcome",
    "decode",
    "encode",
    "negotiate",
]

MAGIC = b"HDGT"
SPOKEN_VERSIONS = (2, 1)  # newest first: N and N - 1
HANDSHAKE_VERSION = 1  # of HELLO and REJECT, for ever
MAX_DETAIL_BYTES = 512
MAX_LISTED_VERSIONS = 8

_NO_FRAME = 0xFFFF_FFFF
_PREFIX = Struct("<4sBBBB")


@dataclass(frozen=True, slots=True)
class Limits:
    """What `decode` admits, checked before anything is copied or allocated."""

    max_parts: int = 17  # of one message, header included
    max_part_bytes: int = 1 << 22  # give this to ZMQ_MAXMSGSIZE too: it is per part
    max_message_bytes: int = 1 << 23  # all parts together
    max_fragments: int = 1024  # of one frame


DEFAULT_LIMITS = Limits()


class _Type(IntEnum):
    HELLO = 1
    WELCOME = 2
    FRAME = 3
    RESULT = 4
    REJECT = 5
    PROBE = 6
    PROBE_REPLY = 7
    GOODBYE = 8


_RESERVED = {64: "CONTROL", 65: "TRAIN"}
_HANDSHAKE = (_Type.HELLO, _Type.REJECT)
_FIELDS = {
    _Type.HELLO: Struct("<8s32sI"),
    _Type.WELCOME: Struct("<32sIHH"),
    _Type.FRAME: Struct("<IIHBBHH"),
    _Type.RESULT: Struct("<QIIIIIHHHHIII"),
    _Type.REJECT: Struct("<IHH"),
    _Type.PROBE: Struct("<I"),
    _Type.PROBE_REPLY: Struct("<QII"),
    _Type.GOODBYE: Struct("<"),
}
_OLDER_FIELDS = {(_Type.RESULT, 1): Struct("<QIIIIIHHHH")}
# Payload parts of the types that have a fixed number of them.
_NUM_PAYLOADS = {
    _Type.HELLO: 0,
    _Type.WELCOME: 0,
    _Type.FRAME: 1,
    _Type.REJECT: 1,
    _Type.PROBE: 1,
    _Type.PROBE_REPLY: 0,
    _Type.GOODBYE: 0,
}


def negotiate(theirs: tuple[int, ...]) -> int | None:
    """Return the newest version both sides speak, or None."""
    return max(set(theirs) & set(SPOKEN_VERSIONS), default=None)


def encode(message: Message, *, version: int = SPOKEN_VERSIONS[0]) -> list[bytes]:
    """Return the parts of one ZeroMQ message in the agreed `version`.

    Values out of range are our own bug and fail as such; only a REJECT's text is cut to what
    fits.
    """
    assert version in SPOKEN_VERSIONS
    match message:
        case Frame(frame_id, point, budget_us, payload, layer, fragment, fragments):
            assert payload
            assert fragment < fragments
            fields = (frame_id, budget_us, point, layer, 0, fragment, fragments)
            return _parts(_Type.FRAME, version, fields, [payload])
        case Result():
            return _encode_result(message, version)
        case Probe(probe_id, padding):
            return _parts(_Type.PROBE, version, (probe_id,), [padding])
        case ProbeReply(probe_id, arrived_us, residence_us):
            return _parts(_Type.PROBE_REPLY, version, (arrived_us, probe_id, residence_us), [])
        case Reject(frame_id, reason, detail):
            number = _NO_FRAME if frame_id is None else frame_id
            text = detail.encode(errors="replace")[:MAX_DETAIL_BYTES]
            text = text.decode(errors="ignore").encode()  # no half character at the cut
            return _parts(_Type.REJECT, HANDSHAKE_VERSION, (number, reason, 0), [text])
        case Hello(versions, digest, max_message_bytes):
            assert 1 <= len(versions) <= MAX_LISTED_VERSIONS
            assert list(versions) == sorted(set(versions), reverse=True)
            hello = (bytes(versions), _digest_bytes(digest), max_message_bytes)
            return _parts(_Type.HELLO, HANDSHAKE_VERSION, hello, [])
        case Welcome(agreed, digest, max_payload_bytes, max_in_flight):
            welcome = (_digest_bytes(digest), max_payload_bytes, max_in_flight, 0)
            return _parts(_Type.WELCOME, agreed, welcome, [])
        case Goodbye():
            return _parts(_Type.GOODBYE, version, (), [])


def _parts(
    kind: _Type, version: int, fields: tuple[Any, ...], payloads: list[bytes]
) -> list[bytes]:
    prefix = _PREFIX.pack(MAGIC, version, kind, len(payloads), 0)
    return [prefix + _fields(kind, version).pack(*fields), *payloads]


def _fields(kind: _Type, version: int) -> Struct:
    """Return the layout of a type's fields in that version."""
    return _OLDER_FIELDS.get((kind, version)) or _FIELDS[kind]


def _encode_result(result: Result, version: int) -> list[bytes]:
    fields: tuple[int, ...] = (
        result.arrived_us,
        result.frame_id,
        result.residence_us,
        result.queue_us,
        result.decode_us,
        result.tail_us,
        result.point_index,
        result.load.frames_queued,
        result.load.busy_permille,
    )
    burst = result.burst
    if version == 1:
        fields += (0,)
    else:
        fields += (burst.arrivals, burst.spread_us, burst.num_bytes, burst.largest_gap_us)
    payloads = [encode_tensor(tensor) for tensor in result.tensors]
    return _parts(_Type.RESULT, version, fields, payloads)


def decode(parts: Sequence[bytes], limits: Limits = DEFAULT_LIMITS) -> Message:
    """Return the message, or raise WireError saying what is wrong; never anything else.

    Payloads and tensors are views of the parts: nothing is copied, tensors are read-only.
    """
    if not 1 <= len(parts) <= limits.max_parts:
        raise WireError(f"message: {len(parts)} parts, expected 1 to {limits.max_parts}")
    largest_bytes = max(map(len, parts))
    if largest_bytes > limits.max_part_bytes:
        raise WireError(
            f"message: a part of {largest_bytes} bytes, at most {limits.max_part_bytes} are taken"
        )
    num_bytes = sum(map(len, parts))
    if num_bytes > limits.max_message_bytes:
        raise WireError(f"message: {num_bytes} bytes, at most {limits.max_message_bytes} are taken")
    header = parts[0]
    kind, version, fields = _decode_prefix(header[: _PREFIX.size], len(header), len(parts) - 1)
    return _DECODERS[kind](fields.unpack_from(header, _PREFIX.size), parts[1:], version, limits)


@lru_cache(maxsize=64)  # few differ; what is refused is not kept
def _decode_prefix(
    prefix: bytes, header_bytes: int, num_payloads: int
) -> tuple[_Type, int, Struct]:
    """Check all of the header but its fields; return type, version and how to unpack these."""
    if header_bytes < _PREFIX.size:
        raise WireError(f"header: {header_bytes} bytes, expected {_PREFIX.size} or more")
    magic, version, number, announced, zero = _PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise WireError(f"header: begins with {magic!r}, expected {MAGIC!r}; not a Headgate peer")
    if number in _RESERVED:
        raise WireError(f"header: type {number} ({_RESERVED[number]}) is reserved; update Headgate")
    try:
        kind = _Type(number)
    except ValueError:
        raise WireError(f"header: unknown type {number}; update Headgate") from None
    spoken = (HANDSHAKE_VERSION,) if kind in _HANDSHAKE else SPOKEN_VERSIONS
    if version not in spoken:
        raise WireError(
            f"{kind.name}: version {version}, this side speaks {spoken}; update the older one"
        )
    expected_bytes = _PREFIX.size + _fields(kind, version).size
    if header_bytes != expected_bytes:
        raise WireError(f"{kind.name}: header of {header_bytes} bytes, expected {expected_bytes}")
    if announced != num_payloads or _NUM_PAYLOADS.get(kind, announced) != announced:
        raise WireError(
            f"{kind.name}: {num_payloads} payload parts, header says {announced}, "
            f"expected {_NUM_PAYLOADS.get(kind, 'as the header says')}"
        )
    _check_zero(zero, kind)
    return kind, version, _fields(kind, version)


def _check_zero(value: int, kind: _Type) -> None:
    if value != 0:
        raise WireError(f"{kind.name}: a reserved field holds {value}, expected 0; update Headgate")


_Fields = tuple[Any, ...]
_Payloads = Sequence[bytes]


def _decode_hello(fields: _Fields, _: _Payloads, __: int, ___: Limits) -> Hello:
    listed, digest, max_message_bytes = fields
    versions = tuple(listed.rstrip(b"\0"))
    if not versions or list(versions) != sorted(set(versions), reverse=True) or versions[-1] == 0:
        raise WireError(f"HELLO: versions {list(listed)}, expected newest first, then zeros")
    return Hello(versions, digest.hex(), max_message_bytes)


def _decode_welcome(fields: _Fields, _: _Payloads, version: int, __: Limits) -> Welcome:
    digest, max_payload_bytes, max_in_flight, zero = fields
    _check_zero(zero, _Type.WELCOME)
    if max_payload_bytes == 0 or max_in_flight == 0:
        raise WireError(
            f"WELCOME: takes {max_in_flight} frames of {max_payload_bytes} bytes, "
            "expected more than none"
        )
    return Welcome(version, digest.hex(), max_payload_bytes, max_in_flight)


def _decode_frame(fields: _Fields, payloads: _Payloads, _: int, limits: Limits) -> Frame:
    frame_id, budget_us, point, layer, zero, fragment, fragments = fields
    _check_zero(zero, _Type.FRAME)
    if not fragment < fragments <= limits.max_fragments:
        raise WireError(
            f"FRAME {frame_id}: fragment {fragment} of {fragments}, expected an index below "
            f"the count and at most {limits.max_fragments} fragments"
        )
    if not payloads[0]:
        raise WireError(f"FRAME {frame_id}: the payload is empty, expected 1 byte or more")
    return Frame(frame_id, point, budget_us, payloads[0], layer, fragment, fragments)


def _decode_result(fields: _Fields, payloads: _Payloads, version: int, _: Limits) -> Result:
    arrived_us, frame_id, residence_us, queue_us, decode_us, tail_us, *rest = fields
    point, frames_queued, busy_permille, *arrivals = rest
    burst = NO_BURST
    if version == 1:
        _check_zero(arrivals[0], _Type.RESULT)
    elif any(arrivals):
        burst = _decode_burst(Burst(*arrivals), frame_id)
    if busy_permille > 1000:
        raise WireError(f"RESULT {frame_id}: busy {busy_permille} permille, expected 0 to 1000")
    tensors = tuple(decode_tensor(part, where=f"RESULT {frame_id}") for part in payloads)
    names = [tensor.name for tensor in tensors] if len(tensors) > 1 else []
    if len(set(names)) != len(names):
        raise WireError(f"RESULT {frame_id}: tensors {names}, expected every name once")
    load = Load(frames_queued, busy_permille)
    times_us = (arrived_us, residence_us, queue_us, decode_us, tail_us)
    return Result(frame_id, point, *times_us, load, tensors, burst)


def _decode_burst(burst: Burst, frame_id: int) -> Burst:
    if burst.arrivals < 2 or burst.num_bytes == 0 or burst.largest_gap_us > burst.spread_us:
        raise WireError(
            f"RESULT {frame_id}: {burst.arrivals} arrivals with {burst.num_bytes} bytes in "
            f"{burst.spread_us} us and a gap of {burst.largest_gap_us} us, expected zeros or "
            "two arrivals and more, with bytes and a gap within their time"
        )
    return burst


def _decode_reject(fields: _Fields, payloads: _Payloads, _: int, __: Limits) -> Reject:
    frame_id, number, zero = fields
    _check_zero(zero, _Type.REJECT)
    if len(payloads[0]) > MAX_DETAIL_BYTES:
        raise WireError(
            f"REJECT: text of {len(payloads[0])} bytes, at most {MAX_DETAIL_BYTES} are taken"
        )
    try:
        return Reject(
            None if frame_id == _NO_FRAME else frame_id,
            RejectReason(number),
            payloads[0].decode("utf-8"),
        )
    except UnicodeDecodeError:
        raise WireError("REJECT: the text is not UTF-8") from None
    except ValueError:
        raise WireError(f"REJECT: unknown reason {number}; update Headgate") from None


def _decode_probe(fields: _Fields, payloads: _Payloads, _: int, __: Limits) -> Probe:
    return Probe(fields[0], payloads[0])


def _decode_probe_reply(fields: _Fields, _: _Payloads, __: int, ___: Limits) -> ProbeReply:
    arrived_us, probe_id, residence_us = fields
    return ProbeReply(probe_id, arrived_us, residence_us)


def _decode_goodbye(_: _Fields, __: _Payloads, ___: int, ____: Limits) -> Goodbye:
    return Goodbye()


def _digest_bytes(digest: str) -> bytes:
    value = bytes.fromhex(digest)
    assert len(value) == 32
    return value


_DECODERS: dict[_Type, Callable[[_Fields, _Payloads, int, Limits], Message]] = {
    _Type.HELLO: _decode_hello,
    _Type.WELCOME: _decode_welcome,
    _Type.FRAME: _decode_frame,
    _Type.RESULT: _decode_result,
    _Type.REJECT: _decode_reject,
    _Type.PROBE: _decode_probe,
    _Type.PROBE_REPLY: _decode_probe_reply,
    _Type.GOODBYE: _decode_goodbye,
}
