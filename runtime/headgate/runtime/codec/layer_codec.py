"""The integers of a progressive point <-> one payload per layer, each decodable by itself.

A layer is coded like a frame of its maps only (`features`), with the codec and the table of the
point. Maps whose layers are not there are zeros at the tail: their integers are 0 and `scales`
gives them the range from 0 to 0, which makes zeros of them whatever the integers are.
"""

from collections.abc import Sequence

import numpy as np

from headgate.profiles.errors import WireError
from headgate.profiles.manifest import Member, OperatingPoint
from headgate.profiles.progressive import layer_bounds
from headgate.runtime.codec.features import decode_features, encode_features
from headgate.runtime.codec.prediction import Integers


def encode_layers(point: OperatingPoint, q_CHW: Integers, *, member: Member) -> tuple[bytes, ...]:
    """Return the payloads of the layers that `point` sends, of all maps of its member."""
    assert point.prefix is not None
    assert point.levels is not None
    assert point.codec is not None
    assert q_CHW.shape == member.features.shape
    bounds = layer_bounds(member)
    return tuple(
        encode_features(
            q_CHW[bounds[layer] : bounds[layer + 1]],
            levels=point.levels,
            codec=point.codec,
            table=point.table,
        )
        for layer in range(point.prefix)
    )


def decode_layers(point: OperatingPoint, payloads: Sequence[bytes], *, member: Member) -> Integers:
    """Return the integers [C, h, w] of all maps, zeros for absent ones, or raise WireError.

    `point` is the one of just these layers.
    """
    assert point.levels is not None
    assert point.codec is not None
    if len(payloads) != point.prefix:
        raise WireError(
            f"features: {len(payloads)} layers, point {point.id} is answered from {point.prefix}"
        )
    bounds = layer_bounds(member)
    decoded = np.zeros(member.features.shape, np.uint8)
    for layer, payload in enumerate(payloads):
        maps = decoded[bounds[layer] : bounds[layer + 1]]
        maps[...] = decode_features(
            payload, shape=maps.shape, levels=point.levels, codec=point.codec, table=point.table
        )
    return decoded
