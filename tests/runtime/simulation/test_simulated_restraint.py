"""Frames without a local point on a link that is too slow for all of them."""

from headgate.profiles.ladder import Ladder, LadderPoint, ladder_manifest
from headgate.profiles.manifest import PointKind
from headgate.runtime.simulation.simulate import Link, Pace, Scenario, simulate
from runtime.simulated import PROFILE, after, steps


def test_two_frames_do_not_keep_each_other_late_after_a_link_became_slow() -> None:
    """11 kbit/s carry four of five frames a second, and none of them behind two others."""
    points = (
        LadderPoint("small", PointKind.SPLIT, 0.56, bytes=274, device_ms=1, edge_ms=2),
        LadderPoint("large", PointKind.SPLIT, 0.64, bytes=2042, device_ms=1, edge_ms=2),
    )
    scenario = Scenario(
        profile=PROFILE,
        link=Link(steps((0.2, 6.0), (0.011, 14.0)), 0.02),
        pace=Pace(fps=5, duration_s=20),
        sla_s=0.5,
    )
    settled = after(simulate(ladder_manifest(Ladder(points)), scenario), 11.0)
    assert sum(record.deadline_met for record in settled) > 0.5 * len(settled)
