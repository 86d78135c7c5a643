"""Whole runs with progressive frames in virtual time, beside the same points sent whole."""

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest

from headgate.profiles.ladder import Ladder, LadderPoint, ladder_manifest, read_ladder
from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.profiles.profile import Profile
from headgate.profiles.trace import Trace, named_trace
from headgate.runtime.choice import message_worth, trust
from headgate.runtime.choice.controller import Controller
from headgate.runtime.choice.policy import PolicyMaker
from headgate.runtime.records import FrameRecord, Source
from headgate.runtime.simulation.simulate import (
    Lateness,
    Link,
    Machines,
    Pace,
    Scenario,
    simulate,
    simulate_many,
)
from headgate.runtime.simulation.simulated_answers import layers_of, payload_bytes
from headgate.runtime.simulation.simulated_link import Uplink
from runtime.ladders import (
    EXIT_ACCURACY,
    LOCAL_ACCURACY,
    RUNGS,
    prefixes,
    progressive_manifest,
    stats,
)
from runtime.simulated import most_credit, steps

MANIFEST = progressive_manifest()
EXAMPLES = Path(__file__).parents[3] / "examples"
PROFILE = Profile(name="test")
PACE = Pace(fps=30, duration_s=10)


def whole(_: Uplink) -> PolicyMaker:
    """Our controller, as it was for points that are sent whole."""

    class Whole(Controller):
        def choose(self, situation):  # type: ignore[no-untyped-def]
            return replace(super().choose(situation), layers=None)

    return Whole


def run(
    trace: Trace,
    *,
    manifest: Manifest = MANIFEST,
    sla_s: float = 0.1,
    pace: Pace = PACE,
    jitter_s: float = 0.0,
    insured: bool = True,
    machines: Machines | None = None,
) -> list[FrameRecord]:
    records = simulate(
        manifest,
        Scenario(
            profile=PROFILE,
            link=Link(trace, 0.02, jitter_s=jitter_s),
            pace=pace,
            sla_s=sla_s,
            insured=insured,
            machines=machines or Machines(),
        ),
    )
    assert sorted(r.frame_id for r in records) == list(range(len(records)))
    return sorted(records, key=lambda record: record.frame_id)


def credit(records: list[FrameRecord], start_s: float = 0.0) -> float:
    counted = [r for r in records if r.captured_s >= start_s]
    return sum(r.quality * r.deadline_met for r in counted) / len(counted)


def test_layers_add_up_to_the_bytes_of_their_prefix() -> None:
    for frame_id in range(5):
        for point in MANIFEST.points:
            layers = layers_of(MANIFEST, point, frame_id)
            assert sum(map(len, layers)) == payload_bytes(point, frame_id)
            assert len(layers) == (point.prefix or 0)


def test_pictures_that_beat_all_layers_are_found_above_some_that_do_not() -> None:
    layers = progressive_manifest().points
    small = [replace(p, bytes=stats(p.bytes.mean / 100)) for p in layers]
    pictures = [
        OperatingPoint(
            f"webp-q{num_bytes}",
            PointKind.OFFLOAD,
            {"top1": accuracy},
            stats(num_bytes),
            picture_format="webp",
            picture_quality=50,
            graph="full/model.onnx",
        )
        for num_bytes, accuracy in ((900, 0.70), (1300, 0.745), (1900, 0.775), (3500, 0.80))
    ]
    times = {p.id: MANIFEST.times["ladder"]["s-p1"] for p in pictures}
    manifest = replace(
        MANIFEST,
        points=(*small, *pictures),
        times={"ladder": {**MANIFEST.times["ladder"], **times}},
    )
    records = run(named_trace("steady:8"), manifest=manifest)
    assert records[-1].point == "webp-q3500"
    assert credit(records, 1.0) > 0.79


def test_doubtful_layers_are_sent_where_only_an_answer_from_here_would_insure_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = random.Random(3)
    trace = steps(*[(draw.lognormvariate(0.0, 0.7), 0.1) for _ in range(100)])
    manifest = progressive_manifest(insured=False)
    with_benefit = credit(run(trace, manifest=manifest, insured=False))
    monkeypatch.setattr(trust, "BENEFIT", 1.0)
    without = credit(run(trace, manifest=manifest, insured=False))
    assert with_benefit > without > 0.6


