"""What prefixes of one member are worth together, and what the controller makes of it."""

import math
from dataclasses import replace

import pytest

from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind, PointTime
from headgate.profiles.profile import Preference, Profile, allowed_points
from headgate.runtime.choice.backlog import Step
from headgate.runtime.choice.backlogs import FrameTimes
from headgate.runtime.choice.controller import Controller
from headgate.runtime.choice.costs import PointCosts
from headgate.runtime.choice.series import Series, series_among
from headgate.runtime.choice.situation import Choice, Situation
from headgate.runtime.link.forecast import Forecast
from headgate.runtime.link.outlook import Outlook
from runtime.ladders import DEVICE_S, EDGE_S, EXIT_ACCURACY, progressive_manifest, stats

MANIFEST = progressive_manifest()
STEADY = [0.001 * i for i in range(-100, 101)]
WILD = [0.02 * i for i in range(-100, 101)]
TIMES = FrameTimes(0.0, DEVICE_S, 0.1, EDGE_S, 1 / 30)


def outlook(mbps: float, *, residuals: list[float] | None = None, ahead_bytes: int = 0) -> Outlook:
    level = math.log(mbps * 1e6)
    forecast = Forecast(level, STEADY if residuals is None else residuals)
    return Outlook(0.0, 0.02, forecast, ahead_bytes, busy_since_s=0.0, age_s=0.0)


def top() -> Series:
    (series,) = series_among(MANIFEST, MANIFEST.points)
    return series


def choose(
    mbps: float,
    *,
    residuals: list[float] | None = None,
    manifest: Manifest = MANIFEST,
    **profile: object,
) -> Choice:
    chosen = Profile(name="test", **profile)  # type: ignore[arg-type]
    points = allowed_points(chosen, manifest)
    controller = Controller(
        manifest=manifest,
        costs=PointCosts(manifest),
        profile=chosen,
        points=points,
        sla_s=0.1,
    )
    return controller.choose(Situation(0.0, 0.0, outlook(mbps, residuals=residuals)))


def test_a_series_is_worth_its_last_prefix_and_ends_as_that_of_its_layers_at_least_one() -> None:
    series = top()
    assert series.quality == 0.772
    assert [series.likely(num).id for num in (0, 1, 2, 5)] == ["s-p1", "s-p1", "s-p2", "s-p5"]
    assert [series.bytes_of(num) for num in (1, 2, 5)] == [2064, 5064, 50_064]


def test_of_the_prefixes_allowed_the_largest_is_the_top_in_whatever_order_they_come() -> None:
    points = [MANIFEST.point(f"s-p{prefix}") for prefix in (2, 4, 1, 3)]
    assert [series.top.id for series in series_among(MANIFEST, points)] == ["s-p4"]


def test_faster_link_is_worth_more_and_more_layers() -> None:
    plans = [
        top().judge(outlook(mbps), TIMES, quality=EXIT_ACCURACY, fallback=0.6)[0]
        for mbps in (0.1, 0.5, 2.0, 5.0, 20.0, 100.0)
    ]
    assert [p.num_steps for p in plans] == sorted(p.num_steps for p in plans)
    assert [p.credit for p in plans] == sorted(p.credit for p in plans)
    assert (plans[0].num_steps, plans[-1].num_steps) == (0, 5)


def test_unsure_link_is_a_reason_to_plan_for_what_others_would_lose() -> None:
    """Large layers that are likely late would hold up the frames of whoever shares the link."""
    calm = top().judge(outlook(12.0), TIMES, quality=EXIT_ACCURACY, fallback=0.6)[0]
    wild = top().judge(outlook(12.0, residuals=WILD), TIMES, quality=EXIT_ACCURACY, fallback=0.6)[0]
    assert 0 < wild.num_steps < calm.num_steps
    assert wild.credit < calm.credit


def test_bytes_on_the_link_lower_what_sending_is_worth() -> None:
    free, busy = (
        top().judge(outlook(3.0, ahead_bytes=n), TIMES, quality=EXIT_ACCURACY, fallback=0.6)[0]
        for n in (0, 20_000)
    )
    assert busy.credit < free.credit
    assert busy.on_time <= free.on_time


def test_controller_plans_the_whole_series_at_once() -> None:
    choice = choose(20.0)
    assert choice.point is not None
    assert choice.point.id == "s-p5"
    assert choice.layers is not None
    assert choice.layers.qualities == (0.68, 0.705, 0.73, 0.75, 0.772)


def test_controller_answers_here_where_not_even_the_first_layer_can_be_in_time() -> None:
    choice = choose(0.05)
    assert choice.point is not None
    assert choice.point.kind is PointKind.LOCAL
    assert choice.layers is None


def test_head_s_exit_answers_where_the_device_gets_round_to_too_few_frames_by_itself() -> None:
    (machine, times), *_ = MANIFEST.times.items()
    slow = {machine: {**times, "local": PointTime(0.050, 0.0)}}  # .60 of two frames in three
    choice = choose(0.05, manifest=replace(MANIFEST, times=slow))
    assert choice.point is not None
    assert choice.point.kind is PointKind.SPLIT
    assert choice.layers is not None
    assert choice.layers.num_steps == 0


