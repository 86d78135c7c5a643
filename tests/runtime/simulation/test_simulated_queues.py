"""What frames leave to those after them: a steady link is used, and not filled up."""

from dataclasses import replace

import pytest

from headgate.profiles.ladder import Ladder, LadderPoint
from headgate.profiles.ladder import ladder_manifest as manifest_of
from headgate.profiles.manifest import PointKind, PointTime
from headgate.profiles.trace import named_trace
from headgate.runtime.records import FrameRecord
from headgate.runtime.simulation.simulate import Lateness, Link, Machines, Pace, Scenario, simulate
from runtime.simulated import MANIFEST, PROFILE, after, most_credit, run, summary


@pytest.mark.parametrize("mbps", [0.1, 0.3, 1.0, 3.5, 12.0, 40.0, 200.0])
@pytest.mark.parametrize("rtt_s", [0.005, 0.02, 0.05])
def test_steady_link_earns_what_its_best_point_does_and_misses_nothing(
    mbps: float, rtt_s: float
) -> None:
    link = Link(named_trace(f"steady:{mbps}"), rtt_s)
    pace = Pace(fps=30, duration_s=10)
    settled = after(run(link, pace=pace), 4.0)
    assert not [record for record in settled if not record.deadline_met]
    adaptive = summary(settled).expected_credited
    for point in MANIFEST.points:
        if most_credit(point) > adaptive:
            fixed = summary(after(run(link, pace=pace, fixed=point.id), 4.0)).expected_credited
            assert fixed <= most_credit(point) + 1e-6
            assert adaptive >= fixed - 1e-6, point.id


@pytest.mark.parametrize("mbps", [1.0, 3.5, 12.0])
def test_what_a_steady_link_has_left_between_two_points_is_used(mbps: float) -> None:
    """The larger of two points goes whenever the uplink has got far enough ahead with the other."""
    link, pace = Link(named_trace(f"steady:{mbps}"), 0.02), Pace(fps=30, duration_s=12)
    settled = after(run(link, pace=pace), 5.0)
    num_bytes = {point.id: point.bytes.mean for point in MANIFEST.points}
    sent_bytes = sum(num_bytes[record.point or "local-full"] for record in settled) / len(settled)
    period_bytes = mbps * 1e6 / 8 / pace.fps
    assert 0.75 * period_bytes < sent_bytes <= period_bytes
    adaptive = summary(settled).expected_credited
    for point in MANIFEST.points:
        if most_credit(point) + 0.005 >= adaptive:
            fixed = summary(after(run(link, pace=pace, fixed=point.id), 5.0)).expected_credited
            assert adaptive > fixed + 0.005, point.id


@pytest.mark.parametrize("sla_s", [0.3, 2.0])
@pytest.mark.parametrize("mbps", [1.0, 12.0])
def test_frames_that_may_take_long_do_not_queue_for_long(mbps: float, sla_s: float) -> None:
    """What a queue costs shows late: not so late that the next frames cannot be sent."""
    link, pace = Link(named_trace(f"steady:{mbps}"), 0.02), Pace(fps=30, duration_s=6)

    def settled(fixed: str | None = None) -> list[FrameRecord]:
        return after(
            simulate(
                MANIFEST, Scenario(profile=PROFILE, link=link, pace=pace, sla_s=sla_s, fixed=fixed)
            ),
            3.0,
        )

    records = settled()
    assert max(record.stages.total_s or 0.0 for record in records) < 0.25
    adaptive = summary(records).expected_credited
    for point in MANIFEST.points:
        fits = point.bytes.mean < mbps * 1e6 / 8 / pace.fps
        if point.kind is not PointKind.LOCAL and fits and most_credit(point) >= adaptive:
            assert adaptive > summary(settled(point.id)).expected_credited, point.id


def test_device_that_computes_for_longer_than_a_period_uses_the_time_of_the_frames_it_loses() -> (
    None
):
    """At 4 Mbit/s 50 kB take the 100 ms that a frame computes, and three periods."""
    times = {
        point.id: PointTime(0.1, 0.002) if point.kind is not PointKind.LOCAL else PointTime(0.3, 0)
        for point in MANIFEST.points
    }
    records = simulate(
        MANIFEST,
        Scenario(
            profile=PROFILE,
            link=Link(named_trace("steady:4"), 0.02),
            pace=Pace(fps=30, duration_s=8),
            sla_s=0.4,
            times=times,
        ),
    )
    sent = [record.point for record in after(records, 4.0) if record.num_bytes]
    assert sent.count("b1r1-l20") > 0.9 * len(sent)


@pytest.mark.parametrize("in_layers", [False, True])
@pytest.mark.parametrize("mbps", [0.9, 0.8])
def test_a_link_hardly_too_slow_for_what_a_profile_allows_is_not_late_with_everything(
    mbps: float, in_layers: bool
) -> None:
    """Of 60 frames a second 0.9 Mbit/s carry 56. Nothing else answers, and all would queue up."""
    point = LadderPoint("s", PointKind.SPLIT, 0.8, bytes=1856, device_ms=5, edge_ms=4)
    if in_layers:
        first = replace(point, id="s-p1", member="m", prefix=1)
        more = replace(first, id="s-p2", prefix=2, accuracy=0.84, bytes=3566)
        points: tuple[LadderPoint, ...] = (first, more)
    else:
        points = (point,)
    late = Lateness(mean_s=0.001)
    records = simulate(
        manifest_of(Ladder(points)),
        Scenario(
            profile=PROFILE,
            link=Link(named_trace(f"steady:{mbps}"), 0.05),
            pace=Pace(fps=60, duration_s=10),
            sla_s=0.1,
            machines=Machines(late, late),
        ),
    )
    settled = after(records, 3.0)
    assert sum(record.deadline_met for record in settled) > 0.75 * len(settled)
