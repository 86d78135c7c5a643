"""Many devices in one process, without heads: sends prepared payloads over real DEALER sockets.

Run as `python -m headgate.export.bench.edge.bench_edge_load`; the plan comes as a line of JSON on
standard input, whose end is ours as well; one JSON object with what happened goes to standard
output. Two ways to load an edge:

- open loop: every device has a frame at a steady rate, whatever became of the one before, as a
  camera has. Latency counts from when the frame was due, so a slow generator hides nothing.
- closed loop: every device keeps a fixed number of frames unanswered and sends the next on an
  answer, or after a rejection when a camera would have it (1/30 s). It finds the most the edge
  can do.

A device behaves as the real one does where that loads the edge: it says HELLO, keeps within what
WELCOME allows, and leaves an edge that says BUSY alone as long (`back_off`). A frame that it
may not send then is counted as held back: its own exit would answer.

Layers of a progressive frame go out at once, so that the edge has no more to wait for: how they
are best paced is a matter of the link, and there is none here.
"""

from __future__ import annotations

import base64
import heapq
import json
import math
import selectors
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field

import zmq

from headgate.export.bench.edge.bench_edge_plan import (
    LoadPlan,
    LoadReport,
    count_batches,
    pieces_of,
    plan_from_json,
)
from headgate.export.tied_child import leave, when_left_alone
from headgate.runtime.session.back_off import BackOff
from headgate.runtime.sockets.edge_socket import HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS, has_message
from headgate.runtime.wire.headers import DEFAULT_LIMITS, SPOKEN_VERSIONS
from headgate.runtime.wire.messages import (
    Frame,
    Goodbye,
    Hello,
    Reject,
    RejectReason,
    Result,
    Welcome,
    stamp_us,
)
from headgate.runtime.wire.wire import decode, encode

JOIN_S = 20.0  # for all handshakes together
NEXT_PICTURE_S = 1 / 30  # closed loop: after a rejection


@dataclass(slots=True)
class _Device:
    """One simulated device."""

    index: int
    socket: zmq.Socket[bytes]
    max_in_flight: int = 0  # 0: not welcome yet
    next_id: int = 0
    in_flight: dict[int, tuple[float, float]] = field(default_factory=dict)  # due and sent
    delay_s: float = math.inf  # there and back without the edge's residence: the least seen
    back_off: BackOff = field(default_factory=BackOff)
    next_picture_s: float = 0.0  # closed loop: not before
    comes_back: bool = False  # closed loop: is in the queue for the end of its pause


