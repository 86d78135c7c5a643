"""Feature maps <-> payload bytes, exactly: pack small integers, entropy-code, bounded both ways."""

import numpy as np
import numpy.typing as npt

CODECS = ("zstd", "raw")


def encode_features(q_CHW: npt.NDArray[np.uint8], *, levels: int, codec: str) -> bytes:
    """Return the payload of integers 0 .. levels - 1; at most the packed size and one byte."""
    raise NotImplementedError


def decode_features(
    data: bytes, *, shape: tuple[int, ...], levels: int, codec: str
) -> npt.NDArray[np.uint8]:
    """Return the integers [C, h, w] of a payload, or raise WireError."""
    raise NotImplementedError
