"""Bytes <-> messages: one fixed little-endian header, then payload parts.

A message is one ZeroMQ message of several parts. Part 0 is the header: a prefix that every
message has, then fields whose length the type fixes. All numbers are little-endian and unsigned.
docs/wire.md draws every byte; the header and its checks are in `headers`.

The last four fields of RESULT are `messages.Burst`, all zero for a frame that came in one arrival.
FRAME, ACK and RESULT are written and read in `frame_parts`, tensors in `tensor_parts`.

Versions. The layout of HELLO and REJECT never changes and their version byte stays 1, so that any
two Headgates can at least refuse each other. HELLO lists what the device speaks (N and N - 1);
the edge takes the newest version both speak, WELCOME and all after it carry that one. A change of
layout or meaning is a new version; type numbers and reasons are never reused. Version 3 brought
layers (FRAME's flags and further parts, ACK) and the device's stamps (`sent us` of FRAME and
PROBE); in version 2 those fields and ACK are missing, and flags are zero.

Every length is checked against `Limits` and against the parts at hand before anything is copied.
"""

from collections.abc import Callable, Sequence
from typing import Any

from headgate.profiles.errors import WireError
from headgate.runtime.wire.frame_parts import (
    decode_ack,
    decode_frame,
    decode_result,
    encode_ack,
    encode_frame,
    encode_result,
)
from headgate.runtime.wire.headers import (
    DEFAULT_LIMITS,
    HANDSHAKE_VERSION,
    PREFIX,
    SPOKEN_VERSIONS,
    Kind,
    Limits,
    check_zero,
    decode_prefix,
    supports_layers,
    with_header,
)
from headgate.runtime.wire.messages import (
    Ack,
    Frame,
    Goodbye,
    Hello,
    Message,
    Probe,
    ProbeReply,
    Reject,
    RejectReason,
    Result,
    Welcome,
)

MAX_DETAIL_BYTES = 512
MAX_LISTED_VERSIONS = 8

_NO_FRAME = 0xFFFF_FFFF


def negotiate(theirs: tuple[int, ...]) -> int | None:
    """Return the newest version both sides speak, or None."""
    return max(set(theirs) & set(SPOKEN_VERSIONS), default=None)


def encode(message: Message, *, version: int = SPOKEN_VERSIONS[0]) -> list[bytes]:
    """Return the parts of one ZeroMQ message in the agreed `version`.

    Values out of range, and layers for a version without them, are our own bug and fail as such;
    only a REJECT's text is cut to what fits.
    """
    assert version in SPOKEN_VERSIONS
    match message:
        case Frame():
            return encode_frame(message, version)
        case Result():
            return encode_result(message, version)
        case Ack():
            return encode_ack(message, version)
        case Probe(probe_id, padding, sent_us):
            probe = (probe_id, sent_us) if supports_layers(version) else (probe_id,)
            return with_header(Kind.PROBE, version, probe, [padding])
        case ProbeReply(probe_id, arrived_us, residence_us):
            return with_header(Kind.PROBE_REPLY, version, (arrived_us, probe_id, residence_us), [])
        case Reject(frame_id, reason, detail):
            number = _NO_FRAME if frame_id is None else frame_id
            text = detail.encode(errors="replace")[:MAX_DETAIL_BYTES]
            text = text.decode(errors="ignore").encode()  # no half character at the cut
            return with_header(Kind.REJECT, HANDSHAKE_VERSION, (number, reason, 0), [text])
        case Hello(versions, digest, max_message_bytes):
            assert 1 <= len(versions) <= MAX_LISTED_VERSIONS
            assert list(versions) == sorted(set(versions), reverse=True)
            hello = (bytes(versions), _digest_bytes(digest), max_message_bytes)
            return with_header(Kind.HELLO, HANDSHAKE_VERSION, hello, [])
        case Welcome(agreed, digest, max_payload_bytes, max_in_flight):
            welcome = (_digest_bytes(digest), max_payload_bytes, max_in_flight, 0)
            return with_header(Kind.WELCOME, agreed, welcome, [])
        case Goodbye():
            return with_header(Kind.GOODBYE, version, (), [])


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
    kind, version, fields = decode_prefix(header[: PREFIX.size], len(header), len(parts) - 1)
    return _DECODERS[kind](fields.unpack_from(header, PREFIX.size), parts[1:], version, limits)


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
    check_zero(zero, Kind.WELCOME)
    if max_payload_bytes == 0 or max_in_flight == 0:
        raise WireError(
            f"WELCOME: takes {max_in_flight} frames of {max_payload_bytes} bytes, "
            "expected more than none"
        )
    return Welcome(version, digest.hex(), max_payload_bytes, max_in_flight)


def _decode_reject(fields: _Fields, payloads: _Payloads, _: int, __: Limits) -> Reject:
    frame_id, number, zero = fields
    check_zero(zero, Kind.REJECT)
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


def _decode_probe(fields: _Fields, payloads: _Payloads, version: int, _: Limits) -> Probe:
    return Probe(fields[0], payloads[0], fields[1] if supports_layers(version) else 0)


def _decode_probe_reply(fields: _Fields, _: _Payloads, __: int, ___: Limits) -> ProbeReply:
    arrived_us, probe_id, residence_us = fields
    return ProbeReply(probe_id, arrived_us, residence_us)


def _decode_goodbye(_: _Fields, __: _Payloads, ___: int, ____: Limits) -> Goodbye:
    return Goodbye()


def _digest_bytes(digest: str) -> bytes:
    value = bytes.fromhex(digest)
    assert len(value) == 32
    return value


_DECODERS: dict[Kind, Callable[[_Fields, _Payloads, int, Limits], Message]] = {
    Kind.HELLO: _decode_hello,
    Kind.WELCOME: _decode_welcome,
    Kind.FRAME: decode_frame,
    Kind.RESULT: decode_result,
    Kind.REJECT: _decode_reject,
    Kind.PROBE: _decode_probe,
    Kind.PROBE_REPLY: _decode_probe_reply,
    Kind.GOODBYE: _decode_goodbye,
    Kind.ACK: decode_ack,
}