def test_layers_without_an_exit_that_never_leave_teach_at_their_deadline() -> None:
    """A link for a frame and a bit: the estimate sinks below it at first, and nothing is sent."""
    rungs = ((118, 0.39), (169, 0.55), (202, 0.57))
    points = prefixes(rungs, device_s=0.0005, edge_s=0.006)
    local = LadderPoint(id="local", kind=PointKind.LOCAL, accuracy=0.63, device_ms=59.5)
    manifest = ladder_manifest(Ladder((*points, local)))
    records = run(named_trace("steady:0.052"), manifest=manifest, sla_s=0.2)
    unanswered = [r for r in records if r.source is Source.NONE]
    assert len(unanswered) < 15  # 68 while nothing was learnt of them for two seconds
    assert credit(records) > 0.5


def test_layers_that_wait_behind_pictures_are_not_given_up_for_the_next_picture() -> None:
    """Two pictures fill what may be on the link, and layers without an exit wait behind them."""
    rungs = ((62, 0.42), (174, 0.57), (490, 0.647), (823, 0.656))
    points = prefixes(rungs, device_s=0.0011, edge_s=0.0058)
    pictures = ((3699, 0.678), (6716, 0.729))
    for num_bytes, accuracy in pictures:
        points.append(
            LadderPoint(
                id=f"jpeg-{num_bytes}",
                kind=PointKind.OFFLOAD,
                picture_format="jpeg",
                accuracy=accuracy,
                bytes=num_bytes,
                device_ms=0.5,
                edge_ms=5.1,
            )
        )
    points.append(LadderPoint(id="local", kind=PointKind.LOCAL, accuracy=0.33, device_ms=3.3))
    manifest = ladder_manifest(Ladder(tuple(points)))
    records = run(named_trace("steady:0.4"), manifest=manifest, sla_s=0.2)
    assert credit(records) > 0.65  # .57 when they were given up
    assert sum(r.source is Source.LOCAL for r in records) < 5


def test_layers_are_worth_no_less_than_the_same_points_whole_where_little_time_is_left() -> None:
    """The second layer is in time for an edge that has it at once, not for one that waits."""
    rungs = ((3594, 0.467), (4641, 0.576), (5994, 0.641))
    points = prefixes(rungs, device_s=0.0018, edge_s=0.0043)
    local = LadderPoint(id="local", kind=PointKind.LOCAL, accuracy=0.39, device_ms=4.5)
    manifest = ladder_manifest(Ladder((*points, local)))
    records = run(named_trace("steady:1.885"), manifest=manifest, sla_s=0.05)
    assert credit(records, 1.0) > 0.57  # .467 when the first layer went alone


def test_small_layers_do_not_all_share_a_message_that_takes_as_long_as_the_frame_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rungs = ((33, 0.65), (57, 0.72), (98, 0.78), (169, 0.825), (292, 0.858), (504, 0.877))
    points = prefixes(rungs, device_s=0.0075, edge_s=0.0045)
    local = LadderPoint(id="local", kind=PointKind.LOCAL, accuracy=0.456, device_ms=3.4)
    manifest = ladder_manifest(Ladder((*points, local)))
    draw = random.Random(1)
    trace = steps(*[(0.1 * draw.lognormvariate(0.0, 0.5), 0.1) for _ in range(100)])

    def credited() -> float:
        return credit(run(trace, manifest=manifest, sla_s=0.1, pace=Pace(fps=10, duration_s=10)))

    by_doubts = credited()
    monkeypatch.setattr(message_worth, "SPLIT_GAIN", math.inf)
    assert by_doubts > credited() + 0.02


def test_link_that_collapses_in_mid_frame_still_answers_from_what_had_arrived() -> None:
    falls_s = 5.0 + 0.035  # 2 ms after a frame's first layers left
    trace = steps((10.0, falls_s), (0.3, 0.2), (10.0, 60.0))
    records = run(trace)
    assert all(r.deadline_met for r in records)
    hit = [r for r in records if 4.93 < r.captured_s <= falls_s]
    partial = [r for r in hit if r.source is Source.EDGE and r.answered_point != r.point]
    assert partial
    for record in partial:
        prefix = next(p.prefix for p in MANIFEST.points if p.id == record.answered_point)
        assert record.quality == RUNGS[(prefix or 0) - 1][1]
    assert credit(records, 5.5) > 0.745


@pytest.mark.parametrize("mbps", [0.8, 2.5, 5.0, 12.0, 40.0])
@pytest.mark.parametrize("sla_s", [0.05, 0.1])
def test_steady_link_loses_nothing_against_the_best_fixed_point(mbps: float, sla_s: float) -> None:
    trace = named_trace(f"steady:{mbps}")
    # Headers of the messages that the larger layers take, and the steps between the points.
    allowed = credit(run(trace, sla_s=sla_s), 2.0) + 0.006
    for point in MANIFEST.points:
        if most_credit(point, MANIFEST) <= allowed:
            continue
        only = simulate(
            MANIFEST,
            Scenario(
                profile=PROFILE,
                link=Link(trace, 0.02),
                pace=PACE,
                sla_s=sla_s,
                fixed=point.id,
                policy=whole,
            ),
        )
        assert credit(only, 2.0) <= allowed, point.id


