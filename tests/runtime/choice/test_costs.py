"""Online costs of points, with the manifest's measurements as priors."""

import pytest

from headgate.profiles.manifest import PointTime
from headgate.runtime.choice.costs import PointCosts
from headgate.runtime.wire.messages import Load, Reject, RejectReason, Result
from runtime.ladders import DEVICE_S, EDGE_S, ladder_manifest, progressive_manifest
from runtime.predicted import predicted_manifest

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


def answer(*, residence_us: int, queue_us: int, decode_us: int, tail_us: int) -> Result:
    return Result(0, 0, 0, residence_us, queue_us, decode_us, tail_us, Load(0, 0), ())


def test_an_answer_tells_what_waiting_and_serving_take_at_the_edge() -> None:
    costs = PointCosts(MANIFEST)
    point = MANIFEST.point("b1r1-l16")
    result = answer(residence_us=26_000, queue_us=20_000, decode_us=1000, tail_us=2000)
    for _ in range(100):
        costs.edge_answered(point, result)
    assert costs.edge_s(point.id) == pytest.approx(0.026, rel=0.01)
    assert costs.edge_s("webp-q80") == pytest.approx(0.020 + EDGE_S * 6 / 2, rel=0.01)


def test_what_a_frame_in_layers_waits_at_the_edge_for_its_own_layers_does_not_count() -> None:
    manifest = progressive_manifest()
    costs, point = PointCosts(manifest), manifest.point("s-p2")
    result = answer(residence_us=90_000, queue_us=20_000, decode_us=1000, tail_us=2000)
    for _ in range(100):
        costs.edge_answered(point, result)
    assert costs.edge_s(point.id) == pytest.approx(0.023, rel=0.01)


def test_an_edge_that_says_it_served_in_less_than_no_time_serves_in_none() -> None:
    costs, point = PointCosts(MANIFEST), MANIFEST.point("b1r1-l16")
    result = answer(residence_us=10_000, queue_us=20_000, decode_us=0, tail_us=0)
    for _ in range(100):
        costs.edge_answered(point, result)
    assert costs.edge_s(point.id) == pytest.approx(0.020, rel=0.01)


def rejected(costs: PointCosts, reason: RejectReason, *, left_s: float | None) -> float:
    """Return the edge's likely time after six frames were rejected with so much time left."""
    for frame_id in range(6):
        reject = Reject(frame_id, reason, "")
        costs.edge_rejected(MANIFEST.point("webp-q80"), reject, left_s=left_s)
    return costs.edge_s("webp-q80")


def test_edge_that_has_no_time_for_frames_is_known_to_take_longer_than_they_had() -> None:
    assert rejected(PointCosts(MANIFEST), RejectReason.EXPIRED, left_s=0.04) > 0.04
    costs = PointCosts(MANIFEST)
    rejected(costs, RejectReason.EXPIRED, left_s=0.04)
    for _ in range(1000):
        costs.choosing()
    assert costs.edge_s("webp-q80") == pytest.approx(EDGE_S, rel=0.01)  # worth another try


@pytest.mark.parametrize(
    ("reason", "left_s"),
    [
        (RejectReason.EXPIRED, -0.01),  # the link was late
        (RejectReason.EXPIRED, EDGE_S),  # here too: so much is what the edge needs
        (RejectReason.EXPIRED, None),
        (RejectReason.MALFORMED, 0.04),
    ],
)
def test_other_rejections_say_nothing_of_the_edges_time(
    reason: RejectReason, left_s: float | None
) -> None:
    assert rejected(PointCosts(MANIFEST), reason, left_s=left_s) == EDGE_S


def test_sizes_follow_what_is_really_produced() -> None:
    costs = PointCosts(MANIFEST)
    point = MANIFEST.point("b1r1-l16")
    assert costs.sizes_bytes(point) == pytest.approx((1800, 2000, 2200))
    for _ in range(100):
        costs.payload_was("b1r1-l16", num_bytes=3000)
    assert costs.sizes_bytes(point) == pytest.approx((2700, 3000, 3300), rel=0.01)


