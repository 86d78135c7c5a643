"""Heads in INT8: a copy of a family whose head graphs compute convolutions in 8-bit integers.

onnxruntime's static quantisation (QDQ): every convolution gets int8 weights, one scale per output
channel, and activations get uint8 ranges seen on calibration pictures. What comes after the code
(the quantiser of the maps, the early exit's softmax) stays in float32, so the copy has the inputs
and outputs of the original and its maps go through the existing codec and tail.

Shapes: N pictures, H height, W width.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from headgate.profiles.errors import DataError
from headgate.profiles.family import Family
from headgate.profiles.manifest import Member

# Layers between two of these stay in integers; the maps' own quantiser has none of them.
QUANTISED_OPS = ("Conv", "Add", "Relu", "MaxPool", "AveragePool", "Gemm")


def with_int8_heads(family: Family, folder: Path, *, calibration_NHWC: NDArray[np.uint8]) -> Family:
    """Write the device's files of `family` to `folder`, heads in INT8, and return that family.

    The manifest is the original's, and its digests are those of the float heads: the copy is to
    be measured, not served.
    """
    if not len(calibration_NHWC):
        raise DataError("INT8 heads: no calibration pictures, expected at least one; give --data")
    for name, entry in family.manifest.files.items():
        if "device" in entry.roles:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(family.file(name), folder / name)
    for member in family.manifest.members:
        _quantise_head(family.file(member.head), folder / member.head, member, calibration_NHWC)
    return Family(folder, family.manifest)


def _quantise_head(
    source: Path, target: Path, member: Member, calibration_NHWC: NDArray[np.uint8]
) -> None:
    with _quiet():
        quantize_static(
            source,
            target,
            _Feeds(member, calibration_NHWC),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED_OPS),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


class _Feeds(CalibrationDataReader):  # type: ignore[misc]
    """Hands calibration pictures to onnxruntime one at a time."""

    def __init__(self, member: Member, pictures_NHWC: NDArray[np.uint8]) -> None:
        num_channels = member.features.shape[0]
        # What the maps' quantiser is told does not matter: nothing before it depends on it.
        self._scales = {
            "low": np.zeros((1, num_channels), np.float32),
            "span": np.ones((1, num_channels), np.float32),
            "levels": np.full((1, 1), 16, np.float32),
        }
        self._pictures_NHWC = pictures_NHWC
        self._next = 0

    def get_next(self) -> dict[str, Any] | None:
        """Return the graph's inputs for the next picture, or None after the last."""
        if self._next == len(self._pictures_NHWC):
            return None
        self._next += 1
        return self._scales | {"picture": self._pictures_NHWC[self._next - 1 : self._next]}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide the advice to optimise the graph first: exported ones have their shapes and folds."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
