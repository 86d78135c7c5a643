"""Which local point answers, and what the early exits of split points are worth."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from headgate.profiles.manifest import Manifest, MetricSpec, OperatingPoint, PointKind, PointTime
from headgate.runtime.choice.costs import PointCosts
from headgate.runtime.choice.own_answers import best_local, exit_quality, has_exit
from runtime.ladders import ladder_manifest

MANIFEST = ladder_manifest()
SPLIT = MANIFEST.points[0]
LOCAL = tuple(
    OperatingPoint(name, PointKind.LOCAL, {"top1": quality})
    for name, quality in (("fast", 0.5), ("best", 0.7), ("slow", 0.6))
)
TIMES = {"fast": PointTime(0.01, 0.0), "best": PointTime(0.02, 0.0), "slow": PointTime(0.03, 0.0)}


@pytest.mark.parametrize(
    ("left_s", "expected"),
    [(None, "best"), (1.0, "best"), (0.02, "best"), (0.019, "fast"), (0.01, "fast"), (0.0, None)],
)
def test_the_best_local_point_that_has_time_answers(
    left_s: float | None, expected: str | None
) -> None:
    quality = {point.id: point.metrics["top1"] for point in LOCAL}
    point = best_local(LOCAL, quality, PointCosts(MANIFEST, times=TIMES), left_s=left_s)
    assert (None if point is None else point.id) == expected


def with_exits(*exits: Mapping[str, float], direction: str = "higher") -> Manifest:
    """Return a manifest of a member for each; the first metric is `top1`, of that direction."""
    (member,) = MANIFEST.members
    members = [replace(member, id=f"m{i}", exit_metrics=dict(each)) for i, each in enumerate(exits)]
    metrics = (MetricSpec("top1", direction), MetricSpec("other", "higher"))
    return replace(MANIFEST, members=tuple(members), metrics=metrics)


def test_an_exit_is_that_of_the_points_own_member_and_measured_by_the_first_metric() -> None:
    manifest = with_exits({"top1": 0.4}, {"other": 0.9}, {"other": 0.1, "top1": 0.5})
    points = [replace(SPLIT, member=member.id) for member in manifest.members]
    assert [has_exit(manifest, point) for point in points] == [True, False, True]
    assert [exit_quality(manifest, point) for point in points] == [0.4, 0.0, 0.5]


def test_an_exit_is_better_by_less_of_a_metric_whose_lower_values_are_better() -> None:
    manifest = with_exits({"top1": 0.4}, direction="lower")
    assert exit_quality(manifest, replace(SPLIT, member="m0")) == -0.4


def test_an_exit_that_was_not_measured_is_not_taken_for_a_perfect_one() -> None:
    manifest = with_exits({"other": 0.9}, direction="lower")
    worst = max(point.metrics["top1"] for point in manifest.points)
    assert exit_quality(manifest, replace(SPLIT, member="m0")) == -worst
