"""Which points are left where some are beaten in every respect."""

import pytest

from headgate.profiles.manifest import OperatingPoint, PointKind
from headgate.runtime.choice.pareto import undominated, worth_their_cost
from runtime.ladders import stats


def left(*offers: tuple[str, float, float]) -> list[str]:
    """Return which of these names are left, each with its bytes and quality."""
    points = [
        OperatingPoint(name, PointKind.OFFLOAD, {"top1": quality}, stats(num_bytes))
        for name, num_bytes, quality in offers
    ]
    kept = undominated(points, lambda point: (-point.bytes.mean, point.metrics["top1"]))
    return [point.id for point in kept]


@pytest.mark.parametrize("worse", [(2000, 0.6), (1000, 0.6), (2000, 0.7)])
def test_a_point_that_another_equals_in_all_and_beats_in_something_is_left_out(
    worse: tuple[float, float],
) -> None:
    assert left(("good", 1000, 0.7), ("worse", *worse)) == ["good"]
    assert left(("worse", *worse), ("good", 1000, 0.7)) == ["good"]


def test_points_that_are_better_in_something_stay_by_rising_bytes() -> None:
    assert left(("large", 3000, 0.8), ("small", 1000, 0.6), ("medium", 2000, 0.7)) == [
        "small",
        "medium",
        "large",
    ]


def test_points_that_offer_the_same_stay_by_name() -> None:
    assert left(("b", 1000, 0.7), ("a", 1000, 0.7)) == ["a", "b"]


def test_of_no_points_none_are_left() -> None:
    assert left() == []


def test_what_a_cheaper_one_equals_is_not_worth_its_cost_in_any_order() -> None:
    offers = [(3.0, 0.8), (2.0, 0.6), (1.0, 0.6), (3.0, 0.7), (4.0, 0.8), (5.0, 0.81)]
    for each in (offers, offers[::-1]):
        kept = worth_their_cost(each, cost=lambda offer: offer[0], worth=lambda offer: offer[1])
        assert kept == [(1.0, 0.6), (3.0, 0.8), (5.0, 0.81)]
