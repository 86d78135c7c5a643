"""Choose how the integers of a split point are written, by the bytes they take.

Half of the calibration pictures fit a table, the other half says whether it pays, so that a table
which only knows its own pictures by heart is not taken for a good one. The table that goes into the
manifest is then fitted to all of them.

Layers of a progressive member are encoded alone, so their bytes are counted alone. One table serves
them all: its contexts do not reach beyond a map, and no layer has fewer than one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headgate.export.points.context_tables import fit_table
from headgate.profiles.context_table import ContextTable
from headgate.profiles.manifest import CONTEXT_CODEC
from headgate.runtime.codec.features import encode_features

AUTO = "auto"
# The context coder takes about 0.12 us a value on a server's core and five times that on a small
# board's: this many stay under a millisecond of encoding there, and 0.25 ms of decoding at an edge.
MAX_CONTEXT_VALUES = 2048
# In layers zstd begins anew with each, for about 16 bytes; tables for half a byte (tried: 16 maps
# of 11 x 11 at 4 levels in 8 layers, 464 bytes against 229). That is worth more time.
MAX_LAYERED_VALUES = 8192
# With more, a table takes more room in the manifest than it saves in any hour of a slow link.
MAX_CONTEXT_LEVELS = 64
NUM_TRIED = 64  # pictures that are encoded to compare
# Of zstd's bytes, at least; less is not worth three times its time at both ends.
MIN_SAVED_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Codec:
    """What a split point says about its payload."""

    name: str  # one of headgate.profiles.manifest.CODECS
    table: ContextTable | None = None


def choose_codec(
    q_NCHW: NDArray[np.uint8], *, levels: int, asked: str, bounds: Sequence[int] = ()
) -> Codec:
    """Return the codec that was asked for; for "auto" tables where they save bytes quickly.

    `bounds` are the maps before which a new layer begins, if maps are sent in layers.
    """
    if asked not in (AUTO, CONTEXT_CODEC):
        return Codec(asked)
    most_values = MAX_LAYERED_VALUES if bounds else MAX_CONTEXT_VALUES
    suits = q_NCHW[0].size <= most_values and levels <= MAX_CONTEXT_LEVELS
    if asked == CONTEXT_CODEC or (suits and _pays(q_NCHW, levels=levels, bounds=bounds)):
        return Codec(CONTEXT_CODEC, fit_table(q_NCHW, levels=levels))
    return Codec("zstd")


def mean_bytes(
    q_NCHW: NDArray[np.uint8], codec: Codec, *, levels: int, bounds: Sequence[int] = ()
) -> float:
    """Return the mean payload of pictures, all layers together."""
    total = sum(
        len(encode_features(layer_CHW, levels=levels, codec=codec.name, table=codec.table))
        for q_CHW in q_NCHW
        for layer_CHW in np.split(q_CHW, bounds)
    )
    return total / len(q_NCHW)


def _pays(q_NCHW: NDArray[np.uint8], *, levels: int, bounds: Sequence[int]) -> bool:
    if len(q_NCHW) < 2:
        return False
    table = fit_table(q_NCHW[::2], levels=levels)
    others_NCHW = q_NCHW[1::2]
    tried_NCHW = others_NCHW[:: -(-len(others_NCHW) // NUM_TRIED)]
    with_table = mean_bytes(tried_NCHW, Codec(CONTEXT_CODEC, table), levels=levels, bounds=bounds)
    without = mean_bytes(tried_NCHW, Codec("zstd"), levels=levels, bounds=bounds)
    return with_table <= (1 - MIN_SAVED_SHARE) * without