def test_series_is_chosen_on_a_slow_link_where_nothing_else_could_answer() -> None:
    choice = choose(0.05, manifest=progressive_manifest(local=False, insured=False))
    assert choice.point is not None  # the link may be quicker by the time that its head is done
    assert choice.layers is not None
    assert choice.layers.num_steps == 0


def test_byte_cap_of_a_profile_bounds_the_layers() -> None:
    choice = choose(50.0, max_bytes=10_000)
    assert choice.point is not None
    assert choice.point.id == "s-p3"
    assert choice.layers is not None
    assert len(choice.layers.qualities) == 3


def test_prefix_that_is_chosen_by_itself_is_planned_with_the_same_table_each_time() -> None:
    chosen = Profile(name="test", prefer=Preference.BYTES)
    controller = Controller(
        manifest=MANIFEST,
        costs=PointCosts(MANIFEST),
        profile=chosen,
        points=allowed_points(chosen, MANIFEST),
        sla_s=0.1,
    )
    choices = [controller.choose(Situation(0.0, 0.0, outlook(20.0))) for _ in range(6)]
    first, second = choices[-2:]  # it climbs by two rungs at a time
    assert first.layers is not None
    assert second.layers is not None
    assert first.point is second.point
    assert first.layers.backlog is second.layers.backlog


@pytest.mark.parametrize(("mbps", "wins"), [(100.0, True), (3.0, False)])
def test_picture_goes_whole_where_it_is_sure_to_win(mbps: float, wins: bool) -> None:
    picture = OperatingPoint(
        id="webp",
        kind=PointKind.OFFLOAD,
        metrics={"top1": 0.79},
        bytes=stats(60_000),
        picture_format="webp",
        picture_quality=80,
        graph="full/model.onnx",
    )
    times = {**MANIFEST.times["ladder"], "webp": PointTime(DEVICE_S, EDGE_S)}
    manifest = replace(MANIFEST, points=(*MANIFEST.points, picture), times={"ladder": times})
    controller = Controller(
        manifest=manifest,
        costs=PointCosts(manifest),
        profile=Profile(name="test"),
        points=manifest.points,
        sla_s=0.1,
    )
    choice = controller.choose(Situation(0.0, 0.0, outlook(mbps)))
    assert choice.point is not None
    assert (choice.point.id == "webp") == wins
    assert (choice.layers is None) == wins


def test_first_layers_that_wait_are_ahead_of_a_frame_in_layers() -> None:
    controller = Controller(
        manifest=MANIFEST,
        costs=PointCosts(MANIFEST),
        profile=Profile(name="test"),
        points=MANIFEST.points,
        sla_s=0.1,
    )

    def layers_behind(first_bytes: int) -> int:
        situation = Situation(0.0, 0.0, outlook(5.0), planned_bytes=80_000, first_bytes=first_bytes)
        layers = controller.choose(situation).layers
        return layers.num_steps if layers else 0

    assert layers_behind(0) > layers_behind(30_000) > layers_behind(60_000) == 0


def test_an_upward_probe_is_measured_by_the_first_layer_and_not_by_the_smallest_picture() -> None:
    """A picture of seconds on such a link was what the probe had to carry at least."""
    picture = OperatingPoint("picture", PointKind.OFFLOAD, {"top1": 0.99}, bytes=stats(60_000))
    manifest = replace(MANIFEST, points=(*MANIFEST.points, picture))
    points = allowed_points(Profile(name="test"), manifest)
    costs = PointCosts(manifest)
    chooser = Controller(
        manifest=manifest, costs=costs, profile=Profile(name="test"), points=points, sla_s=0.1
    )
    chooser.choose(Situation(0.0, 0.0, outlook(0.6)))
    first = min(point.bytes.mean for point in points if point.prefix is not None)
    assert chooser.upward_probe_bytes(outlook(0.6)) == max(3 * (first + 64), 0.6e6 / 8 / 20)


def test_a_queue_costs_what_the_frames_to_come_could_earn_as_pictures_too() -> None:
    picture = OperatingPoint("picture", PointKind.OFFLOAD, {"top1": 0.99}, bytes=stats(24_000))
    (alone,) = series_among(MANIFEST, MANIFEST.points)
    (beside,) = series_among(MANIFEST, [*MANIFEST.points, picture])
    terms = {"quality": 0.0, "fallback": 0.0, "instead": Step(30_000, 0.9)}
    link = outlook(5.0)
    credits = [series.judge(link, TIMES, **terms)[0].credit for series in (alone, beside)]  # type: ignore[arg-type]
    assert credits[1] < credits[0] - 0.05
    local = OperatingPoint("here", PointKind.LOCAL, {"top1": 0.99}, bytes=stats(0))
    (with_local,) = series_among(MANIFEST, [*MANIFEST.points, local])
    assert with_local.judge(link, TIMES, **terms)[0].credit == credits[0]  # type: ignore[arg-type]
