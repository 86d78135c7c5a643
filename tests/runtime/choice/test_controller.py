"""Choices of the controller for given prospects."""

import math
from dataclasses import replace

import pytest

from headgate.profiles.ladder import Ladder, LadderPoint
from headgate.profiles.ladder import ladder_manifest as ladder_manifest_of
from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind, PointTime
from headgate.profiles.profile import Preference, Profile, allowed_points
from headgate.runtime.choice.controller import Controller
from headgate.runtime.choice.costs import PointCosts
from headgate.runtime.choice.situation import Choice, Situation
from headgate.runtime.link.forecast import Forecast
from headgate.runtime.link.outlook import Outlook
from runtime.ladders import ladder_manifest

MANIFEST = ladder_manifest(spread=0.0)
EXIT = OperatingPoint("local-exit", PointKind.LOCAL, {"top1": 0.55}, member="b1r1")
TWO_LOCAL = replace(MANIFEST, points=(*MANIFEST.points, EXIT))
STEADY = [0.001 * i for i in range(-100, 101)]  # residuals of a calm link


def controller(
    profile: Profile | None = None, *, sla_s: float | None = 0.1, manifest: Manifest = MANIFEST
) -> Controller:
    profile = profile or Profile(name="test")
    points = allowed_points(profile, manifest)
    costs = PointCosts(manifest)
    return Controller(manifest=manifest, costs=costs, profile=profile, points=points, sla_s=sla_s)


def outlook(mbps: float, *, residuals: list[float] | None = None, delay_s: float = 0.02) -> Outlook:
    """An outlook whose log rates lie around `mbps` as `residuals` say, all equally likely."""
    level = math.log(mbps * 1e6)
    return Outlook(
        now_s=0.0,
        delay_s=delay_s,
        forecast=Forecast(level, STEADY if residuals is None else residuals),
        ahead_bytes=0,
        busy_since_s=0.0,
        age_s=0.0,
    )


def choose(chooser: Controller, mbps: float | None, *, stalled: bool = False) -> str | None:
    prospect = None if mbps is None else outlook(mbps)
    choice: Choice = chooser.choose(Situation(0.0, 0.0, prospect, stalled))
    return None if choice.point is None else choice.point.id


def climb(chooser: Controller, mbps: float) -> list[str | None]:
    return [choose(chooser, mbps) for _ in range(6)]


def test_best_sustainable_point_is_reached_two_rungs_at_a_time() -> None:
    assert climb(controller(), 100.0) == [
        "b1r1-l17",
        "b1r1-l19",
        "webp-q80",
        "webp-q80",
        "webp-q80",
        "webp-q80",
    ]


@pytest.mark.parametrize(
    ("mbps", "expected"),
    [(0.05, "local-full"), (0.6, "b1r1-l16"), (3.0, "b1r1-l19"), (14.0, "webp-q80")],
)
def test_point_follows_the_rate(mbps: float, expected: str) -> None:
    assert climb(controller(), mbps)[-1] == expected


@pytest.mark.parametrize(
    ("ahead_bytes", "expected"),
    [(5000, "b1r1-l19"), (12_000, "b1r1-l18"), (20_000, "b1r1-l17"), (30_000, "local-full")],
)
def test_point_leaves_the_next_frames_their_room(ahead_bytes: int, expected: str) -> None:
    """At 3 Mbit/s 20 kB take 53 ms of a period of 33: a free uplink has time for them now."""
    chooser = controller()
    climb(chooser, 3.0)
    prospect = replace(outlook(3.0), ahead_bytes=ahead_bytes)
    point = chooser.choose(Situation(0.0, 0.0, prospect)).point
    assert point is not None
    assert point.id == expected


def test_without_an_edge_the_choice_is_local_and_without_local_none() -> None:
    assert choose(controller(), None) == "local-full"
    assert choose(controller(Profile(name="x", points=("webp-*",))), None) is None


def test_stall_means_local_and_the_climb_begins_anew() -> None:
    chooser = controller()
    climb(chooser, 100.0)
    assert choose(chooser, 100.0, stalled=True) == "local-full"
    assert choose(chooser, 100.0) == "b1r1-l17"


@pytest.mark.parametrize("stalled", [False, True])
def test_local_point_that_would_be_late_does_not_keep_the_device_from_sending(
    stalled: bool,
) -> None:
    """What it answers counts for nothing, and meanwhile the link may have come back."""
    times = {
        at: {**points, "local-full": PointTime(0.12, 0.0)} for at, points in MANIFEST.times.items()
    }
    slow = replace(MANIFEST, times=times)
    assert choose(controller(manifest=slow), 0.3, stalled=stalled) == "b1r1-l16"
    assert choose(controller(manifest=slow), None) == "local-full"  # late rather than never
    only_local = Profile(name="x", kinds=(PointKind.LOCAL,))
    assert choose(controller(only_local, manifest=slow), 0.3, stalled=stalled) == "local-full"


