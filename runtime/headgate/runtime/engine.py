"""Run the graphs of a family with onnxruntime: the only module that imports it.

`DeviceEngine` turns a picture into what one operating point sends (or answers by itself);
`TailEngine` turns a batch of payloads into answers behind the `TailBackend` interface. Both load
and warm every graph at the start, so that switching the operating point costs nothing later.

Shapes: N batch, C sent feature maps, h w their size, H W picture, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from headgate.profiles.errors import DataError, FamilyError, UsageError, WireError
from headgate.profiles.family import Family
from headgate.profiles.manifest import Manifest, Member, OperatingPoint, PointKind
from headgate.profiles.pictures import decode_picture, encode_picture, preprocess
from headgate.runtime.device_session import Answer, Computed
from headgate.runtime.edge_session import BatchItem, ItemOutcome
from headgate.runtime.features import decode_features, encode_features

FULL_GRAPH_KEY = "full"
PROVIDER_CHOICES = ("auto", "cpu", "cuda", "tensorrt")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to run graphs. `threads` is per graph run; 0 lets onnxruntime use every core."""

    providers: str = "auto"
    threads: int = 1


class DeviceEngine:
    """The device's graphs: every head, and the whole network for `local`."""

    def __init__(self, family: Family, *, options: EngineOptions = EngineOptions()) -> None: ...

    def compute(self, point: OperatingPoint, picture_HWC: npt.NDArray[np.uint8]) -> Computed:
        """Do what `point` asks of the device for one picture of any size."""
        raise NotImplementedError

    def features(
        self, point: OperatingPoint, pictures_NHWC: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Return features [N,C,h,w] and exit probabilities [N,K] of preprocessed pictures."""
        raise NotImplementedError

    def full(self, pictures_NHWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return probabilities [N,K] of the whole network on preprocessed pictures."""
        raise NotImplementedError


class TailEngine:
    """The edge's graphs: every tail, and the whole network for offloaded pictures."""

    def __init__(
        self, family: Family, *, options: EngineOptions = EngineOptions(), max_batch: int = 16
    ) -> None: ...

    def infer(self, graph_key: str, items: Sequence[BatchItem]) -> list[ItemOutcome]:
        """Decode and run one batch of `graph_key` (a member id or "full")."""
        raise NotImplementedError

    def tails(
        self, point: OperatingPoint, features_NCHW: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.float32]:
        """Return probabilities [N,K] of decoded features of one split point."""
        raise NotImplementedError
