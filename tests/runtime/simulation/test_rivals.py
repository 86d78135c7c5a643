"""Rival rules in the session's place of our controller."""

from itertools import pairwise

import pytest

from headgate.profiles.profile import Profile
from headgate.profiles.trace import named_trace
from headgate.runtime.records import FrameRecord
from headgate.runtime.simulation.rivals import RIVALS
from headgate.runtime.simulation.simulate import Link, Pace, Scenario, simulate
from runtime.ladders import LOCAL_ACCURACY, ladder_manifest

MANIFEST = ladder_manifest(spread=0.0)


def run(rival: str, mbps: float) -> list[FrameRecord]:
    records = simulate(
        MANIFEST,
        Scenario(
            profile=Profile(name="test"),
            link=Link(named_trace(f"steady:{mbps}"), 0.02),
            pace=Pace(30, 6),
            sla_s=0.1,
            policy=RIVALS[rival],
            insured=False,
        ),
    )
    return sorted(records, key=lambda record: record.frame_id)[60:]


@pytest.mark.parametrize("rival", RIVALS)
def test_every_rival_answers_locally_where_nothing_gets_through(rival: str) -> None:
    assert {record.quality for record in run(rival, 0.0)} == {LOCAL_ACCURACY}


@pytest.mark.parametrize("rival", sorted(RIVALS.keys() - {"naive EWMA"}))
def test_rivals_find_a_point_that_a_steady_link_carries(rival: str) -> None:
    records = run(rival, 8.0)
    assert sum(record.deadline_met for record in records) > 0.75 * len(records)
    assert sum(record.num_bytes for record in records) / len(records) > 5_000


def test_half_is_the_more_careful_of_the_two() -> None:
    half, whole = run("EWMA x 0.5", 8.0), run("corrected EWMA", 8.0)
    assert sum(record.num_bytes for record in half) <= sum(record.num_bytes for record in whole)
    assert all(record.deadline_met for record in half)
    assert sum(a.point != b.point for a, b in pairwise(half)) <= 1