def test_small_gain_does_not_move_the_choice() -> None:
    chooser = controller()
    assert climb(chooser, 2.45)[-1] == "b1r1-l18"
    # There the next rung wins, but by less than the stickiness.
    assert climb(controller(), 2.54)[-1] == "b1r1-l19"
    assert choose(chooser, 2.54) == "b1r1-l18"


def test_link_of_two_minds_gets_a_point_that_both_can_carry() -> None:
    chooser = controller()
    moody = [-3.0] * 8 + [0.0] * 12
    for _ in range(4):
        choice = chooser.choose(Situation(0.0, 0.0, outlook(14.0, residuals=sorted(moody))))
    assert choice.point is not None
    assert choice.point.bytes.mean <= 5000


def test_tight_deadline_excludes_what_a_loose_one_admits() -> None:
    assert climb(controller(sla_s=0.035), 3.0)[-1] == "b1r1-l16"
    assert climb(controller(sla_s=None), 3.0)[-1] == "b1r1-l18"


def test_misses_raise_the_price_of_points_without_insurance() -> None:
    chooser = controller(Profile(name="x", points=("webp-*", "local-*"), miss_rate=0.01))
    risky = sorted([-3.0] * 2 + [0.0] * 18)  # one frame of ten would be late
    prospect = outlook(100.0, residuals=risky)
    assert chooser.choose(Situation(0.0, 0.0, prospect)).point == MANIFEST.point("webp-q80")
    for _ in range(100):
        chooser.finished(None, missed=True, on_time=None, by_edge=None)
    assert chooser.choose(Situation(0.0, 0.0, prospect)).point == MANIFEST.point("local-full")
    for _ in range(20_000):
        chooser.finished(None, missed=False, on_time=None, by_edge=None)
    assert chooser.choose(Situation(0.0, 0.0, prospect)).point == MANIFEST.point("webp-q80")


def test_local_under_the_floor_is_only_a_fallback() -> None:
    floor = Profile(name="x", min_accuracy=0.70, prefer=Preference.BYTES)
    chooser = controller(floor)
    assert climb(chooser, 20.0)[-1] == "b1r1-l17"
    assert choose(chooser, 0.05) == "local-full"


def test_profile_changes_the_next_choice() -> None:
    chooser = controller()
    climb(chooser, 100.0)
    small = Profile(name="small", max_bytes=5000)
    chooser.set_profile(small, points=allowed_points(small, MANIFEST), sla_s=0.1)
    assert climb(chooser, 100.0)[-1] == "b1r1-l17"


def test_ladder_leaves_out_what_another_point_beats() -> None:
    made = climbing(ladder_manifest_of(Ladder((offload("a", 0.7, 2e3), offload("b", 0.65, 3e3)))))
    assert [point.id for point in made.ladder] == ["a"]


def test_upward_probe_is_wanted_only_for_a_rung_that_looks_out_of_reach() -> None:
    chooser = controller()
    assert chooser.upward_probe_bytes(outlook(0.6)) == 0  # nothing was sent yet
    climb(chooser, 0.6)
    doubtful = outlook(2.0, residuals=[-1.0, 0.0, 1.0])
    assert chooser.upward_probe_bytes(doubtful) == 10_000  # the largest that may come next
    assert chooser.upward_probe_bytes(outlook(50.0)) == 0


def test_an_upward_probe_keeps_a_slow_link_busy_for_a_twentieth_second_at_most() -> None:
    offers = [offload("small", 0.7, 300), offload("large", 0.75, 9000)]
    chooser = climbing(ladder_manifest_of(Ladder(tuple(offers))))
    assert choose(chooser, 0.4) == "small"
    assert chooser.upward_probe_bytes(outlook(0.4)) == 0.4e6 / 8 / 20


def test_no_probe_is_wanted_by_who_prefers_fewer_bytes() -> None:
    chooser = controller(Profile(name="x", prefer=Preference.BYTES))
    climb(chooser, 0.6)
    assert chooser.upward_probe_bytes(outlook(0.4)) == 0


