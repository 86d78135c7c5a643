"""Bytes <-> what is said of one frame: FRAME, ACK and RESULT. Drawn in `wire`."""

from collections.abc import Sequence
from typing import Any

from headgate.profiles.errors import WireError
from headgate.runtime.wire.headers import (
    DEFAULT_LIMITS,
    MAX_LAYERS,
    Kind,
    Limits,
    check_zero,
    supports_layers,
    with_header,
)
from headgate.runtime.wire.messages import NO_BURST, Ack, Burst, Frame, Load, Result
from headgate.runtime.wire.tensor_parts import decode_tensor, encode_tensor

_LAST = 1  # the bit of a FRAME's flags: no more layers of it will follow


def encode_frame(frame: Frame, version: int) -> list[bytes]:
    """Return the parts of a FRAME; only versions with layers can say what is of them."""
    assert frame.payload
    assert all(frame.more_layers)
    assert frame.fragment < frame.fragments
    payloads = [frame.payload, *frame.more_layers]
    fields: tuple[int, ...] = (
        frame.frame_id,
        frame.budget_us,
        frame.point_index,
        frame.layer,
        _LAST if frame.last else 0,
        frame.fragment,
        frame.fragments,
    )
    if supports_layers(version):
        assert frame.fragments == 1 or not frame.more_layers
        assert len(payloads) < DEFAULT_LIMITS.max_parts
        assert frame.layer + len(payloads) <= MAX_LAYERS
        fields += (frame.sent_us,)
    else:
        assert not frame.more_layers
        assert not frame.last
    return with_header(Kind.FRAME, version, fields, payloads)


def decode_frame(
    fields: tuple[Any, ...], payloads: Sequence[bytes], version: int, limits: Limits
) -> Frame:
    """Return the FRAME, or raise WireError; payloads are views of the parts."""
    frame_id, budget_us, point, layer, flags, fragment, fragments = fields[:7]
    if not fragment < fragments <= limits.max_fragments:
        raise WireError(
            f"FRAME {frame_id}: fragment {fragment} of {fragments}, expected an index below "
            f"the count and at most {limits.max_fragments} fragments"
        )
    if not payloads or not all(payloads):
        raise WireError(f"FRAME {frame_id}: the payload is empty, expected 1 byte or more")
    if not supports_layers(version):
        check_zero(flags, Kind.FRAME)
        if len(payloads) != 1:
            raise WireError(
                f"FRAME {frame_id}: {len(payloads)} payload parts, expected 1 in version {version}"
            )
        return Frame(frame_id, point, budget_us, payloads[0], layer, fragment, fragments)
    check_zero(flags & ~_LAST, Kind.FRAME)
    if layer + len(payloads) > MAX_LAYERS:
        raise WireError(
            f"FRAME {frame_id}: layers {layer} to {layer + len(payloads) - 1}, "
            f"a frame has at most {MAX_LAYERS}"
        )
    if fragments > 1 and len(payloads) > 1:
        raise WireError(
            f"FRAME {frame_id}: {len(payloads)} layers in fragment {fragment} of {fragments}, "
            "expected 1; slice one layer at a time"
        )
    return Frame(
        frame_id,
        point,
        budget_us,
        payloads[0],
        layer,
        fragment,
        fragments,
        tuple(payloads[1:]),
        bool(flags),
        fields[7],
    )


def encode_ack(ack: Ack, version: int) -> list[bytes]:
    """Return the part of an ACK."""
    assert supports_layers(version)
    return with_header(Kind.ACK, version, (ack.frame_id, ack.layers, 0, 0, ack.arrived_us), [])


def decode_ack(fields: tuple[Any, ...], _: Sequence[bytes], __: int, ___: Limits) -> Ack:
    """Return the ACK, or raise WireError."""
    frame_id, layers, zero, zeros, arrived_us = fields
    check_zero(zero | zeros, Kind.ACK)
    return Ack(frame_id, layers, arrived_us)


def encode_result(result: Result, version: int) -> list[bytes]:
    """Return the parts of a RESULT."""
    burst = result.burst
    fields = (
        result.arrived_us,
        result.frame_id,
        result.residence_us,
        result.queue_us,
        result.decode_us,
        result.tail_us,
        result.point_index,
        result.load.frames_queued,
        result.load.busy_permille,
        burst.arrivals,
        burst.spread_us,
        burst.num_bytes,
        burst.largest_gap_us,
    )
    return with_header(
        Kind.RESULT, version, fields, [encode_tensor(tensor) for tensor in result.tensors]
    )


def decode_result(fields: tuple[Any, ...], payloads: Sequence[bytes], _: int, __: Limits) -> Result:
    """Return the RESULT, or raise WireError; tensors are read-only views of the parts."""
    arrived_us, frame_id, residence_us, queue_us, decode_us, tail_us, *rest = fields
    point, frames_queued, busy_permille, *arrivals = rest
    burst = _burst_of(Burst(*arrivals), frame_id) if any(arrivals) else NO_BURST
    if busy_permille > 1000:
        raise WireError(f"RESULT {frame_id}: busy {busy_permille} permille, expected 0 to 1000")
    tensors = tuple(decode_tensor(part, where=f"RESULT {frame_id}") for part in payloads)
    names = [tensor.name for tensor in tensors] if len(tensors) > 1 else []
    if len(set(names)) != len(names):
        raise WireError(f"RESULT {frame_id}: tensors {names}, expected every name once")
    load = Load(frames_queued, busy_permille)
    times_us = (arrived_us, residence_us, queue_us, decode_us, tail_us)
    return Result(frame_id, point, *times_us, load, tensors, burst)


def _burst_of(burst: Burst, frame_id: int) -> Burst:
    if burst.arrivals < 2 or burst.num_bytes == 0 or burst.largest_gap_us > burst.spread_us:
        raise WireError(
            f"RESULT {frame_id}: {burst.arrivals} arrivals with {burst.num_bytes} bytes in "
            f"{burst.spread_us} us and a gap of {burst.largest_gap_us} us, expected zeros or "
            "two arrivals and more, with bytes and a gap within their time"
        )
    return burst
