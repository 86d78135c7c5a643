"""What the controller makes of points whose frames are late though they were not foretold to be."""

import math
from dataclasses import replace

import pytest

from headgate.profiles.ladder import Ladder, LadderPoint, ladder_manifest
from headgate.profiles.manifest import OperatingPoint, PointKind
from headgate.profiles.profile import Profile, allowed_points
from headgate.runtime.choice.controller import Controller
from headgate.runtime.choice.costs import PointCosts
from headgate.runtime.choice.situation import Situation
from headgate.runtime.link.forecast import Forecast
from headgate.runtime.link.outlook import Outlook

LOCAL = LadderPoint("local", PointKind.LOCAL, 0.60, device_ms=10.0)
SMALL = LadderPoint(
    "small", PointKind.SPLIT, 0.73, 10_000.0, exit_accuracy=0.55, device_ms=3.0, edge_ms=2.0
)
LARGE = replace(SMALL, id="large", accuracy=0.75, bytes=20_000.0)
LAYER = replace(SMALL, id="layer", member="s", prefix=1)
PICTURE = replace(LARGE, id="picture", kind=PointKind.OFFLOAD, exit_accuracy=None)


def controller(*points: LadderPoint) -> Controller:
    manifest = ladder_manifest(Ladder((LOCAL, *points)))
    profile = Profile("test")
    return Controller(
        manifest=manifest,
        costs=PointCosts(manifest),
        profile=profile,
        points=allowed_points(profile, manifest),
        sla_s=0.05,
    )


def chosen(chooser: Controller) -> OperatingPoint:
    """Return the choice on a calm link of 9 Mbit/s, on which 20 kB are in time by a hair."""
    forecast = Forecast(math.log(9e6), [0.0005 * i for i in range(-100, 101)])
    prospect = Outlook(
        now_s=0.0, delay_s=0.02, forecast=forecast, ahead_bytes=0, busy_since_s=0.0, age_s=0.0
    )
    point = chooser.choose(Situation(0.0, 0.0, prospect)).point
    assert point is not None
    return point


@pytest.mark.parametrize(
    ("points", "large", "small"),
    [((SMALL, LARGE), "large", "small"), ((LAYER, PICTURE), "picture", "layer")],
)
def test_a_point_that_is_always_late_gives_way_to_the_next_smaller_one(
    points: tuple[LadderPoint, ...], large: str, small: str
) -> None:
    chooser = controller(*points)
    names = [chosen(chooser).id for _ in range(6)]
    assert names[-1] == large
    num_late = 0
    while (point := chosen(chooser)).id == large and num_late < 100:
        chooser.finished(point, missed=False, on_time=0.95, by_edge=False)
        num_late += 1
    assert 3 < num_late < 60
    assert point.id == small


def test_a_point_that_was_late_is_tried_again() -> None:
    chooser = controller(SMALL, LARGE)
    tried = 0
    for _ in range(3000):
        point = chosen(chooser)
        tried += point.id == "large"
        late = point.id == "large"
        chooser.finished(point, missed=False, on_time=0.95, by_edge=not late)
    assert 10 < tried < 300