def test_a_probe_carries_thrice_the_smallest_frame_where_that_is_more_than_the_next() -> None:
    offers = [offload("small", 0.7, 2000), offload("large", 0.75, 2500)]
    chooser = climbing(ladder_manifest_of(Ladder(tuple(offers))))
    assert choose(chooser, 0.25) == "small"
    assert chooser.upward_probe_bytes(outlook(0.2)) == 3 * (2000 + 64)


def test_pace_of_captures_is_followed_but_no_pause_nor_step_back() -> None:
    chooser = controller()
    assert chooser.period_s == pytest.approx(1 / 30)
    chooser.captured(captured_s=5.0)  # the first says nothing
    assert chooser.period_s == pytest.approx(1 / 30)
    chooser.captured(captured_s=5.1)
    after = 1 / 30 + 0.1 * (0.1 - 1 / 30)
    assert chooser.period_s == pytest.approx(after)
    chooser.captured(captured_s=500.0)
    after += 0.1 * (1.0 - after)
    assert chooser.period_s == pytest.approx(after)
    chooser.captured(captured_s=499.0)
    assert chooser.period_s == pytest.approx(0.9 * after)


def test_where_the_source_waits_no_frame_follows_before_the_last_has_ended() -> None:
    profile = Profile(name="x")
    chooser = Controller(
        manifest=MANIFEST,
        costs=PointCosts(MANIFEST),
        profile=profile,
        points=MANIFEST.points,
        sla_s=0.1,
        source_waits=True,
    )
    assert chooser.period_s == math.inf


@pytest.mark.parametrize(("accuracy", "could_gain"), [(0.65, True), (0.60, False), (0.55, False)])
def test_something_can_be_gained_where_a_point_that_sends_is_worth_more_than_answering_here(
    accuracy: float, could_gain: bool
) -> None:
    own = LadderPoint("own", PointKind.LOCAL, 0.60, device_ms=10.0)
    chooser = climbing(ladder_manifest_of(Ladder((own, offload("sent", accuracy, 2000)))))
    assert chooser.could_gain  # until it is known
    choose(chooser, 10.0)
    assert chooser.could_gain == could_gain


def test_nothing_can_be_gained_by_a_device_that_may_not_send() -> None:
    assert not controller(Profile(name="x", kinds=(PointKind.LOCAL,))).could_gain


def test_slow_point_costs_frames_unless_the_source_waits() -> None:
    profile = Profile(name="x", kinds=(PointKind.LOCAL,))
    slow = {"local-full": PointTime(0.090, 0.0), "local-exit": PointTime(0.005, 0.0)}
    for waits, expected in ((False, "local-exit"), (True, "local-full")):
        chooser = Controller(
            manifest=TWO_LOCAL,
            costs=PointCosts(TWO_LOCAL, times=slow),
            profile=profile,
            points=allowed_points(profile, TWO_LOCAL),
            sla_s=0.1,
            source_waits=waits,
        )
        assert choose(chooser, None) == expected


def offload(name: str, accuracy: float, num_bytes: float) -> LadderPoint:
    return LadderPoint(name, PointKind.OFFLOAD, accuracy, bytes=num_bytes)


def climbing(manifest: Manifest) -> Controller:
    return Controller(
        manifest=manifest,
        costs=PointCosts(manifest),
        profile=Profile(name="test"),
        points=manifest.points,
        sla_s=0.1,
    )


def test_rungs_that_answering_here_beats_do_not_bar_the_way_up() -> None:
    weak = tuple(
        replace(point, metrics={"top1": point.metrics["top1"] - 0.2})
        if point.kind is PointKind.SPLIT
        else point
        for point in MANIFEST.points
    )
    chooser = climbing(replace(MANIFEST, points=weak))
    assert choose(chooser, 100.0) == "webp-q80"
    assert choose(chooser, 0.5) == "local-full"


def test_rungs_whose_compute_takes_longer_than_the_sla_do_not_bar_the_way_up() -> None:
    (machine, times), *_ = MANIFEST.times.items()
    slow = {
        key: replace(time, device_s=0.2) if key.startswith(("b1r1", "local")) else time
        for key, time in times.items()
    }
    chooser = climbing(replace(MANIFEST, times={machine: slow}))
    assert choose(chooser, 100.0) == "webp-q80"


@pytest.mark.parametrize("device_s", [0.079, 0.3])  # with the link's 20 ms too late; too seldom
def test_slow_rungs_between_two_good_ones_do_not_bar_the_way_up(device_s: float) -> None:
    (machine, times), *_ = MANIFEST.times.items()
    slow = {
        key: replace(time, device_s=device_s)
        if key in ("b1r1-l17", "b1r1-l18", "b1r1-l19", "local-full")
        else time
        for key, time in times.items()
    }
    manifest = replace(MANIFEST, times={machine: slow})
    chooser = Controller(
        manifest=manifest,
        costs=PointCosts(manifest),
        profile=Profile(name="test"),
        points=manifest.points,
        sla_s=0.1 if device_s < 0.1 else 1.0,
    )
    assert climb(chooser, 100.0)[-1] == "webp-q80"


