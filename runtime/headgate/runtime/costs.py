"""What each operating point costs in time and bytes, measured online, with the manifest as prior.

A point that was not used yet is judged by its prior, scaled by how far the priors were off for the
points that were used: a slow device is slow at all of them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind, PointTime
from headgate.runtime.messages import Result

GAIN = 0.1
# Compute times scatter; predict a little above the mean, as TCP does for its timer.
DEVIATIONS = 2.0


@dataclass(slots=True)
class _Scatter:
    """Exponentially weighted mean and mean absolute deviation, in seconds."""

    mean_s: float
    deviation_s: float = 0.0

    def add(self, value_s: float) -> None:
        self.deviation_s += GAIN * (abs(value_s - self.mean_s) - self.deviation_s)
        self.mean_s += GAIN * (value_s - self.mean_s)

    @property
    def likely_s(self) -> float:
        return self.mean_s + DEVIATIONS * self.deviation_s


class _Times:
    """One kind of time (device or edge) of every point."""

    def __init__(self, priors_s: dict[str, float]) -> None:
        self._priors_s = priors_s
        self._measured: dict[str, _Scatter] = {}
        self._log_ratio = 0.0  # measured over prior, over all points

    def add(self, point_id: str, value_s: float) -> None:
        prior_s = self._priors_s.get(point_id, 0.0)
        if prior_s > 0 and value_s > 0:
            gain = GAIN if self._measured else 1.0
            self._log_ratio += gain * (math.log(value_s / prior_s) - self._log_ratio)
        known = self._measured.get(point_id)
        if known is None:
            self._measured[point_id] = _Scatter(value_s)
        else:
            known.add(value_s)

    def likely_s(self, point_id: str) -> float:
        known = self._measured.get(point_id)
        if known is not None:
            return known.likely_s
        return self._priors_s.get(point_id, 0.0) * math.exp(self._log_ratio)


class PointCosts:
    """Predicts device time, edge time and payload size of the family's points."""

    def __init__(self, manifest: Manifest, *, times: Mapping[str, PointTime] | None = None) -> None:
        """`times` are the priors per point; without them, those of the manifest's first machine."""
        priors = next(iter(manifest.times.values()), {}) if times is None else times
        self._points = {point.id: point for point in manifest.points}
        self._device = _Times({key: time.device_s for key, time in priors.items()})
        self._edge = _Times({key: time.edge_s for key, time in priors.items()})
        self._queue = _Scatter(0.0)
        self._size_ratio: dict[str, float] = {}  # bytes seen over mean bytes measured at export
        self._lacking: frozenset[str] = frozenset()

    def device_took(self, point_id: str, *, device_s: float) -> None:
        """Learn from one frame's compute on the device: network plus encoding."""
        self._device.add(point_id, device_s)

    def payload_was(self, point_id: str, *, num_bytes: int) -> None:
        """Learn from one payload's size."""
        mean = self._points[point_id].bytes.mean
        if mean > 0:
            ratio = self._size_ratio.get(point_id, 1.0)
            self._size_ratio[point_id] = ratio + GAIN * (num_bytes / mean - ratio)

    def lacking(self, point_ids: frozenset[str]) -> None:
        """Tell which predicted points have no reference now: their next frame goes whole."""
        for point_id in point_ids - self._lacking:
            # How much moved before the gap says little about what moves after it.
            self._size_ratio.pop(point_id, None)
        self._lacking = point_ids

    def edge_took(self, point_id: str, *, queue_s: float, serve_s: float) -> None:
        """Learn from one answer: time in the edge's queue, and time from there to sending."""
        self._queue.add(queue_s)
        self._edge.add(point_id, serve_s)

    def edge_answered(self, point: OperatingPoint, result: Result) -> None:
        """Learn from an answer what the edge takes.

        A progressive frame may have waited there for its own layers: that says nothing of others.
        """
        queue_s, residence_s = result.queue_us / 1e6, result.residence_us / 1e6
        serve_s = max(0.0, residence_s - queue_s)
        if point.prefix is not None:
            serve_s = (result.decode_us + result.tail_us) / 1e6
        self.edge_took(point.id, queue_s=queue_s, serve_s=serve_s)

    def device_s(self, point_id: str) -> float:
        """Return the likely compute time on the device."""
        return self._device.likely_s(point_id)

    def edge_s(self, point_id: str) -> float:
        """Return the likely residence at the edge, queue included; 0 for local points."""
        if self._points[point_id].kind is PointKind.LOCAL:
            return 0.0
        return self._queue.likely_s + self._edge.likely_s(point_id)

    def sizes_bytes(self, point: OperatingPoint) -> tuple[float, float, float]:
        """Return a small, a middling and a large payload: the 5, 50 and 95 % quantiles."""
        ratio = self._size_ratio.get(point.id, 1.0)
        sizes = (ratio * point.bytes.p5, ratio * point.bytes.p50, ratio * point.bytes.p95)
        if point.twin is None:
            return sizes
        small, middling, large = self.sizes_bytes(self._points[point.twin])
        if point.id in self._lacking:
            return small, middling, large
        return min(sizes[0], small), min(sizes[1], middling), min(sizes[2], large)
