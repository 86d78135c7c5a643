"""What a late frame earns, and how the share of rescued pictures is learned."""

import pytest

from headgate.profiles.manifest import OperatingPoint, PointKind
from headgate.runtime.choice.costs import PointCosts
from headgate.runtime.choice.late_credit import MEMORY, PRIOR_SHARE, LateCredit, RescuedShare
from runtime.ladders import EXIT_ACCURACY, LOCAL_ACCURACY, ladder_manifest

MANIFEST = ladder_manifest(spread=0.0)
(PICTURE,) = (point for point in MANIFEST.points if point.kind is PointKind.OFFLOAD)
SPLIT, OTHER, *_ = (point for point in MANIFEST.points if point.kind is PointKind.SPLIT)
LOCAL = tuple(point for point in MANIFEST.points if point.kind is PointKind.LOCAL)


def late_credit(*, sla_s: float | None = 0.1, other_exit: float = EXIT_ACCURACY) -> LateCredit:
    quality = {point.id: MANIFEST.quality(point) for point in MANIFEST.points}
    exits = {point.id: EXIT_ACCURACY for point in MANIFEST.points if point.kind is PointKind.SPLIT}
    exits[OTHER.id] = other_exit
    judge = LateCredit(costs=PointCosts(MANIFEST), quality=quality, exit_quality=exits)
    judge.set_profile(local=LOCAL, sla_s=sla_s)
    return judge


def credit(judge: LateCredit, *, rescues: bool = True, miss_price: float = 0.0) -> float:
    return judge.of(PICTURE, period_s=1 / 30, fallback=0.6, rescues=rescues, miss_price=miss_price)


def learned(*outcomes: bool) -> float:
    share = RescuedShare()
    for rescued in outcomes:
        share.learn(rescued=rescued)
    return share.share


def test_share_is_the_prior_until_a_frame_is_let_down_and_then_moves_with_each() -> None:
    assert learned() == PRIOR_SHARE == 0.9
    assert learned(False) == pytest.approx(9 / 11)
    assert learned(True) == pytest.approx(10 / 11)
    assert learned(False, True) == pytest.approx((9 + 1) / (10 + 1 + 0.98))


def test_share_comes_near_what_the_device_experiences_but_never_to_none_or_all() -> None:
    assert 0.1 < learned(*[False] * 1000) < 0.2
    assert 0.97 < learned(*[True] * 1000) < 1.0
    assert learned(*[True, False] * 500) == pytest.approx((9 + 25) / (10 + 50), abs=0.02)


def test_device_that_has_cooled_down_is_trusted_again() -> None:
    hot = [False] * 200
    assert learned(*hot, *[True] * int(2 * MEMORY)) > 0.85


def test_late_picture_earns_a_local_answer_as_often_as_one_comes_and_else_costs_a_miss() -> None:
    judge = late_credit()
    assert credit(judge, miss_price=0.5) == pytest.approx(0.9 * LOCAL_ACCURACY - 0.1 * 0.5)
    judge.let_down(PICTURE, rescued=False)
    assert credit(judge, miss_price=0.5) == pytest.approx(9 / 11 * LOCAL_ACCURACY - 2 / 11 * 0.5)
    assert credit(judge, rescues=False, miss_price=0.5) == -0.5


def test_local_point_that_leaves_no_time_to_wait_rescues_nothing_and_teaches_nothing() -> None:
    judge = late_credit(sla_s=0.02)  # local takes 10 ms, the picture 3
    for _ in range(100):
        judge.let_down(PICTURE, rescued=False)
    assert credit(judge, miss_price=0.5) == -0.5
    judge.set_profile(local=LOCAL, sla_s=0.1)
    assert credit(judge) == pytest.approx(0.9 * LOCAL_ACCURACY)


@pytest.mark.parametrize(("sla_s", "rescued"), [(0.027, True), (0.025, False), (None, True)])
def test_a_picture_is_rescued_if_half_of_the_sla_has_room_for_both_computes(
    sla_s: float | None, rescued: bool
) -> None:
    """A local answer takes 10 ms, what comes before the picture is sent 3."""
    earned = 0.9 * LOCAL_ACCURACY - 0.1 * 0.5 if rescued else -0.5
    assert credit(late_credit(sla_s=sla_s), miss_price=0.5) == pytest.approx(earned)


def test_split_frame_that_its_exit_answers_teaches_nothing_of_pictures() -> None:
    judge = late_credit()
    for _ in range(100):
        judge.let_down(SPLIT, rescued=False)
    assert credit(judge) == pytest.approx(0.9 * LOCAL_ACCURACY)


def split_credit(
    judge: LateCredit,
    point: OperatingPoint = SPLIT,
    *,
    period_s: float = 1 / 30,
    fallback: float = 0.6,
) -> float:
    return judge.of(point, period_s=period_s, fallback=fallback, rescues=True, miss_price=0.5)


def test_late_split_frame_earns_its_exit_and_a_better_local_answer_as_often_as_one_comes() -> None:
    judge = late_credit()
    assert LOCAL_ACCURACY > EXIT_ACCURACY
    assert split_credit(judge) == LOCAL_ACCURACY
    judge.let_down(SPLIT, rescued=False)
    better = LOCAL_ACCURACY - EXIT_ACCURACY
    assert split_credit(judge) == pytest.approx(EXIT_ACCURACY + 10 / 11 * better)
    for _ in range(1000):
        judge.let_down(SPLIT, rescued=False)
    assert split_credit(judge) == pytest.approx(EXIT_ACCURACY + 0.2 * better, abs=0.1 * better)


@pytest.mark.parametrize(
    ("sla_s", "period_s", "bettered"),
    [
        (0.1, 0.0135, True),  # a head of 3 ms and a local answer of 10
        (0.1, 0.0125, False),
        (0.027, 1.0, True),
        (0.025, 1.0, False),
        (None, 1.0, False),  # it is never late
    ],
)
def test_a_split_frame_is_bettered_if_period_and_half_of_the_sla_have_room_for_both_computes(
    sla_s: float | None, period_s: float, bettered: bool
) -> None:
    earned = LOCAL_ACCURACY if bettered else EXIT_ACCURACY
    assert split_credit(late_credit(sla_s=sla_s), period_s=period_s) == earned


def test_no_frame_is_bettered_on_a_device_too_busy_to_answer_all_itself() -> None:
    assert split_credit(late_credit(), fallback=LOCAL_ACCURACY - 0.05) == EXIT_ACCURACY


def test_an_exit_that_is_better_than_a_local_answer_stays_and_teaches_nothing() -> None:
    judge = late_credit(other_exit=LOCAL_ACCURACY + 0.05)
    assert split_credit(judge, OTHER) == LOCAL_ACCURACY + 0.05
    for _ in range(100):
        judge.let_down(OTHER, rescued=False)
    assert split_credit(judge) == LOCAL_ACCURACY


def test_bettering_is_taken_for_granted_in_layers() -> None:
    judge = late_credit()
    for _ in range(1000):
        judge.let_down(SPLIT, rescued=False)
    judge.set_profile(local=LOCAL, sla_s=0.1, in_layers=True)
    assert split_credit(judge) == LOCAL_ACCURACY
