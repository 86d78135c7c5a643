"""Claims about headgate.export.points.points."""

from dataclasses import replace

import numpy as np
import pytest

from headgate.export.points.candidates import offload_point_id, split_point_id
from headgate.export.points.points import (
    Measured,
    byte_stats,
    paired_noise,
    with_measurements,
    worth_keeping,
)
from headgate.profiles.manifest import OperatingPoint, PointKind, PointTime

NUM_PICTURES = 10_000


def measured(levels: int, *, num_right: int, num_bytes: int) -> Measured:
    right_N = np.arange(NUM_PICTURES) < num_right
    point = with_measurements(
        OperatingPoint(split_point_id("b4r1", levels), PointKind.SPLIT, {}),
        accuracy=float(right_N.mean()),
        sizes=[num_bytes],
    )
    return Measured(point, right_N, PointTime(0.0, 0.0))


def series(levels: int, **accuracies: tuple[int, int]) -> list[Measured]:
    """Return prefixes p1, p2 ... of one series, each with (pictures right, bytes)."""
    found = []
    for name, (num_right, num_bytes) in accuracies.items():
        item = measured(levels, num_right=num_right, num_bytes=num_bytes)
        point = replace(
            item.point, id=f"{item.point.id}-{name}", levels=levels, prefix=int(name[1:])
        )
        found.append(replace(item, point=point))
    return found


def kept_ids(*points: Measured) -> list[str]:
    return [item.point.id for item in worth_keeping(points)]


def test_ids_are_those_the_manifest_promises() -> None:
    assert split_point_id("b32r2", 16) == "b32r2-l16"
    assert offload_point_id("webp", 40) == "webp-q40"


def test_a_point_that_a_cheaper_one_equals_is_dropped() -> None:
    dear = measured(256, num_right=9_000, num_bytes=256)
    cheap = measured(16, num_right=9_000, num_bytes=128)
    assert kept_ids(dear, cheap) == ["b4r1-l16"]


def test_a_gain_within_noise_is_not_worth_its_bytes() -> None:
    dear = measured(256, num_right=9_001, num_bytes=256)
    cheap = measured(16, num_right=9_000, num_bytes=128)
    assert kept_ids(dear, cheap) == ["b4r1-l16"]


def test_a_gain_beyond_noise_is_kept_and_order_stays() -> None:
    dear = measured(256, num_right=9_300, num_bytes=256)
    cheap = measured(16, num_right=9_000, num_bytes=128)
    assert kept_ids(dear, cheap) == ["b4r1-l256", "b4r1-l16"]


def test_small_gains_that_add_up_are_not_dropped_one_by_one() -> None:
    points = [measured(2**n, num_right=8_000 + n, num_bytes=100 * n) for n in range(1, 6)]
    assert kept_ids(*points) == ["b4r1-l2", "b4r1-l8", "b4r1-l32"]


def test_of_points_with_equal_bytes_only_the_better_one_is_kept() -> None:
    worse = measured(256, num_right=8_000, num_bytes=128)
    better = measured(16, num_right=9_000, num_bytes=128)
    assert kept_ids(worse, better) == ["b4r1-l16"]


def test_a_clear_gain_is_kept_though_few_pictures_could_not_tell_it_from_noise() -> None:
    cheap = measured(4, num_right=5_000, num_bytes=10)
    dear = measured(16, num_right=5_030, num_bytes=20)
    dear = replace(dear, right=dear.right[::-1])  # the two are right on different pictures
    assert paired_noise(cheap.right, dear.right) > 0.009
    assert kept_ids(cheap, dear) == ["b4r1-l4", "b4r1-l16"]


def test_points_that_are_not_split_stay_and_members_do_not_compete() -> None:
    good = measured(4, num_right=9_000, num_bytes=10)
    other = replace(good.point, id="b9r1-l4", member="b9r1")
    picture = replace(good.point, id="jpeg-q1", kind=PointKind.OFFLOAD)
    alone = replace(good.point, id="local-exit", kind=PointKind.LOCAL)
    worse = measured(4, num_right=1_000, num_bytes=99)
    points = [good, *(replace(worse, point=point) for point in (other, picture, alone))]
    assert kept_ids(*points) == ["b4r1-l4", "b9r1-l4", "jpeg-q1", "local-exit"]


def test_a_series_has_no_holes_though_a_prefix_is_no_better_than_a_smaller_one() -> None:
    points = series(16, p1=(8_000, 100), p2=(8_000, 200), p3=(9_000, 300))
    assert kept_ids(*points) == ["b4r1-l16-p1", "b4r1-l16-p2", "b4r1-l16-p3"]


def test_last_layers_that_make_nothing_better_are_cut_off() -> None:
    points = series(16, p1=(8_000, 100), p2=(9_000, 200), p3=(9_001, 300), p4=(8_990, 400))
    assert kept_ids(*points) == ["b4r1-l16-p1", "b4r1-l16-p2"]


def test_last_layers_whose_small_gains_add_up_are_not_cut_off() -> None:
    gains = {f"p{n}": (8_000 + n, 100 * n) for n in range(1, 5)}
    assert kept_ids(*series(16, **gains)) == [f"b4r1-l16-p{n}" for n in (1, 2, 3)]


def test_a_series_is_dropped_as_a_whole_and_only_when_no_prefix_of_it_is_worth_keeping() -> None:
    good = series(8, p1=(8_000, 50), p2=(9_000, 100))
    worse = series(64, p1=(7_900, 60), p2=(8_900, 120))
    kept = [item.point.id for item in good]
    assert kept_ids(*worse, *good) == kept
    dearer_but_better = series(64, p1=(7_900, 60), p2=(9_500, 120))
    ids = [item.point.id for item in dearer_but_better]
    assert kept_ids(*dearer_but_better, *good) == ids + kept


def test_noise_counts_only_pictures_on_which_one_of_two_is_right() -> None:
    a = np.array([True, True, False, False])
    b = np.array([True, False, True, False])
    assert paired_noise(a, b) == pytest.approx(2**0.5 / 4)
    assert paired_noise(a, a) == 0.0


def test_byte_statistics_are_quantiles_of_payload_sizes() -> None:
    stats = byte_stats(range(101))
    assert (stats.mean, stats.p5, stats.p50, stats.p95, stats.max) == (50.0, 5.0, 50.0, 95.0, 100.0)
