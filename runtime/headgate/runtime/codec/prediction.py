"""A predicted payload: integers coded against those of a frame that the edge is known to have.

    0   distance u8: the reference is the frame whose id is so much smaller; 0: there is none
    1   of distance 0: the payload of the point's codec (`features`); else the changes (`changes`)

Only frames that the edge has answered serve as references. So no frame depends on one that is
still on its way: losses, late frames and the order in which the edge decodes spoil nothing, and
both sides forget everything whenever a device says HELLO. Prediction loses nothing: a predicted
point answers exactly as its intra twin does, and differs in bytes only.

Points whose integers mean the same (one member, levels and ranges) are a *stream*, named after
the intra point; whichever of them brought a frame, it may be the reference of the next.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headgate.profiles.errors import WireError
from headgate.profiles.manifest import Manifest, OperatingPoint
from headgate.runtime.codec.changes import decode_changes, encode_changes
from headgate.runtime.codec.features import decode_features, encode_features, packed_bytes

MAX_DISTANCE = 255  # frames back to a reference: it is one byte of the payload
KEPT_FRAMES = 16  # of each point, that an edge keeps of each device to predict later ones from
# With fewer changed values than this share the whole frame was never smaller (two clips, 3 and 8
# levels, codec "context": 0 of 1364 frames; of 118 up to an eighth 7, by 5 bytes), and trying it
# doubles the time.
FEW_CHANGES = 1 / 12

Integers = npt.NDArray[np.uint8]  # [C, h, w]; never written to once they are shared


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The integers of an earlier frame, and by how much its id is smaller."""

    distance: int  # 1 to MAX_DISTANCE
    integers: Integers


def streams_of(manifest: Manifest) -> dict[str, str]:
    """Return the stream of every point that belongs to one: predicted points and their twins."""
    twins = {point.id: point.twin for point in manifest.points if point.twin is not None}
    return twins | {twin: twin for twin in twins.values()}


def encode_split(point: OperatingPoint, q_CHW: Integers, reference: Reference | None) -> bytes:
    """Return the payload of a split point: whole, or the smaller of whole and changes."""
    if point.twin is None:
        return _encode_whole(point, q_CHW)
    if reference is None:
        return b"\0" + _encode_whole(point, q_CHW)
    assert 1 <= reference.distance <= MAX_DISTANCE
    assert point.levels is not None
    changes = encode_changes(q_CHW, reference.integers, levels=point.levels)
    num_changes = int(np.count_nonzero(q_CHW != reference.integers))
    if num_changes > FEW_CHANGES * q_CHW.size:
        whole = _encode_whole(point, q_CHW)
        if len(whole) <= len(changes):
            return b"\0" + whole
    return bytes([reference.distance]) + changes


def reference_distance(payload: bytes) -> int:
    """Return how many frames back a predicted payload's reference is; 0: it needs none."""
    assert payload
    return payload[0]


def decode_split(
    point: OperatingPoint,
    payload: bytes,
    reference: Integers | None,
    *,
    shape: tuple[int, ...],
) -> Integers:
    """Return the integers of a split point's payload, or raise WireError.

    The result may be `reference` itself.
    """
    if point.twin is None:
        return _decode_whole(point, payload, shape)
    if not payload:
        raise WireError("features: a predicted payload of 0 bytes, expected 1 or more")
    distance = reference_distance(payload)
    if distance == 0:
        return _decode_whole(point, payload[1:], shape)
    if reference is None:
        raise WireError(f"features: the frame {distance} before this one is not known here")
    assert point.levels is not None
    largest_bytes = packed_bytes(reference.size, point.levels) + 2
    if reference.shape != shape or len(payload) > largest_bytes:
        raise WireError(
            f"features: {len(payload)} bytes of changes to {list(reference.shape)}, "
            f"expected up to {largest_bytes} and {list(shape)}"
        )
    return decode_changes(payload[1:], reference, levels=point.levels)


def _encode_whole(point: OperatingPoint, q_CHW: Integers) -> bytes:
    assert point.levels is not None
    assert point.codec is not None
    return encode_features(q_CHW, levels=point.levels, codec=point.codec, table=point.table)


def _decode_whole(point: OperatingPoint, payload: bytes, shape: tuple[int, ...]) -> Integers:
    assert point.levels is not None
    assert point.codec is not None
    return decode_features(
        payload, shape=shape, levels=point.levels, codec=point.codec, table=point.table
    )