@pytest.mark.parametrize("mbps", [5.0, 5.5])
def test_layers_that_wait_for_a_picture_are_not_given_up_for_the_next_one(mbps: float) -> None:
    """A picture that takes two frames' time to send once cost every other frame its layers."""
    manifest = read_ladder(EXAMPLES / "progressive.toml")
    slower = credit(run(named_trace("steady:4.5"), manifest=manifest)[60:])
    faster = credit(run(named_trace(f"steady:{mbps}"), manifest=manifest)[60:])
    assert faster > slower - 0.015  # that cost it 0.09


def test_no_frame_misses_its_deadline_on_a_link_that_comes_and_goes() -> None:
    trace = steps((20.0, 0.3), (0.0, 0.15), (2.0, 0.4), (50.0, 0.2), (0.4, 0.3))
    for sla_s in (0.05, 0.1):
        records = run(trace, sla_s=sla_s)
        assert all(r.deadline_met for r in records)
        assert min(r.quality for r in records) >= EXIT_ACCURACY
        assert credit(records) > LOCAL_ACCURACY + 0.02


def test_outage_is_survived_and_layers_flow_again() -> None:
    records = run(steps((10.0, 4.0), (0.0, 2.0), (10.0, 60.0)))
    assert all(r.deadline_met for r in records)
    back = next(r for r in records if r.captured_s >= 6.0 and r.source is Source.EDGE)
    assert back.captured_s < 6.6
    assert credit(records, 7.5) > 0.74


def test_jitter_costs_little_and_no_deadline() -> None:
    calm = run(named_trace("steady:8"))
    rough = run(named_trace("steady:8"), jitter_s=0.003)
    assert sum(not r.deadline_met for r in rough) == 0
    # Doubt has its price: layers that may be late are left out for the sake of other devices.
    assert credit(rough, 2.0) > credit(calm, 2.0) - 0.045


def test_two_runs_are_the_same() -> None:
    trace = steps((20.0, 0.3), (1.0, 0.15), (6.0, 0.4))
    brief = Pace(30, 4)
    assert run(trace, pace=brief) == run(trace, pace=brief)


def test_uninsured_frames_of_which_nothing_arrives_are_not_answered() -> None:
    records = run(
        steps((10.0, 5.0), (0.0, 60.0)),
        manifest=progressive_manifest(insured=False),
        insured=False,
        pace=Pace(30, 6),
    )
    lost = [r for r in records if r.source is Source.NONE]
    assert lost
    assert all(r.answered_point is None and r.quality == 0 for r in lost)


def test_devices_that_share_a_link_all_get_their_share() -> None:
    runs = simulate_many(
        MANIFEST,
        Scenario(
            profile=PROFILE,
            link=Link(named_trace("steady:12"), 0.02),
            pace=PACE,
            sla_s=0.1,
        ),
        num_devices=3,
    )
    credits = [credit(records, 4.0) for records in runs]
    assert min(credits) > LOCAL_ACCURACY + 0.05
    assert max(credits) - min(credits) < 0.06


def test_an_edge_whose_loop_is_8_ms_late_still_answers_frames_that_wait_for_layers() -> None:
    """Every layer of 20 kB takes 40 ms of this link, so frames are cut short at the last moment."""
    late = Machines(edge=Lateness(least_s=0.008))
    records = run(named_trace("steady:4"), machines=late)
    settled = [r for r in records if r.captured_s > 1.0]
    assert sum(r.source is Source.EDGE for r in settled) / len(settled) > 0.95
    assert all(r.deadline_met for r in settled)


def test_an_uplink_that_is_never_idle_does_not_make_answers_late() -> None:
    """Within seconds the edge has seen no message that did not wait, and dates all by as much."""
    rungs = ((2600, 0.6), (2800, 0.62), (3100, 0.64))
    manifest = ladder_manifest(Ladder(tuple(prefixes(rungs, exit_accuracy=None))))
    pace = Pace(fps=30, duration_s=25)
    records = run(steps((0.645, 25.0)), manifest=manifest, pace=pace, insured=False)
    late = [record for record in records if record.captured_s > 1 and not record.deadline_met]
    assert len(late) < 0.02 * len(records)
