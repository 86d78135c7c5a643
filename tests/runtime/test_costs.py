"""Online costs of points, with the manifest's measurements as priors."""

import pytest

from headgate.profiles.manifest import PointTime
from headgate.runtime.costs import PointCosts
from runtime.ladders import DEVICE_S, EDGE_S, ladder_manifest

MANIFEST = ladder_manifest(spread=0.1)


def test_priors_hold_until_something_is_measured() -> None:
    costs = PointCosts(MANIFEST)
    assert costs.device_s("b1r1-l16") == DEVICE_S
    assert costs.edge_s("b1r1-l16") == EDGE_S
    assert costs.edge_s("local-full") == 0.0
    assert PointCosts(MANIFEST, times={}).device_s("b1r1-l16") == 0.0
    times = {"b1r1-l16": PointTime(0.5, 0.25)}
    assert PointCosts(MANIFEST, times=times).device_s("b1r1-l16") == 0.5


def test_slow_device_is_expected_to_be_slow_at_points_not_tried_yet() -> None:
    costs = PointCosts(MANIFEST)
    for _ in range(50):
        costs.device_took("b1r1-l16", device_s=4 * DEVICE_S)
    assert costs.device_s("b1r1-l16") == pytest.approx(4 * DEVICE_S)
    assert costs.device_s("webp-q80") == pytest.approx(4 * DEVICE_S)


def test_scatter_is_allowed_for() -> None:
    costs = PointCosts(MANIFEST)
    for i in range(200):
        costs.device_took("b1r1-l16", device_s=0.010 + 0.004 * (i % 2))
    assert 0.014 < costs.device_s("b1r1-l16") < 0.018


def test_queue_at_the_edge_counts_for_every_point_that_sends() -> None:
    costs = PointCosts(MANIFEST)
    for _ in range(100):
        costs.edge_took("b1r1-l16", queue_s=0.02, serve_s=EDGE_S)
    assert costs.edge_s("webp-q80") == pytest.approx(0.02 + EDGE_S, rel=0.01)
    assert costs.edge_s("local-full") == 0.0


def test_sizes_follow_what_is_really_produced() -> None:
    costs = PointCosts(MANIFEST)
    point = MANIFEST.point("b1r1-l16")
    assert costs.sizes_bytes(point) == pytest.approx((1800, 2000, 2200))
    for _ in range(100):
        costs.payload_was("b1r1-l16", num_bytes=3000)
    assert costs.sizes_bytes(point) == pytest.approx((2700, 3000, 3300), rel=0.01)