class Load:
    """All devices of one generator, in one loop."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._payloads = [
            tuple(base64.b64decode(text) for text in layers) for layers in plan.payloads
        ]
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, max(1024, 2 * plan.devices))
        self._selector = selectors.DefaultSelector()
        self._devices = [self._open(index) for index in range(plan.devices)]
        self._due: list[tuple[float, int]] = []  # when which device has its next frame
        self._began_s = self._ended_s = 0.0
        self._in_time = [0] * plan.devices
        self._offered = self._held_back = self._late = 0
        self._counted_out = 0  # of the offered: sent, and not answered yet
        self._rejected: Counter[str] = Counter()
        self._latencies_s: list[float] = []
        self._batch_starts_us: list[int] = []

    def run(self) -> LoadReport:
        """Join, warm up, measure, leave. Raises TimeoutError if the edge does not welcome all."""
        self._join()
        now_s = time.monotonic()
        self._began_s = now_s + self._plan.warm_up_s
        self._ended_s = self._began_s + self._plan.measure_s
        for device in self._devices:
            self._due.append((now_s + self._phase_s(device), device.index))
        heapq.heapify(self._due)
        cpu_s, give_up_s = 0.0, self._ended_s + self._plan.sla_s
        while now_s < self._ended_s or (self._counted_out and now_s < give_up_s):
            if cpu_s == 0.0 and now_s >= self._began_s:
                cpu_s = time.process_time()
            self._send_due(now_s)
            next_s = self._due[0][0] if self._due else self._ended_s
            self._take(max(0.0, min(next_s, now_s + 0.05) - time.monotonic()))
            now_s = time.monotonic()
        report = self._report(cpu_s=time.process_time() - cpu_s)
        self._leave()
        return report

    def _open(self, index: int) -> _Device:
        socket = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.heartbeat_ivl = HEARTBEAT_MS
        socket.heartbeat_timeout = HEARTBEAT_TIMEOUT_MS
        socket.connect(self._plan.endpoint)
        device = _Device(index, socket)
        self._selector.register(int(socket.getsockopt(zmq.FD)), selectors.EVENT_READ, device)
        return device

    def _join(self) -> None:
        hello = Hello(SPOKEN_VERSIONS, self._plan.family_digest, DEFAULT_LIMITS.max_message_bytes)
        for device in self._devices:
            device.socket.send_multipart(encode(hello))
        give_up_s = time.monotonic() + JOIN_S
        while not all(device.max_in_flight for device in self._devices):
            if time.monotonic() > give_up_s:
                raise TimeoutError(f"not every device was welcomed within {JOIN_S:g} s")
            self._take(0.01)
            for device in self._devices:  # the descriptors tell changes only
                self._drain(device)

    def _phase_s(self, device: _Device) -> float:
        """Spread the devices evenly over a period, or a closed loop's over the SLA."""
        period_s = 1 / self._plan.frames_per_s if self._plan.frames_per_s else self._plan.sla_s
        share = device.index / self._plan.devices + self._plan.first_phase / self._plan.devices
        return period_s * share

    def _send_due(self, now_s: float) -> None:
        rate = self._plan.frames_per_s
        while self._due and self._due[0][0] <= now_s:
            due_s, index = heapq.heappop(self._due)
            device = self._devices[index]
            if rate is not None:
                self._send(device, due_s, now_s=now_s)
                heapq.heappush(self._due, (due_s + 1 / rate, index))
            else:
                device.comes_back = False
                self._fill(device, now_s=now_s)
            self._drain(device)

    def _fill(self, device: _Device, *, now_s: float) -> None:
        """Closed loop: send up to the number that may be open, or come back after the pause."""
        free_s = self._free_s(device, now_s=now_s)
        if now_s < free_s:
            if not device.comes_back:
                device.comes_back = True
                heapq.heappush(self._due, (free_s, device.index))
            return
        while len(device.in_flight) < min(self._plan.num_open, device.max_in_flight):
            self._send(device, now_s, now_s=now_s)

    def _send(self, device: _Device, due_s: float, *, now_s: float) -> None:
        counted = self._is_counted(due_s)
        self._offered += counted
        is_free = now_s >= self._free_s(device, now_s=now_s)
        if len(device.in_flight) >= device.max_in_flight or not is_free:
            self._held_back += counted
            return
        frame_id, device.next_id = device.next_id, device.next_id + 1
        delay_s = 0.0 if device.delay_s == math.inf else device.delay_s
        budget_us = max(0, round(1e6 * (due_s + self._plan.sla_s - now_s - delay_s)))
        layers = self._payloads[(frame_id + device.index) % len(self._payloads)]
        device.in_flight[frame_id] = (due_s, now_s)
        self._counted_out += counted
        first = Frame(
            frame_id, self._plan.point_index, budget_us, layers[0], sent_us=stamp_us(now_s)
        )
        for piece in pieces_of(first, layers):
            device.socket.send_multipart(encode(piece))

    def _take(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            self._drain(key.data)

    def _drain(self, device: _Device) -> None:
        """Take what is there. A descriptor tells only of changes, so none may be left behind."""
        while has_message(device.socket):
            parts = device.socket.recv_multipart(zmq.NOBLOCK)
            self._received(device, parts, now_s=time.monotonic())

    def _received(self, device: _Device, parts: list[bytes], *, now_s: float) -> None:
        message = decode(parts)
        if isinstance(message, Result):
            due_s, sent_s = device.in_flight.pop(message.frame_id)
            device.back_off.answered()
            device.delay_s = min(device.delay_s, now_s - sent_s - message.residence_us / 1e6)
            self._answered(device, message, due_s, now_s=now_s)
        elif isinstance(message, Reject):
            self._was_rejected(device, message, now_s=now_s)
        elif isinstance(message, Welcome):
            device.max_in_flight = message.max_in_flight
            return
        if self._plan.frames_per_s is None and now_s < self._ended_s:
            self._fill(device, now_s=now_s)

    def _answered(self, device: _Device, result: Result, due_s: float, *, now_s: float) -> None:
        if not self._is_counted(due_s):
            return
        self._counted_out -= 1
        latency_s = now_s - due_s
        self._latencies_s.append(latency_s)
        self._batch_starts_us.append(result.arrived_us + result.queue_us)
        if latency_s <= self._plan.sla_s:
            self._in_time[device.index] += 1
        else:
            self._late += 1

    def _was_rejected(self, device: _Device, reject: Reject, *, now_s: float) -> None:
        if reject.frame_id is None:
            raise TimeoutError(f"the edge refused a device: {reject.detail}")
        due_s, _ = device.in_flight.pop(reject.frame_id)
        if self._is_counted(due_s):
            self._counted_out -= 1
            self._rejected[reject.reason.name.lower()] += 1
        if self._plan.frames_per_s is None:
            device.next_picture_s = now_s + NEXT_PICTURE_S
        if reject.reason is RejectReason.BUSY:
            device.back_off.refused(now_s=now_s)

    @staticmethod
    def _free_s(device: _Device, *, now_s: float) -> float:
        """Return from when on a device may send: after its pause, and with its next picture."""
        return max(device.back_off.ends_s(now_s=now_s) or now_s, device.next_picture_s)

    def _is_counted(self, due_s: float) -> bool:
        return self._began_s <= due_s < self._ended_s

    def _report(self, *, cpu_s: float) -> LoadReport:
        answered = len(self._latencies_s) + sum(self._rejected.values())
        return LoadReport(
            began_s=self._began_s,
            ended_s=self._ended_s,
            offered=self._offered,
            held_back=self._held_back,
            in_time=tuple(self._in_time),
            late=self._late,
            unanswered=self._offered - self._held_back - answered,
            rejected=dict(self._rejected),
            latencies_s=tuple(round(value, 6) for value in self._latencies_s),
            batches=count_batches(self._batch_starts_us),
            batched=len(self._batch_starts_us),
            cpu_s=cpu_s,
        )

    def _leave(self) -> None:
        for device in self._devices:
            device.socket.send_multipart(encode(Goodbye()))
            device.socket.close(linger=500)
        self._selector.close()
        self._context.term()


def main() -> None:
    """Read the plan, load the edge, print the report."""
    plan = plan_from_json(json.loads(sys.stdin.readline()))
    when_left_alone(leave, life=sys.stdin.fileno())
    print(json.dumps(asdict(Load(plan).run())), flush=True)


if __name__ == "__main__":
    main()
