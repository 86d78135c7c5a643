"""The header of a message: its prefix, and which fields follow for each type and version.

Drawn in docs/wire.md; `wire` puts types together with their payloads.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from struct import Struct
from typing import Any

from headgate.profiles.errors import WireError

MAGIC = b"HDGT"
SPOKEN_VERSIONS = (3, 2)  # newest first: N and N - 1
HANDSHAKE_VERSION = 1  # of HELLO and REJECT, for ever
LAYERS_SINCE = 3  # the version that brought layers, ACK and the device's stamps
MAX_LAYERS = 255  # of one frame: their number is one byte

PREFIX = Struct("<4sBBBB")


@dataclass(frozen=True, slots=True)
class Limits:
    """What `wire.decode` admits, checked before anything is copied or allocated."""

    max_parts: int = 17  # of one message, header included
    max_part_bytes: int = 1 << 22  # give this to ZMQ_MAXMSGSIZE too: it is per part
    max_message_bytes: int = 1 << 23  # all parts together
    max_fragments: int = 1024  # of one frame


DEFAULT_LIMITS = Limits()


class Kind(IntEnum):
    """The types of messages; their numbers are never used again."""

    HELLO = 1
    WELCOME = 2
    FRAME = 3
    RESULT = 4
    REJECT = 5
    PROBE = 6
    PROBE_REPLY = 7
    GOODBYE = 8
    ACK = 9


# Types that neither an edge nor a device takes, and what to do about them.
_NOT_HERE = {
    64: "(CONTROL) is reserved; update Headgate",
    65: "(TRAIN) is of split training, which an edge does not do; connect to a server of "
    "`headgate train deprune --role server`",
}
_HANDSHAKE = (Kind.HELLO, Kind.REJECT)
_FIELDS = {
    Kind.HELLO: Struct("<8s32sI"),
    Kind.WELCOME: Struct("<32sIHH"),
    Kind.FRAME: Struct("<IIHBBHHI"),
    Kind.RESULT: Struct("<QIIIIIHHHHIII"),
    Kind.REJECT: Struct("<IHH"),
    Kind.PROBE: Struct("<II"),
    Kind.PROBE_REPLY: Struct("<QII"),
    Kind.GOODBYE: Struct("<"),
    Kind.ACK: Struct("<IBBHQ"),
}
_OLDER_FIELDS = {(Kind.FRAME, 2): Struct("<IIHBBHH"), (Kind.PROBE, 2): Struct("<I")}
_NEWER_KINDS = {Kind.ACK: 3}  # in which version they came
# Payload parts of the types that have a fixed number of them. Of a FRAME there is one more check,
# after its fields are known.
_NUM_PAYLOADS = {
    Kind.HELLO: 0,
    Kind.WELCOME: 0,
    Kind.REJECT: 1,
    Kind.PROBE: 1,
    Kind.PROBE_REPLY: 0,
    Kind.GOODBYE: 0,
    Kind.ACK: 0,
}


def supports_layers(version: int) -> bool:
    """Return whether peers that agreed on `version` may send and answer progressive frames."""
    return version >= LAYERS_SINCE


def with_header(
    kind: Kind, version: int, fields: tuple[Any, ...], payloads: list[bytes]
) -> list[bytes]:
    """Return the parts of a message: its header, then its payloads."""
    prefix = PREFIX.pack(MAGIC, version, kind, len(payloads), 0)
    return [prefix + fields_of(kind, version).pack(*fields), *payloads]


def fields_of(kind: Kind, version: int) -> Struct:
    """Return the layout of a type's fields in that version."""
    return _OLDER_FIELDS.get((kind, version)) or _FIELDS[kind]


@lru_cache(maxsize=64)  # few differ; what is refused is not kept
def decode_prefix(prefix: bytes, header_bytes: int, num_payloads: int) -> tuple[Kind, int, Struct]:
    """Check all of the header but its fields; return type, version and how to unpack these."""
    if header_bytes < PREFIX.size:
        raise WireError(f"header: {header_bytes} bytes, expected {PREFIX.size} or more")
    magic, version, number, announced, zero = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise WireError(f"header: begins with {magic!r}, expected {MAGIC!r}; not a Headgate peer")
    if number in _NOT_HERE:
        raise WireError(f"header: type {number} {_NOT_HERE[number]}")
    try:
        kind = Kind(number)
    except ValueError:
        raise WireError(f"header: unknown type {number}; update Headgate") from None
    spoken = (HANDSHAKE_VERSION,) if kind in _HANDSHAKE else SPOKEN_VERSIONS
    if version not in spoken:
        raise WireError(
            f"{kind.name}: version {version}, this side speaks {spoken}; update the older one"
        )
    if version < _NEWER_KINDS.get(kind, version):
        raise WireError(
            f"{kind.name}: version {version} has no such type, it came with "
            f"{_NEWER_KINDS[kind]}; send what was agreed on"
        )
    fields = fields_of(kind, version)
    expected_bytes = PREFIX.size + fields.size
    if header_bytes != expected_bytes:
        raise WireError(f"{kind.name}: header of {header_bytes} bytes, expected {expected_bytes}")
    if announced != num_payloads or _NUM_PAYLOADS.get(kind, announced) != announced:
        raise WireError(
            f"{kind.name}: {num_payloads} payload parts, header says {announced}, "
            f"expected {_NUM_PAYLOADS.get(kind, 'as the header says')}"
        )
    check_zero(zero, kind)
    return kind, version, fields


def check_zero(value: int, kind: Kind) -> None:
    """Refuse a reserved field that is used: it means something that this side does not know."""
    if value != 0:
        raise WireError(f"{kind.name}: a reserved field holds {value}, expected 0; update Headgate")