def test_rungs_that_are_hardly_better_do_not_bar_the_way_up() -> None:
    worth = {"b1r1-l18": 0.7055, "b1r1-l19": 0.706}
    points = tuple(
        replace(point, metrics={"top1": worth.get(point.id, point.metrics["top1"])})
        for point in MANIFEST.points
    )
    manifest = replace(MANIFEST, points=points)
    chooser = Controller(
        manifest=manifest,
        costs=PointCosts(manifest),
        profile=Profile(name="test"),
        points=points,
        sla_s=0.1,
    )
    assert climb(chooser, 100.0)[-1] == "webp-q80"


@pytest.mark.parametrize(("rescues", "expected"), [(False, "local-full"), (True, "webp-q80")])
def test_a_late_picture_is_no_miss_where_a_local_point_steps_in(
    rescues: bool, expected: str
) -> None:
    chooser = controller(Profile(name="x", points=("webp-*", "local-*")))
    for _ in range(200):
        chooser.finished(None, missed=True, on_time=None, by_edge=None)  # until a miss is dear
    doubtful = outlook(200.0, residuals=sorted([-5.0] * 40 + [0.0] * 160))
    assert doubtful.on_time(80_000, by_s=0.09) == pytest.approx(0.8, abs=0.01)
    choice = chooser.choose(Situation(0.0, 0.0, doubtful, rescues=rescues))
    assert choice.point is not None
    assert choice.point.id == expected


def test_pictures_are_bet_on_less_where_late_ones_are_seldom_rescued() -> None:
    offload = tuple(p for p in MANIFEST.points if p.kind is not PointKind.SPLIT)
    manifest = replace(MANIFEST, points=offload)
    chooser = controller(manifest=manifest)
    picture = manifest.point("webp-q80")
    doubtful = outlook(200.0, residuals=sorted([-5.0] * 80 + [0.0] * 120))
    situation = Situation(0.0, 0.0, doubtful, rescues=True)

    def chosen() -> str | None:
        point = chooser.choose(situation).point
        return None if point is None else point.id

    assert chosen() == "webp-q80"
    for _ in range(100):
        chooser.let_down(picture, rescued=False)
    assert chosen() == "local-full"
    for _ in range(100):
        chooser.let_down(picture, rescued=True)
    assert chosen() == "webp-q80"


def test_a_picture_with_more_bytes_and_less_accuracy_does_not_hide_a_better_split_point() -> None:
    """It is on the ladder, for it takes less compute; the search from the top went no further."""
    points = (
        LadderPoint("local", PointKind.LOCAL, 0.4, device_ms=10.0),
        LadderPoint("s", PointKind.SPLIT, 0.87, bytes=1400, device_ms=5.0, edge_ms=4.0),
        LadderPoint("j1", PointKind.OFFLOAD, 0.69, bytes=2500, picture_format="jpeg"),
        LadderPoint("j2", PointKind.OFFLOAD, 0.74, bytes=5000, picture_format="jpeg"),
    )
    chooser = controller(manifest=ladder_manifest_of(Ladder(points)))
    assert climb(chooser, 10.0) == ["s"] * 6


@pytest.mark.parametrize(
    ("source_waits", "ahead_bytes", "sent"),
    [(False, 100_000, False), (False, 0, True), (True, 100_000, True)],
)
def test_a_late_frame_is_held_back_only_where_it_would_make_others_late(
    source_waits: bool, ahead_bytes: int, sent: bool
) -> None:
    """80 kB take 46 ms of 14 Mbit/s. A source that waits has no next frame until this ended."""
    pictures = Profile(name="x", points=("webp-q80",))
    chooser = Controller(
        manifest=MANIFEST,
        costs=PointCosts(MANIFEST),
        profile=pictures,
        points=allowed_points(pictures, MANIFEST),
        sla_s=0.1,
        source_waits=source_waits,
    )
    for _ in range(10):
        chooser.finished(chooser.ladder[0], missed=True, on_time=0.1, by_edge=False)
    prospect = replace(outlook(14.0), ahead_bytes=ahead_bytes)
    choice = chooser.choose(Situation(0.0, 0.0, prospect))
    assert (choice.point is not None) == sent
