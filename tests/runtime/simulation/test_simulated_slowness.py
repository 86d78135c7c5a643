"""Machines that are slow for a while: what was lost meanwhile comes back with them."""

from collections.abc import Iterator

import pytest

from headgate.profiles.ladder import Ladder, LadderPoint, ladder_manifest
from headgate.profiles.manifest import PointKind, PointTime
from headgate.profiles.trace import Trace
from headgate.runtime.records import FrameRecord, Source
from headgate.runtime.simulation.simulate import Link, Pace, Scenario, simulate
from headgate.runtime.simulation.simulated_loop import Lateness, Machines
from runtime.simulated import PACE, PROFILE, after, steps, summary

LOCAL_ACCURACY = 0.6
MANIFEST = ladder_manifest(
    Ladder(
        (
            LadderPoint("local", PointKind.LOCAL, LOCAL_ACCURACY, device_ms=10),
            *(
                LadderPoint(f"s{n}", PointKind.SPLIT, 0.7 + n / 50, bytes=n * 2000, device_ms=3)
                for n in (1, 2, 3)
            ),
        )
    )
)
LINK = Link(steps((8.0, 20.0)), 0.02)
SLOW_FROM_S, SLOW_TO_S = 4.0, 7.0


class Slowness(dict[str, PointTime]):
    """Compute times that are longer for the lookups of one stretch; a frame has one or two."""

    def __init__(self, *, device_s: float = 0.0, edge_s: float = 0.0, to_s: float) -> None:
        super().__init__(next(iter(MANIFEST.times.values())))
        self._device_s, self._edge_s = device_s, edge_s
        self._lookups = self._count(to_s)

    def __getitem__(self, point_id: str) -> PointTime:
        time = super().__getitem__(point_id)
        if not next(self._lookups):
            return time
        return PointTime(time.device_s + self._device_s, time.edge_s + self._edge_s)

    @staticmethod
    def _count(to_s: float) -> Iterator[bool]:
        num = 0
        while True:
            yield SLOW_FROM_S <= num / (2 * PACE.fps) < to_s
            num += 1


def play(times: Slowness | None = None, *, sla_s: float = 0.1) -> list[FrameRecord]:
    return simulate(
        MANIFEST, Scenario(profile=PROFILE, link=LINK, pace=PACE, sla_s=sla_s, times=times)
    )


@pytest.mark.parametrize("sla_s", [0.1, 0.05])
@pytest.mark.parametrize("edge_s", [0.04, 0.08, 1.0])
def test_edge_that_was_slow_is_used_again(edge_s: float, sla_s: float) -> None:
    best = summary(after(play(sla_s=sla_s), 15.0)).expected_credited
    recovered = after(play(Slowness(edge_s=edge_s, to_s=SLOW_TO_S), sla_s=sla_s), 15.0)
    assert summary(recovered).expected_credited > best - 0.05 > LOCAL_ACCURACY + 0.1


def test_one_hiccup_of_the_device_costs_no_point_for_good() -> None:
    best = summary(after(play(), 15.0)).expected_credited
    hiccup = Slowness(device_s=1.0, to_s=SLOW_FROM_S + 0.05)
    assert summary(after(play(hiccup), 15.0)).expected_credited > best - 0.005


def test_edge_that_stays_slow_costs_few_frames_of_what_the_device_can_do_itself() -> None:
    records = after(play(Slowness(edge_s=0.2, to_s=1e9)), 8.0)
    assert summary(records).expected_credited > LOCAL_ACCURACY - 0.03


def test_a_late_loop_leaves_the_edge_its_share_of_a_short_sla() -> None:
    quick = ladder_manifest(
        Ladder(
            (
                LadderPoint("local", PointKind.LOCAL, LOCAL_ACCURACY, device_ms=1),
                LadderPoint(
                    "s", PointKind.SPLIT, 0.75, bytes=1000, device_ms=0.5, exit_accuracy=0.55
                ),
            )
        )
    )
    records = simulate(
        quick,
        Scenario(
            profile=PROFILE,
            link=Link(steps((20.0, 20.0)), 0.002),
            pace=PACE,
            sla_s=0.01,
            machines=Machines(device=Lateness(mean_s=0.002)),
        ),
    )
    by_edge = sum(record.source is Source.EDGE for record in records)
    assert by_edge > 0.62 * len(records)


@pytest.mark.parametrize(("fps", "expected"), [(5, 0.9), (30, 0.4)])
def test_local_point_slower_than_the_sla_leaves_the_device_to_a_link_that_comes_and_goes(
    fps: float, expected: float
) -> None:
    """Half of the time 20 Mbit/s, else nothing, 100 ms each: not one local answer is in time."""
    points = (
        LadderPoint("local", PointKind.LOCAL, LOCAL_ACCURACY, device_ms=75),
        LadderPoint("s", PointKind.SPLIT, 0.8, bytes=700, device_ms=5, edge_ms=4),
    )
    scenario = Scenario(
        profile=PROFILE,
        link=Link(Trace("on and off", (0.0, 0.1), (20e6, 0.0), 0.2), 0.005),
        pace=Pace(fps=fps, duration_s=10),
        sla_s=0.05,
    )
    records = simulate(ladder_manifest(Ladder(points)), scenario)
    assert sum(record.deadline_met for record in records) > expected * len(records)
