"""What each operating point costs in time and bytes, measured online, with the manifest as prior.

A point that was not used yet is judged by its prior, scaled by how far the priors were off for the
points that were used: a slow device is slow at all of them, and a busy scene makes all payloads
larger. What was measured long ago fades, see `compute_times`.
"""

from collections.abc import Mapping

from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind, PointTime
from headgate.runtime.choice.compute_times import ComputeTimes, Fading
from headgate.runtime.wire.messages import Reject, RejectReason, Result

# How long a frame would have taken that the edge refuses is not known: so many times what it had.
REFUSED = 1.5


class PointCosts:
    """Predicts device time, edge time and payload size of the family's points."""

    def __init__(self, manifest: Manifest, *, times: Mapping[str, PointTime] | None = None) -> None:
        """`times` are the priors per point; without them, those of the manifest's first machine."""
        priors = next(iter(manifest.times.values()), {}) if times is None else times
        self._points = {point.id: point for point in manifest.points}
        self._device = ComputeTimes({key: time.device_s for key, time in priors.items()})
        self._edge = ComputeTimes({key: time.edge_s for key, time in priors.items()})
        self._queue = Fading(0.0, at=0)
        self._num_choices = 0
        # Until the next choice or measurement: a choice asks for them some twenty times.
        self._device_s: dict[str, float] = {}
        self._edge_s: dict[str, float] = {}
        # Bytes seen over mean bytes measured at export: by point, and over points of one kind.
        self._size_ratio: dict[str, Fading] = {}
        self._kind_ratio: dict[PointKind, Fading] = {}
        self._lacking: frozenset[str] = frozenset()

    def choosing(self) -> None:
        """Take note that a choice is made now: estimates age by choices."""
        self._num_choices += 1
        self._device_s.clear()
        self._edge_s.clear()

    def device_took(self, point_id: str, *, device_s: float) -> None:
        """Learn from one frame's compute on the device: network plus encoding."""
        self._device.add(point_id, device_s, at=self._num_choices)
        self._device_s.clear()

    def payload_was(self, point_id: str, *, num_bytes: int) -> None:
        """Learn from one payload's size."""
        point, at = self._points[point_id], self._num_choices
        if point.bytes.mean <= 0:
            return
        ratio, rest = num_bytes / point.bytes.mean, self._usual_ratio(point)
        self._size_ratio.setdefault(point_id, Fading(rest, at=at)).add(ratio, at=at, rest=rest)
        if point.twin is None:
            kind = self._kind_ratio.setdefault(point.kind, Fading(1.0, at=at))
            kind.add(ratio, at=at, rest=1.0)

    def lacking(self, point_ids: frozenset[str]) -> None:
        """Tell which predicted points have no reference now: their next frame goes whole."""
        for point_id in point_ids - self._lacking:
            # How much moved before the gap says little about what moves after it.
            self._size_ratio.pop(point_id, None)
        self._lacking = point_ids

    def edge_took(self, point_id: str, *, queue_s: float, serve_s: float) -> None:
        """Learn from one answer: time in the edge's queue, and time from there to sending."""
        self._edge_s.clear()
        self._queue.add(queue_s, at=self._num_choices, rest=0.0)
        self._edge.add(point_id, serve_s, at=self._num_choices)

    def edge_answered(self, point: OperatingPoint, result: Result) -> None:
        """Learn from an answer what the edge takes.

        A progressive frame may have waited there for its own layers: that says nothing of others.
        """
        queue_s, residence_s = result.queue_us / 1e6, result.residence_us / 1e6
        serve_s = max(0.0, residence_s - queue_s)
        if point.prefix is not None:
            serve_s = (result.decode_us + result.tail_us) / 1e6
        self.edge_took(point.id, queue_s=queue_s, serve_s=serve_s)

    def edge_rejected(
        self, point: OperatingPoint | None, reject: Reject, *, left_s: float | None
    ) -> None:
        """Learn from a frame that the edge had no time for: it takes longer than what was left.

        That counts as time in the queue, which all points share. Without it a device would go on
        to send what comes back unanswered, since nothing else tells how long the edge takes.
        """
        if reject.reason is not RejectReason.EXPIRED or point is None or left_s is None:
            return
        if left_s > self.edge_s(point.id):  # else the link was late
            at = self._num_choices
            queue_s = max(REFUSED * left_s, self._queue.mean(at=at, rest=0.0))
            self._edge_s.clear()
            self._queue.add(queue_s, at=at, rest=0.0)

    def device_s(self, point_id: str) -> float:
        """Return the likely compute time on the device."""
        known_s = self._device_s.get(point_id)
        if known_s is None:
            known_s = self._device_s[point_id] = self._device.likely_s(
                point_id, at=self._num_choices
            )
        return known_s

    def edge_s(self, point_id: str) -> float:
        """Return the likely residence at the edge, queue included; 0 for local points."""
        if self._points[point_id].kind is PointKind.LOCAL:
            return 0.0
        known_s = self._edge_s.get(point_id)
        if known_s is None:
            at = self._num_choices
            queue_s = self._queue.likely(at=at, rest=0.0)
            known_s = self._edge_s[point_id] = queue_s + self._edge.likely_s(point_id, at=at)
        return known_s

    def sizes_bytes(self, point: OperatingPoint) -> tuple[float, float, float]:
        """Return a small, a middling and a large payload: the 5, 50 and 95 % quantiles."""
        known, rest = self._size_ratio.get(point.id), self._usual_ratio(point)
        ratio = rest if known is None else known.mean(at=self._num_choices, rest=rest)
        sizes = (ratio * point.bytes.p5, ratio * point.bytes.p50, ratio * point.bytes.p95)
        if point.twin is None:
            return sizes
        small, middling, large = self.sizes_bytes(self._points[point.twin])
        if point.id in self._lacking:
            return small, middling, large
        return min(sizes[0], small), min(sizes[1], middling), min(sizes[2], large)

    def _usual_ratio(self, point: OperatingPoint) -> float:
        """Return how large frames are now at points like this one.

        Predicted ones are like no other: what they send hangs on what moved since their reference.
        """
        known = None if point.twin is not None else self._kind_ratio.get(point.kind)
        return 1.0 if known is None else known.mean(at=self._num_choices, rest=1.0)
