"""What a simulated network answers and sends: scores that are right or wrong, payloads of a size.

Payload sizes follow each point's measured quantiles, in an order that is the same in every run.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.profiles.progressive import prefixes_of
from headgate.runtime.choice.own_answers import has_exit
from headgate.runtime.session.events import Answer
from headgate.runtime.wire.messages import NamedTensor

GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, spread evenly over 0 to 1
STAND_IN = np.zeros((1, 1, 1), dtype=np.uint8)  # for the integers of any frame
_QUANTILES = (0.05, 0.5, 0.95)


class Answers:
    """What each point answers: label 0 is right and 1 is wrong where correctness is given.

    Split frames carry an early exit's answer where one was measured, but not if `insured` is False.
    """

    def __init__(
        self,
        manifest: Manifest,
        correct: Mapping[str, Sequence[bool]] | None,
        *,
        insured: bool = True,
    ) -> None:
        self._manifest = manifest
        self._correct = correct
        self._insured = insured
        spec = manifest.outputs[0]
        self._name = spec.name
        self._scores: list[npt.NDArray[np.float32]] = []
        for label in (0, 1):
            scores = np.zeros(spec.shape, dtype=np.float32)
            scores.flat[label % scores.size] = 1.0
            self._scores.append(scores)

    @property
    def truth(self) -> int | None:
        return None if self._correct is None else 0

    def of_device(self, point: OperatingPoint, frame_id: int) -> Answer | None:
        """Return the answer that the device has once it computed this point."""
        own = point.kind is PointKind.LOCAL
        if not own and (point.kind is PointKind.OFFLOAD or not self._insured):
            return None
        if not own and not has_exit(self._manifest, point):
            return None
        label = self._label(point.id if own else f"{point.member}/exit", frame_id)
        return Answer({self._name: self._scores[label]}, label, 1.0)

    def of_edge(self, point: OperatingPoint, frame_id: int) -> tuple[NamedTensor, ...]:
        """Return the edge's output tensors."""
        return (NamedTensor(self._name, self._scores[self._label(point.id, frame_id)]),)

    def _label(self, key: str, frame_id: int) -> int:
        if self._correct is None:
            return 0
        flags = self._correct[key]
        return 0 if flags[frame_id % len(flags)] else 1


def payload_of(
    manifest: Manifest, point: OperatingPoint, frame_id: int, *, distance: int
) -> bytes | None:
    """Return what a device sends whole: zeros, and the size of a whole or predicted frame.

    `distance` is that of the reference it may predict from; 0: there is none.
    """
    if point.kind is PointKind.LOCAL:
        return None
    if point.prefix is not None:
        return b"".join(layers_of(manifest, point, frame_id))
    if point.twin is None:
        return bytes(payload_bytes(point, frame_id))
    if distance == 0:
        return bytes(1 + payload_bytes(manifest.point(point.twin), frame_id))
    return bytes([distance]) + bytes(payload_bytes(point, frame_id) - 1)


def layers_of(manifest: Manifest, point: OperatingPoint, frame_id: int) -> tuple[bytes, ...]:
    """Return the layers that a device sends for a frame at a progressive point; none at others.

    Each is as large as what its prefix takes more than the one before.
    """
    ends = [payload_bytes(each, frame_id) for each in prefixes_of(point, manifest.points)]
    return tuple(bytes(max(1, end - start)) for start, end in zip([0, *ends], ends, strict=False))


def payload_bytes(point: OperatingPoint, frame_id: int) -> int:
    """Return how many bytes this frame takes at this point, by the quantiles of its sizes."""
    if point.kind is PointKind.LOCAL:
        return 0
    sizes = point.bytes
    at = (frame_id * GOLDEN) % 1.0
    num_bytes = float(np.interp(at, _QUANTILES, (sizes.p5, sizes.p50, sizes.p95)))
    return max(1, round(num_bytes))
