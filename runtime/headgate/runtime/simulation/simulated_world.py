"""What happens next in virtual time: the event loop that obeys sessions of devices and of the edge.

An event is an action at a time; of those at the same time the one that was planned first comes
first, and any comes before a session's timer. So the order is the same in every run.
"""

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from headgate.profiles.manifest import Manifest, OperatingPoint, PointTime
from headgate.runtime.edge.edge_events import EdgeEffect, ItemOutcome, RunBatch, SendTo
from headgate.runtime.edge.edge_session import EdgeSession
from headgate.runtime.records import FrameRecord
from headgate.runtime.session.device_session import DeviceSession
from headgate.runtime.session.events import Compute, Computed, Deliver, Effect, Send
from headgate.runtime.simulation.simulated_answers import STAND_IN, Answers, layers_of, payload_of
from headgate.runtime.simulation.simulated_link import FRAMING_BYTES, Link, Uplink
from headgate.runtime.simulation.simulated_loop import Loop, Machines


@dataclass(frozen=True, slots=True)
class Pace:
    """How frames come: at a steady rate, for so long."""

    fps: float
    duration_s: float


class World:
    """The event loop: a heap of (time, order, action), and the timers of all sessions."""

    def __init__(
        self,
        manifest: Manifest,
        sessions: Sequence[DeviceSession],
        link: Link,
        uplink: Uplink,
        pace: Pace,
        *,
        times: Mapping[str, PointTime],
        answers: Answers,
        machines: Machines,
    ) -> None:
        self.manifest = manifest
        self._edge = EdgeSession({manifest.digest: manifest})
        self._loop = Loop(machines.edge, seed=0)
        self._link, self._uplink, self._pace = link, uplink, pace
        self._times = times
        self._answers = answers
        self._now_s = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._connection: int | None = None  # which one; None while there is none
        self._num_connections = 0
        self._devices = [
            _Device(
                self,
                session,
                Loop(machines.device, seed=1 + index),
                index=index,
                start_s=index / (pace.fps * len(sessions)),
            )
            for index, session in enumerate(sessions)
        ]

    def run(self) -> list[list[FrameRecord]]:
        """Run until every frame has its record."""
        if self._link.trace is not None:
            self.at(0.0, self._connect)
            for start_s, end_s in self._link.cuts:
                self.at(start_s, self._disconnect)
                self.at(end_s, self._connect)
        for device in self._devices:
            device.start(self._pace)
        while not all(device.session.drained for device in self._devices):
            self._step()
        return [device.records for device in self._devices]

    @property
    def now_s(self) -> float:
        """The virtual time."""
        return self._now_s

    def at(self, time_s: float, action: Callable[[], None]) -> None:
        """Do this then; never, if `time_s` is infinite."""
        if time_s < math.inf:
            heapq.heappush(self._heap, (time_s, self._order, action))
            self._order += 1

    def when_taken(self, loop: Loop, time_s: float, action: Callable[[], None]) -> None:
        """Do this when a loop takes what is there at `time_s`."""
        if loop.punctual:
            self.at(time_s, action)
        else:
            self.at(time_s, lambda: self.at(loop.takes_s(time_s), action))

    def send_up(self, parts: list[bytes], *, device: int) -> None:
        """Put a message on the uplink; it is lost if the connection breaks before it arrives."""
        connection = self._connection
        if connection is None:
            return
        num_bytes = FRAMING_BYTES + sum(map(len, parts))
        arrives_s = self._uplink.serve(num_bytes, device=device, now_s=self._now_s)

        def arrive() -> None:
            if connection == self._connection:
                self._obey(self._edge.received(b"%d" % device, parts, now_s=self._now_s))

        self.when_taken(self._loop, arrives_s, arrive)

    def compute_s(self, point: OperatingPoint) -> float:
        """Return the device's compute time at this point."""
        return self._times[point.id].device_s

    @property
    def answers(self) -> Answers:
        """What points answer."""
        return self._answers

    def _step(self) -> None:
        """Go to whatever comes next: an event, or a timer of a session."""
        event_s = self._heap[0][0] if self._heap else math.inf
        edge_s = self._loop.wakes_s(_or_never(self._edge.next_timer_s()))
        device_s, device = math.inf, self._devices[0]
        for each in self._devices:
            timer_s = each.loop.wakes_s(_or_never(each.session.next_timer_s()))
            if timer_s < device_s:
                device_s, device = timer_s, each
        next_s = min(event_s, device_s, edge_s)
        assert next_s < math.inf
        self._now_s = max(self._now_s, next_s)
        if event_s == next_s:
            heapq.heappop(self._heap)[2]()
        elif device_s == next_s:
            device.obey(device.session.handle_timer(now_s=self._now_s))
        else:
            self._obey(self._edge.handle_timer(now_s=self._now_s))

    def _connect(self) -> None:
        self._num_connections += 1
        self._connection = self._num_connections
        self._uplink.clear(now_s=self._now_s)
        for device in self._devices:
            device.obey(device.session.connected(now_s=self._now_s))

    def _disconnect(self) -> None:
        self._connection = None
        for device in self._devices:
            device.obey(device.session.disconnected(now_s=self._now_s))

    def _obey(self, effects: list[EdgeEffect]) -> None:
        for effect in effects:
            if isinstance(effect, SendTo):
                self._send_down(self._devices[int(effect.peer)], effect.parts)
            elif isinstance(effect, RunBatch):
                self._run_batch(effect)

    def _send_down(self, device: "_Device", parts: list[bytes]) -> None:
        connection = self._connection

        def arrive() -> None:
            if connection is not None and connection == self._connection:
                device.obey(device.session.received(parts, now_s=self._now_s))

        arrives_s = self._uplink.answer(device=device.index, now_s=self._now_s)
        self.when_taken(device.loop, arrives_s, arrive)

    def _run_batch(self, batch: RunBatch) -> None:
        outcomes = [
            ItemOutcome(
                self._answers.of_edge(item.point, item.frame_id),
                None,
                decode_s=0.0,
                tail_s=self._times[item.point.id].edge_s,
                decoded=STAND_IN,
            )
            for item in batch.items
        ]

        def finish() -> None:
            self._obey(self._edge.batch_finished(batch.batch_id, outcomes, now_s=self._now_s))

        finished_s = self._now_s + sum(outcome.tail_s for outcome in outcomes)
        self.when_taken(self._loop, finished_s, finish)