def test_busy_scene_makes_all_points_of_the_kind_larger_and_no_pictures() -> None:
    costs = PointCosts(MANIFEST)
    for _ in range(100):
        costs.payload_was("b1r1-l16", num_bytes=3000)  # half more than at export
    other = MANIFEST.point("b1r1-l17")
    assert costs.sizes_bytes(other)[1] == pytest.approx(1.5 * other.bytes.p50, rel=0.01)
    picture = MANIFEST.point("webp-q80")
    assert costs.sizes_bytes(picture)[1] == picture.bytes.p50


def test_size_of_a_point_that_is_not_used_follows_those_that_are() -> None:
    costs = PointCosts(MANIFEST)
    point, other = MANIFEST.point("b1r1-l16"), MANIFEST.point("b1r1-l17")
    for _ in range(100):
        costs.payload_was(point.id, num_bytes=round(3 * point.bytes.mean))
    for _ in range(500):  # the scene is calm again, but the point looks too large to try
        costs.choosing()
        costs.payload_was(other.id, num_bytes=round(other.bytes.mean))
    assert costs.sizes_bytes(point)[1] == pytest.approx(point.bytes.p50, rel=0.02)


def test_points_in_use_have_each_their_own_size() -> None:
    costs = PointCosts(MANIFEST)
    first, second = MANIFEST.point("b1r1-l16"), MANIFEST.point("b1r1-l17")
    for _ in range(200):
        costs.payload_was(first.id, num_bytes=round(1.5 * first.bytes.mean))
        costs.payload_was(second.id, num_bytes=round(0.5 * second.bytes.mean))
    assert costs.sizes_bytes(first)[1] == pytest.approx(1.5 * first.bytes.p50, rel=0.01)
    assert costs.sizes_bytes(second)[1] == pytest.approx(0.5 * second.bytes.p50, rel=0.01)


def test_an_answer_without_bytes_has_no_size_to_learn_from() -> None:
    costs = PointCosts(MANIFEST)
    costs.payload_was("local-full", num_bytes=0)
    assert costs.sizes_bytes(MANIFEST.point("local-full")) == (0.0, 0.0, 0.0)


PREDICTED = predicted_manifest()  # twins at a quarter of the bytes
WHOLE, CODED = PREDICTED.point("b1r1-l16"), PREDICTED.point("b1r1-l16-p")


def test_what_predicted_frames_take_says_nothing_of_whole_ones_nor_of_other_twins() -> None:
    costs = PointCosts(PREDICTED)
    for _ in range(100):
        costs.payload_was(CODED.id, num_bytes=800)
    assert costs.sizes_bytes(CODED)[1] == pytest.approx(800, rel=0.01)
    assert costs.sizes_bytes(WHOLE)[1] == WHOLE.bytes.p50
    other = PREDICTED.point("b1r1-l17-p")
    assert costs.sizes_bytes(other)[1] == other.bytes.p50


def test_a_predicted_frame_takes_no_more_than_the_whole_one() -> None:
    costs = PointCosts(PREDICTED)
    for _ in range(100):
        costs.payload_was(CODED.id, num_bytes=5000)
    assert costs.sizes_bytes(CODED) == costs.sizes_bytes(WHOLE)


def test_without_a_reference_a_frame_goes_whole_and_what_moved_before_is_forgotten() -> None:
    costs = PointCosts(PREDICTED)
    for _ in range(100):
        costs.payload_was(CODED.id, num_bytes=800)
    costs.lacking(frozenset())
    assert costs.sizes_bytes(CODED)[1] == pytest.approx(800, rel=0.01)
    costs.lacking(frozenset({CODED.id}))
    assert costs.sizes_bytes(CODED) == costs.sizes_bytes(WHOLE)
    costs.lacking(frozenset())
    assert costs.sizes_bytes(CODED)[1] == CODED.bytes.p50 == 500
