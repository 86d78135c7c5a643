"""The quantiser's arithmetic: what head graphs, tail graphs, training and calibration all mirror.

A feature map c of a bottleneck has a range [low_c, low_c + span_c]. With L levels a value x becomes

    q  = round_half_even(clip((x - low_c) / span_c, 0, 1) * (L - 1))      0 <= q <= L - 1
    x^ = low_c + q * (span_c / (L - 1))

in float32 throughout. Rounding is half to even because ONNX `Round`, NumPy and torch all do that.
"""

import numpy as np
from numpy.typing import NDArray

MIN_LEVELS = 2
MAX_LEVELS = 256


def quantise(
    x_CHW: NDArray[np.float32],
    *,
    low_C: NDArray[np.float32],
    span_C: NDArray[np.float32],
    levels: int,
) -> NDArray[np.uint8]:
    """Return the integers [C, h, w] for features [C, h, w]; leading batch axes are allowed."""
    assert MIN_LEVELS <= levels <= MAX_LEVELS
    low = low_C.astype(np.float32)[..., :, None, None]
    span = span_C.astype(np.float32)[..., :, None, None]
    unit = np.clip((x_CHW - low) / span, np.float32(0), np.float32(1))
    q_CHW: NDArray[np.uint8] = np.rint(unit * np.float32(levels - 1)).astype(np.uint8)
    return q_CHW


def dequantise(
    q_CHW: NDArray[np.uint8],
    *,
    low_C: NDArray[np.float32],
    span_C: NDArray[np.float32],
    levels: int,
) -> NDArray[np.float32]:
    """Return the features that integers [C, h, w] stand for; leading batch axes are allowed."""
    assert MIN_LEVELS <= levels <= MAX_LEVELS
    step_C = span_C.astype(np.float32) / np.float32(levels - 1)
    step = step_C[..., :, None, None]
    low = low_C.astype(np.float32)[..., :, None, None]
    x_CHW: NDArray[np.float32] = low + q_CHW.astype(np.float32) * step
    return x_CHW