class _Device:
    """One device of the world: captures frames, computes, and keeps its records."""

    def __init__(
        self, world: World, session: DeviceSession, loop: Loop, *, index: int, start_s: float
    ) -> None:
        self._world, self._start_s = world, start_s
        self.session, self.loop, self.index = session, loop, index
        self.records: list[FrameRecord] = []

    def start(self, pace: Pace) -> None:
        """Capture the first frame at its time; each captures the next."""
        self._world.at(self._start_s, lambda: self._capture(0, pace))

    def obey(self, effects: list[Effect]) -> None:
        """Do what the session asks for."""
        for effect in effects:
            match effect:
                case Deliver(record, _):
                    self.records.append(record)
                case Send(_, messages):
                    for parts in messages:
                        self._world.send_up(parts, device=self.index)
                case Compute():
                    self._compute(effect)

    def _capture(self, frame_id: int, pace: Pace) -> None:
        now_s, truth = self._world.now_s, self._world.answers.truth
        self.obey(self.session.frame_captured(frame_id, captured_s=now_s, now_s=now_s, truth=truth))
        next_s = (frame_id + 1) / pace.fps
        if next_s < pace.duration_s:
            self._world.at(self._start_s + next_s, lambda: self._capture(frame_id + 1, pace))
        else:
            self.obey(self.session.finish(now_s=now_s))

    def _compute(self, job: Compute) -> None:
        frame_id, point = job.frame_id, job.point
        device_s = self._world.compute_s(point)
        distance = 0 if job.reference is None else job.reference.distance
        outcome = Computed(
            payload=payload_of(self._world.manifest, point, frame_id, distance=distance),
            answer=self._world.answers.of_device(point, frame_id),
            head_s=device_s,
            encode_s=0.0,
            integers=STAND_IN if point.prefix is None else None,
            layers=layers_of(self._world.manifest, point, frame_id),
        )

        def finish() -> None:
            self.obey(self.session.computed(frame_id, outcome, now_s=self._world.now_s))

        self._world.when_taken(self.loop, self._world.now_s + device_s, finish)


def _or_never(time_s: float | None) -> float:
    return math.inf if time_s is None else time_s
