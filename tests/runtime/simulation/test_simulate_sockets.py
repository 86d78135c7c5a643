"""The simulator against real sockets: the same family, link and pace, in virtual and real time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from statistics import mean, median

import pytest

from headgate.profiles.family import Family
from headgate.profiles.manifest import ByteStats, Manifest, PointTime
from headgate.profiles.profile import Profile
from headgate.profiles.trace import named_trace
from headgate.runtime.device.playback import Playback
from headgate.runtime.emulator.link_thread import LinkPlan
from headgate.runtime.emulator.packet_link import PacketLink, free_addresses
from headgate.runtime.emulator.relay import Relay
from headgate.runtime.records import FrameRecord, Source
from headgate.runtime.simulation.simulate import Link, Pace, Scenario, simulate
from runtime.packets import needs_packets
from runtime.running import SLA_S, RunningDevice, edge_thread

FPS, NUM_FRAMES, WARM_UP = 20, 50, 15
# Both ways, and large beside what a busy machine adds to a frame.
DELAY_S = 0.06
MAX_APART_S = 0.06  # of the medians
MAX_APART_SHARE = 0.15


def settled(records: Sequence[FrameRecord]) -> list[FrameRecord]:
    """Return the records by frame, without those of the first connection and the last frames."""
    return sorted(records, key=lambda record: record.frame_id)[WARM_UP:NUM_FRAMES]


def median_s(records: Sequence[FrameRecord]) -> float:
    return median(r.stages.total_s or 0.0 for r in records if r.source is Source.EDGE)


def share_on_time(records: Sequence[FrameRecord]) -> float:
    """Return the share of frames that the edge answered within the SLA."""
    in_time = [record.source is Source.EDGE and record.deadline_met for record in records]
    return sum(in_time) / len(in_time)


def with_bytes_of(manifest: Manifest, records: Sequence[FrameRecord]) -> Manifest:
    """Return the manifest with points as large as they were: the tiny family's sizes are made up"""
    sent = [float(record.num_bytes) for record in records if record.num_bytes]
    size = ByteStats(mean(sent), min(sent), median(sent), max(sent), max(sent))
    used = {record.point for record in records}
    points = tuple(replace(p, bytes=size) for p in manifest.points if p.id in used)
    return replace(manifest, points=points)


@contextmanager
def served_behind_a_relay(family: Family, plan: LinkPlan) -> Iterator[str]:
    """Serve `family`; yield where a device connects."""
    with edge_thread(family) as server:
        to = ("127.0.0.1", int(server.endpoint.rpartition(":")[2]))
        with Relay(listen=("127.0.0.1", 0), to=to, plan=plan) as relay:
            yield relay.endpoint


@contextmanager
def served_behind_packets(family: Family, plan: LinkPlan) -> Iterator[str]:
    """Serve `family` with the kernel's TCP on the link; yield where a device connects."""
    listen, to = free_addresses()
    with PacketLink(listen=listen, to=to, plan=plan) as link, edge_thread(family, bind=link.to):
        yield link.endpoint


# A picture of 400 bytes takes 4 ms of a link of 1 Mbit/s and 124 ms of one of 30 kbit/s, more than
# twice the period: then frames queue up and more than half of them cannot be sent.
@pytest.mark.parametrize(
    ("served", "mbps", "point_id"),
    [
        (served_behind_a_relay, 1.0, "jpeg-q50"),
        (served_behind_a_relay, 0.05, "b1r1-l5"),
        (served_behind_a_relay, 0.03, "jpeg-q50"),
        pytest.param(served_behind_packets, 1.0, "jpeg-q50", marks=needs_packets),
        pytest.param(served_behind_packets, 0.05, "b1r1-l5", marks=needs_packets),
    ],
)
def test_simulator_and_real_sockets_agree_on_latency_and_share_on_time(
    tiny_family: Family,
    served: Callable[[Family, LinkPlan], AbstractContextManager[str]],
    mbps: float,
    point_id: str,
) -> None:
    trace = named_trace(f"steady:{mbps}")
    profile = Profile("fixed", points=(point_id,))
    with (
        served(tiny_family, LinkPlan(uplink=trace, delay_s=DELAY_S / 2)) as endpoint,
        RunningDevice(
            tiny_family,
            "fake://16x16",
            edge=endpoint,
            profile=profile,
            playback=Playback(fps=FPS, frames=NUM_FRAMES),
        ) as running,
    ):
        real = settled(running.join())
    assert running.failure is None
    simulated = settled(
        simulate(
            with_bytes_of(tiny_family.manifest, real),
            Scenario(
                profile=profile,
                link=Link(trace, rtt_s=DELAY_S),
                pace=Pace(FPS, NUM_FRAMES / FPS),
                sla_s=SLA_S,
                times={point.id: PointTime(0.001, 0.001) for point in tiny_family.manifest.points},
            ),
        )
    )
    assert len(real) == len(simulated) == NUM_FRAMES - WARM_UP
    assert share_on_time(real) == pytest.approx(share_on_time(simulated), abs=MAX_APART_SHARE)
    assert median_s(real) == pytest.approx(median_s(simulated), rel=0.3, abs=MAX_APART_S)
    assert median_s(real) >= DELAY_S
