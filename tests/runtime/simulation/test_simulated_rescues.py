"""Rescues in the simulator: what one frame gains by them is not lost by the next."""

import random

import pytest

from headgate.profiles.manifest import PointKind, PointTime
from headgate.profiles.trace import Trace
from headgate.runtime.records import FrameRecord
from headgate.runtime.simulation.simulate import Link, Pace, Scenario, simulate
from runtime.ladders import DEVICE_S, EDGE_S
from runtime.simulated import MANIFEST, PROFILE, after, summary


def packets(rate: float, *, seed: int, duration_s: float) -> Trace:
    """Carry a packet of 1500 B now and then, so many in a second on average."""
    rng, now_s, times_s, rates_bps = random.Random(seed), 0.0, [0.0], [0.0]
    while True:
        now_s += 0.001 + rng.expovariate(rate)
        if now_s > duration_s:
            return Trace("packets", tuple(times_s), tuple(rates_bps), duration_s)
        times_s += [now_s, now_s + 0.001]
        rates_bps += [8 * 1500 / 0.001, 0.0]


@pytest.mark.parametrize("local_s", [0.012, 0.015])
def test_a_rescue_does_not_keep_the_next_frame_until_it_is_late_as_well(local_s: float) -> None:
    """Half of the frames are late for 50 ms, and the next one's head begins before a last call.

    A local point gains five points over the exit, what the edge answers thirteen. Where rescues
    always go first, each frame waits for the one before it.
    """
    settled = rescued(local_s)
    waits_s = [record.stages.wait_s or 0.0 for record in settled]
    assert sum(wait_s > 0.005 for wait_s in waits_s) < 0.25 * len(settled)
    without = summary(rescued(0.008)).expected_credited  # where no rescue is in anyone's way
    assert summary(settled).expected_credited > without - 0.02


def rescued(local_s: float) -> list[FrameRecord]:
    """Run a device whose local point takes so long; return its frames after two seconds."""
    times = {
        point.id: PointTime(local_s, 0.0)
        if point.kind is PointKind.LOCAL
        else PointTime(DEVICE_S, EDGE_S)
        for point in MANIFEST.points
    }
    scenario = Scenario(
        profile=PROFILE,
        link=Link(packets(114, seed=3, duration_s=12.0), 0.02),
        pace=Pace(fps=30, duration_s=12),
        sla_s=0.05,
        times=times,
    )
    return after(simulate(MANIFEST, scenario), 2.0)
