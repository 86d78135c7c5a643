"""Claims about headgate.export.points.time_left."""

import pytest

from headgate.export.points.time_left import TimeLeft, time_text
from headgate.profiles.manifest import OperatingPoint, PointKind


def point(name: str, *, prefix: int | None = None) -> OperatingPoint:
    return OperatingPoint(name, PointKind.SPLIT, {}, member="n4r1", levels=4, prefix=prefix)


def test_what_the_first_point_took_tells_of_the_others_once() -> None:
    points = [point(f"p{number}") for number in range(72)]
    time_left = TimeLeft(points, num_pictures=10_000, started_s=1000.0)
    assert time_left.measured(now_s=1050.0) == (
        "the other 71 points take about 59 min like this, on 10000 pictures each; "
        "--limit measures on fewer"
    )
    assert time_left.measured(now_s=1100.0) is None


def test_nothing_is_said_of_some_minutes() -> None:
    points = [point("a"), point("b")]
    assert TimeLeft(points, num_pictures=9, started_s=0.0).measured(now_s=179.0) is None
    assert TimeLeft(points, num_pictures=9, started_s=0.0).measured(now_s=181.0) is not None
    assert TimeLeft(points[:1], num_pictures=9, started_s=0.0).measured(now_s=9e9) is None


def test_prefixes_which_share_what_the_first_one_cost_tell_together() -> None:
    series = [point(f"s{number}", prefix=number) for number in (1, 2, 3)]
    time_left = TimeLeft([*series, point("a"), point("b")], num_pictures=9, started_s=0.0)
    assert time_left.measured(now_s=500.0) is None
    assert time_left.measured(now_s=550.0) is None
    assert (time_left.measured(now_s=600.0) or "").startswith("the other 2 points take about 7 min")


@pytest.mark.parametrize(("seconds", "said"), [(181, "3 min"), (5940, "99 min"), (6300, "1.8 h")])
def test_long_times_are_said_in_hours(seconds: float, said: str) -> None:
    assert time_text(seconds) == said
