"""Run the real sessions of device and edge on a virtual clock, over a link that is a trace.

The uplink is a fluid queue: messages are served in order at the rate of the trace, then take half
the round-trip time; answers take the other half and no room. Compute times come from the manifest
or the caller, payload sizes follow each point's measured quantiles, in an order that is the same
in every run. Nothing here is random, so two runs differ only by what was asked of them.
"""

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headgate.profiles.errors import UsageError
from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind, PointTime
from headgate.profiles.profile import Profile, allowed_points
from headgate.runtime.device_session import DeviceSession
from headgate.runtime.edge_session import (
    EdgeEffect,
    EdgeSession,
    ItemOutcome,
    RunBatch,
    SendTo,
)
from headgate.runtime.events import Answer, Compute, Computed, Deliver, Effect, Send
from headgate.runtime.messages import NamedTensor
from headgate.runtime.records import FrameRecord
from headgate.runtime.trace import Trace

MESSAGE_BYTES = 64  # header and framing of one message on the uplink
PEER = b"device"
GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, spread evenly over 0 to 1


@dataclass(frozen=True, slots=True)
class Link:
    """The path to the edge. `trace` None: there is no edge. `cuts`: start and end of outages that

    break the connection, in seconds; what is on its way then is lost.
    """

    trace: Trace | None
    rtt_s: float
    cuts: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Pace:
    """How frames come: at a steady rate, for so long."""

    fps: float
    duration_s: float


def simulate(
    manifest: Manifest,
    *,
    profile: Profile,
    link: Link,
    pace: Pace,
    sla_s: float | None = None,
    fixed: str | None = None,
    times: Mapping[str, PointTime] | None = None,
    correct: Mapping[str, Sequence[bool]] | None = None,
) -> list[FrameRecord]:
    """Return the record of every frame, in order of delivery.

    `fixed` names the one point to use instead of the profile's choice. `times` are the compute
    times per point (default: the manifest's, of its first machine). `correct` tells per point and
    picture whether the answer is right (early exits under `MEMBER/exit`); without it the records
    hold no truth, and their `quality` says what each answer is worth.
    """
    points = allowed_points(profile, manifest) if fixed is None else (manifest.point(fixed),)
    if times is None:
        times = next(iter(manifest.times.values()), {})
    missing = [point.id for point in points if point.id not in times]
    if missing:
        raise UsageError(
            f"simulation: no compute times for {missing}; measure them at export or pass `times`"
        )
    device = DeviceSession(
        manifest=manifest,
        profile=profile,
        points=points,
        sla_s=sla_s,
        times=times,
    )
    return _Simulation(manifest, device, link, pace, times=times, correct=correct).run()


