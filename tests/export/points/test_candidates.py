"""Claims about headgate.export.points.candidates."""

from headgate.export.points.candidates import compared_maps, local_points, prefix_points
from headgate.profiles.manifest import Member, OperatingPoint, PointKind, TensorSpec


def member(name: str, *, layers: tuple[int, ...] = (), head_macs: int = 1) -> Member:
    features = TensorSpec("features", "uint8", (sum(layers) or 6, 4, 4))
    return Member(name, features.shape[0], 1, features, "h", "t", head_macs, 1, {}, layers=layers)


def test_every_prefix_is_a_point_the_whole_included() -> None:
    point = OperatingPoint("n6r1-l4", PointKind.SPLIT, {}, member="n6r1", levels=4)
    found = prefix_points(point, member("n6r1", layers=(1, 2, 3)))
    assert [each.id for each in found] == ["n6r1-l4-p1", "n6r1-l4-p2", "n6r1-l4-p3"]
    assert [each.prefix for each in found] == [1, 2, 3]
    assert [each.id for each in prefix_points(point, member("n6r1", layers=(6,)))] == ["n6r1-l4-p1"]
    assert prefix_points(point, member("b6r1")) == [point]


def test_ranges_are_judged_by_the_first_the_middle_and_the_last_prefix() -> None:
    assert compared_maps(member("a", layers=(1, 2, 3, 4, 5))) == (1, 6, 15)
    assert compared_maps(member("a", layers=(1, 2, 3, 4))) == (1, 3, 10)
    assert compared_maps(member("a", layers=(1, 2))) == (1, 3)
    assert compared_maps(member("a", layers=(4,))) == (4,)
    assert compared_maps(member("a")) == (6,)


def test_the_early_exit_that_answers_alone_is_that_of_the_cheapest_head() -> None:
    members = [member("a", head_macs=9), member("b", head_macs=3), member("c", head_macs=5)]
    assert [point.member for point in local_points(members)] == [None, "b"]
