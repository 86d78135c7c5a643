"""Frames that the early exit is sure of: which are not sent, and what their records say."""

from dataclasses import replace

import numpy as np
import pytest

from headgate.profiles.confidence import Curve
from headgate.profiles.errors import FamilyError, UsageError
from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.profiles.profile import Profile, allowed_points
from headgate.runtime.choice.controller import Controller
from headgate.runtime.choice.policy import PolicyMaker
from headgate.runtime.records import FrameRecord, Source
from headgate.runtime.session.device_session import DeviceSession
from headgate.runtime.session.events import Answer, Compute, Computed, Deliver, Effect, Send
from headgate.runtime.session.frame_fate import SessionSettings
from headgate.runtime.session.skipping import SkipRule, skip_rule, weigh
from headgate.runtime.wire.messages import (
    Frame,
    Load,
    Message,
    NamedTensor,
    Probe,
    ProbeReply,
    Result,
    Welcome,
)
from headgate.runtime.wire.wire import decode, encode
from runtime.ladders import ladder_manifest
from runtime.told import Notes

PLAIN = ladder_manifest()
SPLIT = Profile(name="split-only", kinds=(PointKind.SPLIT,))
CERTAIN = Curve(slope=1.0, offset=0.0)  # the exit's probabilities are true


def calibrated(*, exit_curve: Curve = CERTAIN, edge_curve: Curve = CERTAIN) -> Manifest:
    """Return the ladder with these curves for its exit and for the edge at every split point."""
    return replace(
        PLAIN,
        members=tuple(replace(member, confidence=exit_curve) for member in PLAIN.members),
        points=tuple(
            replace(p, confidence=edge_curve) if p.kind is PointKind.SPLIT else p
            for p in PLAIN.points
        ),
    )


def answer(score: float) -> Answer:
    return Answer({"probabilities": np.array([1 - score, score], np.float32)}, 1, score)


def certainty(
    rule: SkipRule | None, manifest: Manifest, point: OperatingPoint, found: Answer | None
) -> float | None:
    """Return the chance that the exit is right where the frame is skipped, else None."""
    weighed = weigh(rule, manifest, point, found)
    return weighed.exit if weighed is not None and weighed.enough else None


def split_point(manifest: Manifest) -> OperatingPoint:
    return next(point for point in manifest.points if point.kind is PointKind.SPLIT)


def test_a_threshold_is_compared_with_the_calibrated_chance_and_not_with_the_score() -> None:
    timid = calibrated(exit_curve=Curve(slope=0.5, offset=0.0))
    rule = skip_rule("0.8", timid)
    point = split_point(timid)
    assert certainty(rule, timid, point, answer(0.9)) is None  # 0.75 after calibration
    chance = certainty(rule, timid, point, answer(0.95))
    assert chance == pytest.approx(0.8134, abs=1e-3)


def test_auto_sends_what_the_edge_is_more_likely_right_about() -> None:
    better = calibrated(edge_curve=Curve(slope=1.0, offset=0.1))
    worse = calibrated(edge_curve=Curve(slope=1.0, offset=-0.1))
    for score in (0.7, 0.9, 0.999):
        assert certainty(SkipRule(), better, split_point(better), answer(score)) is None
        sure = certainty(SkipRule(), worse, split_point(worse), answer(score))
        assert (sure is not None) == (score >= 0.68)  # the point's accuracy


def test_auto_sends_what_it_is_less_sure_of_than_the_point_is_accurate() -> None:
    manifest = calibrated(edge_curve=Curve(slope=0.0, offset=-5.0))
    point = split_point(manifest)
    assert point.metrics["top1"] == 0.68
    assert certainty(SkipRule(), manifest, point, answer(0.67)) is None
    assert certainty(SkipRule(), manifest, point, answer(0.69)) is not None


def test_nothing_else_is_ever_skipped() -> None:
    manifest = calibrated()
    offload = next(p for p in manifest.points if p.kind is PointKind.OFFLOAD)
    point = split_point(manifest)
    assert certainty(None, manifest, point, answer(0.999)) is None
    assert certainty(SkipRule(0.5), manifest, offload, answer(0.999)) is None
    assert certainty(SkipRule(0.5), manifest, point, None) is None
    assert certainty(SkipRule(0.5), PLAIN, split_point(PLAIN), answer(0.999)) is None


def test_a_family_without_curves_or_without_split_points_is_refused() -> None:
    with pytest.raises(FamilyError, match="--confidence-pictures 300"):
        skip_rule("auto", PLAIN)
    local = tuple(point for point in PLAIN.points if point.kind is PointKind.LOCAL)
    with pytest.raises(FamilyError, match="no split points"):
        skip_rule("auto", replace(PLAIN, points=local))


@pytest.mark.parametrize("text", ["frames.jsonl", "95", "0", "-0.5", "nan", ""])
def test_what_is_no_chance_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"found {text!r}, expected auto or a chance"):
        skip_rule(text, calibrated())