class _Simulation:
    """The event loop: a heap of (time, order, action), and the timers of both sessions."""

    def __init__(
        self,
        manifest: Manifest,
        device: DeviceSession,
        link: Link,
        pace: Pace,
        *,
        times: Mapping[str, PointTime],
        correct: Mapping[str, Sequence[bool]] | None,
    ) -> None:
        self._manifest = manifest
        self._device = device
        self._edge = EdgeSession({manifest.digest: manifest})
        self._link, self._pace = link, pace
        self._times = times
        self._answers = _Answers(manifest, correct)
        self._now_s = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._uplink_free_s = 0.0
        self._connection: int | None = None  # which one; None while there is none
        self._num_connections = 0
        self._records: list[FrameRecord] = []

    def run(self) -> list[FrameRecord]:
        """Run until every frame has its record."""
        if self._link.trace is not None:
            self._at(0.0, self._connect)
            for start_s, end_s in self._link.cuts:
                self._at(start_s, self._disconnect)
                self._at(end_s, self._connect)
        self._at(0.0, lambda: self._capture(0))
        while not self._device.drained:
            self._step()
        return self._records

    def _step(self) -> None:
        """Go to whatever comes next: an event, or a timer of either session."""
        event_s = self._heap[0][0] if self._heap else math.inf
        device_s = _or_never(self._device.next_timer_s())
        edge_s = _or_never(self._edge.next_timer_s())
        next_s = min(event_s, device_s, edge_s)
        assert next_s < math.inf
        self._now_s = max(self._now_s, next_s)
        if event_s == next_s:
            heapq.heappop(self._heap)[2]()
        elif device_s == next_s:
            self._obey_device(self._device.handle_timer(now_s=self._now_s))
        else:
            self._obey_edge(self._edge.handle_timer(now_s=self._now_s))

    def _at(self, time_s: float, action: Callable[[], None]) -> None:
        if time_s < math.inf:
            heapq.heappush(self._heap, (time_s, self._order, action))
            self._order += 1

    def _capture(self, frame_id: int) -> None:
        truth = self._answers.truth
        now_s = self._now_s
        self._obey_device(
            self._device.frame_captured(frame_id, captured_s=now_s, now_s=now_s, truth=truth)
        )
        next_s = (frame_id + 1) / self._pace.fps
        if next_s < self._pace.duration_s:
            self._at(next_s, lambda: self._capture(frame_id + 1))
        else:
            self._obey_device(self._device.finish(now_s=now_s))

    def _connect(self) -> None:
        self._num_connections += 1
        self._connection = self._num_connections
        self._uplink_free_s = self._now_s
        self._obey_device(self._device.connected(now_s=self._now_s))

    def _disconnect(self) -> None:
        self._connection = None
        self._obey_device(self._device.disconnected(now_s=self._now_s))

    def _obey_device(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Deliver(record, _):
                    self._records.append(record)
                case Send(_, messages):
                    for parts in messages:
                        self._send_up(parts)
                case Compute(frame_id, point):
                    self._compute(frame_id, point)

    def _send_up(self, parts: list[bytes]) -> None:
        trace, connection = self._link.trace, self._connection
        if trace is None or connection is None:
            return
        # The header's own bytes are within MESSAGE_BYTES.
        num_bytes = MESSAGE_BYTES + sum(map(len, parts[1:]))
        self._uplink_free_s = trace.finish_s(max(self._now_s, self._uplink_free_s), num_bytes)

        def arrive() -> None:
            if connection == self._connection:
                self._obey_edge(self._edge.received(PEER, parts, now_s=self._now_s))

        self._at(self._uplink_free_s + self._link.rtt_s / 2, arrive)

    def _compute(self, frame_id: int, point: OperatingPoint) -> None:
        device_s = self._times[point.id].device_s
        outcome = Computed(
            payload=_payload(point, frame_id),
            answer=self._answers.of_device(point, frame_id),
            head_s=device_s,
            encode_s=0.0,
        )

        def finish() -> None:
            self._obey_device(self._device.computed(frame_id, outcome, now_s=self._now_s))

        self._at(self._now_s + device_s, finish)

    def _obey_edge(self, effects: list[EdgeEffect]) -> None:
        for effect in effects:
            if isinstance(effect, SendTo):
                self._send_down(effect.parts)
            elif isinstance(effect, RunBatch):
                self._run_batch(effect)

    def _send_down(self, parts: list[bytes]) -> None:
        connection = self._connection

        def arrive() -> None:
            if connection is not None and connection == self._connection:
                self._obey_device(self._device.received(parts, now_s=self._now_s))

        self._at(self._now_s + self._link.rtt_s / 2, arrive)

    def _run_batch(self, batch: RunBatch) -> None:
        outcomes = [
            ItemOutcome(
                self._answers.of_edge(item.point, item.frame_id),
                None,
                decode_s=0.0,
                tail_s=self._times[item.point.id].edge_s,
            )
            for item in batch.items
        ]

        def finish() -> None:
            self._obey_edge(self._edge.batch_finished(batch.batch_id, outcomes, now_s=self._now_s))

        self._at(self._now_s + sum(outcome.tail_s for outcome in outcomes), finish)


class _Answers:
    """What each point answers: label 0 is right and 1 is wrong where correctness is given."""

    def __init__(self, manifest: Manifest, correct: Mapping[str, Sequence[bool]] | None) -> None:
        self._correct = correct
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
        if point.kind is PointKind.OFFLOAD:
            return None
        own = point.kind is PointKind.LOCAL
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


def _payload(point: OperatingPoint, frame_id: int) -> bytes | None:
    """Return a payload as long as this point's are, by the quantiles of its sizes."""
    if point.kind is PointKind.LOCAL:
        return None
    at = (frame_id * GOLDEN) % 1.0
    sizes = point.bytes
    num_bytes = np.interp(at, (0.05, 0.5, 0.95), (sizes.p5, sizes.p50, sizes.p95))
    return bytes(max(1, round(float(num_bytes))))


def _or_never(time_s: float | None) -> float:
    return math.inf if time_s is None else time_s
