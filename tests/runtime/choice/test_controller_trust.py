"""What the controller makes of points whose frames are late though they were not foretold to be."""

import math
from dataclasses import replace

import pytest

from headgate.profiles.ladder import Ladder, LadderPoint, ladder_manifest
from headgate.profiles.manifest import OperatingPoint, PointKind
from headgate.profiles.profile import Profile, allowed_points
from headgate.runtime.choice.controller import Controller
from headgate.runtime.choice.costs import PointCosts
from headgate.runtime.choice.situation import Choice, Situation
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


def choose(chooser: Controller) -> Choice:
    """Choose on a calm link of 9 Mbit/s, on which 20 kB are in time by a hair."""
    forecast = Forecast(math.log(9e6), [0.0005 * i for i in range(-100, 101)])
    prospect = Outlook(
        now_s=0.0, delay_s=0.02, forecast=forecast, ahead_bytes=0, busy_since_s=0.0, age_s=0.0
    )
    return chooser.choose(Situation(0.0, 0.0, prospect))


def chosen(chooser: Controller) -> OperatingPoint:
    point = choose(chooser).point
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


def test_a_chance_is_counted_as_it_was_before_it_was_discounted() -> None:
    """By the discount of its choice: a frame that ends when there is another was no surer of it."""
    early, late = controller(SMALL), controller(SMALL)
    small = chosen(early)
    for _ in range(12):
        early.finished(small, missed=False, on_time=0.9, trusted=1.0, by_edge=False)
        late.finished(small, missed=False, on_time=0.45, trusted=0.5, by_edge=False)
    assert choose(early).trusted == choose(late).trusted < 0.9
