"""The control benchmark over real sockets: device, relay and edge as they run, in real time.

Only the networks are stood in for: head and tail take as long as the manifest says and payloads
have the manifest's sizes, so that a ladder without graphs can run and the simulator is asked about
transport and decisions alone. Everything runs in this process, in threads of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from headgate.export.bench.compare import score_run
from headgate.export.bench.control.control_runs import OURS, Case, Run, point_times, run_of
from headgate.export.children import LOOPBACK
from headgate.profiles.errors import PeerError
from headgate.profiles.manifest import Manifest, OperatingPoint
from headgate.profiles.trace import Trace
from headgate.runtime.codec.prediction import Reference
from headgate.runtime.device.device import Device, DeviceSettings
from headgate.runtime.device.playback import Playback
from headgate.runtime.device.sources import open_source
from headgate.runtime.edge.edge import EdgeServer
from headgate.runtime.edge.edge_events import BatchItem, ItemOutcome
from headgate.runtime.emulator.link_thread import LinkPlan
from headgate.runtime.emulator.packet_link import PacketLink, free_addresses
from headgate.runtime.emulator.relay import Relay
from headgate.runtime.emulator.tun import Tun
from headgate.runtime.records import FrameRecord
from headgate.runtime.session.events import Answer, Computed
from headgate.runtime.simulation.simulated_answers import STAND_IN, Answers, layers_of, payload_of

OVER_SOCKETS = f"{OURS}, over sockets"
MAX_MBPS = 36.0  # what the relay carries exactly enough
MAX_BATCH = 16
STOP_S = 10.0


class StandInHead:
    """A device's networks: payloads of the right size after the right time."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._times = point_times(manifest)
        self._answers = Answers(manifest, None)
        self._num_computed = 0

    def compute(
        self,
        point: OperatingPoint,
        picture_HWC: npt.NDArray[np.uint8],
        reference: Reference | None = None,
    ) -> Computed:
        """Take the point's time and return a payload of its size."""
        frame, device_s = self._num_computed, self._times[point.id].device_s
        self._num_computed += 1
        time.sleep(device_s)
        distance = 0 if reference is None else reference.distance
        return Computed(
            payload=payload_of(self._manifest, point, frame, distance=distance),
            answer=self._answers.of_device(point, frame),
            head_s=device_s,
            encode_s=0.0,
            integers=STAND_IN if point.prefix is None else None,
            layers=layers_of(self._manifest, point, frame),
        )


class StandInTail:
    """An edge's networks: one answer per item after the right time."""

    max_batch = MAX_BATCH

    def __init__(self, manifest: Manifest) -> None:
        self._times = point_times(manifest)
        self._answers = Answers(manifest, None)

    def infer(self, graph_key: str, items: Sequence[BatchItem]) -> list[ItemOutcome]:
        """Take the sum of the items' times, as the simulator does."""
        tails_s = [self._times[item.point.id].edge_s for item in items]
        time.sleep(sum(tails_s))
        return [
            ItemOutcome(
                self._answers.of_edge(item.point, item.frame_id),
                None,
                0.0,
                tail_s,
                decoded=STAND_IN,
            )
            for item, tail_s in zip(items, tails_s, strict=True)
        ]


def suitable(traces: Sequence[Trace], *, number: int, duration_s: float) -> list[Trace]:
    """Return up to `number` traces that the relay can carry, spread over those there are."""
    able = [t for t in traces if 0 < t.mean_rate_bps(0.0, duration_s) <= 1e6 * MAX_MBPS]
    step = max(1, len(able) // max(1, number))
    return able[::step][:number]


def check_packets() -> None:
    """Raise UsageError if this machine lets us have no link of packets."""
    listen, to = free_addresses()
    Tun(to[0], peer=listen[0]).close()


def run_over_sockets(
    manifest: Manifest, trace: Trace, case: Case, *, loss: float | None = None
) -> Run:
    """Run device and edge over a relay of the trace; insured, as the product runs.

    With a `loss` over a link of packets, of which so many get lost.
    """
    records: list[FrameRecord] = []

    def deliver(record: FrameRecord, _: Answer | None) -> None:
        records.append(record)

    plan = LinkPlan(uplink=trace, delay_s=case.rtt_s / 2)
    with _served(manifest, plan, loss) as endpoint:
        device = Device(
            manifest,
            StandInHead(manifest),
            open_source("fake://8x8"),
            DeviceSettings(
                edge=endpoint,
                profile=case.profile,
                sla_s=case.sla_s,
                playback=Playback(fps=case.fps, frames=case.num_frames),
            ),
            deliver=deliver,
        )
        device.run()
    return run_of(score_run(records, name=OVER_SOCKETS, measured=True), case)


@contextmanager
def _served(manifest: Manifest, plan: LinkPlan, loss: float | None) -> Iterator[str]:
    """Serve stand-ins behind a link; yield where the device connects."""
    if loss is None:
        with _edge(manifest, f"tcp://{LOOPBACK}:*") as server:
            port = int(server.endpoint.rpartition(":")[2])
            with Relay(listen=(LOOPBACK, 0), to=(LOOPBACK, port), plan=plan) as relay:
                yield relay.endpoint
    else:
        listen, to = free_addresses()
        with (
            PacketLink(listen=listen, to=to, plan=plan, loss=loss) as link,
            _edge(manifest, link.to),
        ):
            yield link.endpoint


@contextmanager
def _edge(manifest: Manifest, bind: str) -> Iterator[EdgeServer]:
    """Serve stand-ins from a thread."""
    digest = manifest.digest
    server = EdgeServer({digest: StandInTail(manifest)}, {digest: manifest}, bind=bind)
    thread = threading.Thread(target=server.run, name="edge", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(STOP_S)
        if thread.is_alive():
            raise PeerError(f"edge {server.endpoint}: did not stop within {STOP_S:g} s")
