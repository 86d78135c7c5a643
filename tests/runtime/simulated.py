"""Runs on the simulator's clock with the ladder made by hand, and questions to their records."""

import pytest

from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.profiles.profile import Profile
from headgate.profiles.trace import Trace
from headgate.runtime.records import FrameRecord
from headgate.runtime.session.summary import Summary, Tally
from headgate.runtime.simulation.simulate import Link, Pace, Scenario, simulate
from runtime.ladders import ladder_manifest

MANIFEST = ladder_manifest()
PROFILE = Profile(name="test")
PACE = Pace(fps=30, duration_s=20)


def run(
    link: Link, *, pace: Pace = PACE, profile: Profile = PROFILE, fixed: str | None = None
) -> list[FrameRecord]:
    records = simulate(
        MANIFEST, Scenario(profile=profile, link=link, pace=pace, sla_s=0.1, fixed=fixed)
    )
    assert sorted(record.frame_id for record in records) == list(range(len(records)))
    assert len(records) == pytest.approx(pace.fps * pace.duration_s, abs=1)
    return sorted(records, key=lambda record: record.frame_id)


def summary(records: list[FrameRecord]) -> Summary:
    tally = Tally()
    for record in records:
        tally.add(record)
    return tally.summary()


def most_credit(point: OperatingPoint, manifest: Manifest = MANIFEST) -> float:
    """Return what no run that always sends `point` is credited more than.

    A frame is answered at its point, by layers of it, or where nothing arrives by what the device
    answers alone. So whoever earned as much need not be held against a run of that point.
    """
    here = [p.metrics["top1"] for p in manifest.points if p.kind is PointKind.LOCAL]
    exits = [member.exit_metrics.get("top1", 0.0) for member in manifest.members]
    return max(point.metrics["top1"], *here, *exits)


def after(records: list[FrameRecord], start_s: float, end_s: float = 1e9) -> list[FrameRecord]:
    return [record for record in records if start_s <= record.captured_s < end_s]


def steps(*mbps_for_s: tuple[float, float]) -> Trace:
    """A trace of (rate, duration) steps."""
    times_s, now_s = [], 0.0
    for _, duration_s in mbps_for_s:
        times_s.append(now_s)
        now_s += duration_s
    return Trace("steps", tuple(times_s), tuple(mbps * 1e6 for mbps, _ in mbps_for_s), now_s)