class Bench:
    """A session that talks to an edge, and what it asked for."""

    def __init__(self, rule: SkipRule | None, *, policy: PolicyMaker = Controller) -> None:
        manifest = calibrated(edge_curve=Curve(slope=1.0, offset=-0.1))
        self.session = DeviceSession(
            manifest=manifest,
            profile=SPLIT,
            points=allowed_points(SPLIT, manifest),
            sla_s=0.1,
            settings=SessionSettings(skip=rule),
            make_policy=policy,
        )
        self.now_s = 100.0
        self.sent: list[Message] = []
        self.records: list[FrameRecord] = []
        self.computes: list[Compute] = []
        self.take(self.session.connected(now_s=self.now_s))
        self.now_s += 0.02
        welcome = Welcome(3, manifest.digest, max_payload_bytes=1 << 20, max_in_flight=8)
        self.take(self.session.received(encode(welcome), now_s=self.now_s))
        self.now_s += 0.02
        self.answer_probes()

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(_, messages):
                    self.sent += [decode(parts) for parts in messages]
                case Deliver(record, _):
                    self.records.append(record)
                case Compute():
                    self.computes.append(effect)

    def answer_probes(self) -> int:
        """Answer the probes that are out; return how many they were."""
        probes = [message for message in self.sent if isinstance(message, Probe)]
        self.sent = [message for message in self.sent if not isinstance(message, Probe)]
        for probe in probes:
            reply = ProbeReply(probe.probe_id, round(self.now_s * 1e6), 0)
            self.take(self.session.received(encode(reply), now_s=self.now_s))
        return len(probes)

    def frame(self, frame_id: int, *, score: float) -> None:
        self.take(
            self.session.frame_captured(frame_id, captured_s=self.now_s, now_s=self.now_s, truth=1)
        )
        self.now_s += 0.004
        outcome = Computed(b"x" * 500, answer(score), 0.003, 0.001)
        self.take(self.session.computed(frame_id, outcome, now_s=self.now_s))

    @property
    def frames_sent(self) -> list[int]:
        return [message.frame_id for message in self.sent if isinstance(message, Frame)]


def test_a_sure_frame_is_answered_at_once_and_its_record_says_why() -> None:
    bench = Bench(SkipRule())
    bench.frame(0, score=0.97)
    (record,) = bench.records
    assert (record.source, record.reason) == (Source.LOCAL, "skipped: confident")
    assert (record.kind, record.num_bytes, record.correct) == ("split", 0, True)
    assert record.deadline_met
    assert record.quality == pytest.approx(0.97)
    assert record.stages.head_s == 0.003
    assert bench.frames_sent == []
    bench.frame(1, score=0.6)
    assert bench.frames_sent == [1]


def test_records_of_sent_frames_hold_the_chance_on_frames_of_their_kind() -> None:
    bench = Bench(SkipRule())
    bench.frame(0, score=0.6)
    scores = np.array([0.1, 0.9], np.float32)
    result = Result(
        0,
        0,
        round(bench.now_s * 1e6),
        3000,
        1000,
        500,
        1400,
        Load(0, 0),
        (NamedTensor("probabilities", scores),),
    )
    bench.now_s += 0.02
    bench.take(bench.session.received(encode(result), now_s=bench.now_s))
    bench.frame(1, score=0.6)
    bench.now_s += 0.2
    bench.take(bench.session.handle_timer(now_s=bench.now_s))
    by_edge, by_exit = bench.records
    assert (by_edge.source, by_exit.source) == (Source.EDGE, Source.LOCAL)
    assert by_edge.quality == pytest.approx(0.5758, abs=1e-3)  # 0.6 less 0.1 in log odds
    assert by_exit.quality == pytest.approx(0.6)


def test_a_frame_that_is_kept_back_is_no_sign_of_the_link() -> None:
    """Nobody waited for the edge: a miss of it would make later chances less believed."""
    notes = Notes()
    bench = Bench(SkipRule(), policy=notes.policy)
    bench.frame(0, score=0.97)
    bench.frame(1, score=0.6)
    bench.now_s += 0.2
    bench.take(bench.session.handle_timer(now_s=bench.now_s))
    assert [record.reason for record in bench.records] == ["skipped: confident", "edge too late"]
    assert [frame.by_edge for frame in notes.ended] == [None, False]
    assert notes.let_down == [False]


def test_without_a_rule_every_frame_is_sent() -> None:
    bench = Bench(None)
    bench.frame(0, score=0.999999)
    assert bench.frames_sent == [0]
    assert bench.records == []


def test_the_link_is_still_probed_while_every_frame_is_skipped() -> None:
    bench = Bench(SkipRule(0.5))
    num_probes = 0
    for frame_id in range(90):  # 3 s
        bench.frame(frame_id, score=0.9)
        due_s = bench.now_s + 1 / 30 - 0.004
        timer_s = bench.session.next_timer_s()
        while timer_s is not None and timer_s < due_s:
            bench.now_s = max(bench.now_s, timer_s)
            bench.take(bench.session.handle_timer(now_s=bench.now_s))
            bench.now_s += 0.02
            num_probes += bench.answer_probes()
            timer_s = bench.session.next_timer_s()
        bench.now_s = max(bench.now_s, due_s)
    assert len(bench.records) == 90
    assert num_probes >= 3
