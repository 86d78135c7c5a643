"""The device's state machine, event by event."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.profiles.errors import WireError
from headgate.profiles.manifest import OperatingPoint, PointKind
from headgate.profiles.profile import Profile, allowed_points
from headgate.runtime.device_session import DeviceSession
from headgate.runtime.events import (
    Answer,
    Compute,
    Computed,
    ComputeFailed,
    Deliver,
    Effect,
    Send,
)
from headgate.runtime.records import FrameRecord, Source
from headgate.runtime.wire import (
    Frame,
    Goodbye,
    Hello,
    Load,
    Message,
    NamedTensor,
    Probe,
    ProbeReply,
    Reject,
    RejectReason,
    Result,
    Welcome,
    decode,
    encode,
)
from runtime.ladders import EXIT_ACCURACY, LOCAL_ACCURACY, LOCAL_S, ladder_manifest

MANIFEST = ladder_manifest()
PROFILE = Profile(name="test")
SPLIT = Profile(name="split-only", kinds=(PointKind.SPLIT,))
OFFLOAD = Profile(name="offload-only", kinds=(PointKind.OFFLOAD,))
HELPED = Profile(name="helped", kinds=(PointKind.OFFLOAD, PointKind.LOCAL))
WELCOME = Welcome(3, MANIFEST.digest, max_payload_bytes=1 << 20, max_in_flight=8)
EXIT_ANSWER = Answer({"probabilities": np.array([0.3, 0.7], np.float32)}, 1, 0.7)


class Bench:
    """A session with its clock and what it asked for."""

    def __init__(self, profile: Profile = PROFILE, *, sla_s: float | None = 0.1) -> None:
        points = allowed_points(profile, MANIFEST)
        self.session = DeviceSession(manifest=MANIFEST, profile=profile, points=points, sla_s=sla_s)
        self.now_s = 100.0
        self.sent: list[Message] = []
        self.computes: list[Compute] = []
        self.records: list[FrameRecord] = []
        self.next_id = 0

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(_, messages):
                    self.sent += [decode(parts) for parts in messages]
                case Compute():
                    self.computes.append(effect)
                case Deliver(record, _):
                    self.records.append(record)

    def receive(self, message: Message) -> None:
        self.take(self.session.received(encode(message), now_s=self.now_s))

    def welcomed(self) -> "Bench":
        """Connect, and answer the greeting and the probes 20 ms later."""
        self.take(self.session.connected(now_s=self.now_s))
        self.now_s += 0.02
        self.receive(WELCOME)
        self.answer_probes()
        return self

    def answer_probes(self) -> None:
        self.now_s += 0.02
        probes = [message for message in self.sent if isinstance(message, Probe)]
        self.sent = [message for message in self.sent if not isinstance(message, Probe)]
        for probe in probes:
            self.receive(ProbeReply(probe.probe_id, round(self.now_s * 1e6), 0))

    def capture(self, *, truth: int | None = None) -> int:
        frame_id = self.next_id
        self.next_id += 1
        self.take(
            self.session.frame_captured(
                frame_id, captured_s=self.now_s, now_s=self.now_s, truth=truth
            )
        )
        return frame_id

    def compute(self) -> OperatingPoint:
        """Finish the running compute at once."""
        effect = self.computes.pop()
        local = effect.point.kind is PointKind.LOCAL
        offload = effect.point.kind is PointKind.OFFLOAD
        outcome = Computed(None if local else b"x" * 500, None if offload else EXIT_ANSWER, 0, 0)
        self.take(self.session.computed(effect.frame_id, outcome, now_s=self.now_s))
        return effect.point

    def compute_next(self) -> OperatingPoint:
        """Capture a frame, finish its compute, and let the edge answer it if it was sent."""
        frame_id = self.capture()
        point = self.compute()
        if point.kind is not PointKind.LOCAL:
            self.now_s += 0.02
            self.receive(result(frame_id, now_s=self.now_s))
        return point

    def timer(self) -> None:
        due_s = self.session.next_timer_s()
        assert due_s is not None
        self.now_s = max(self.now_s, due_s)
        self.take(self.session.handle_timer(now_s=self.now_s))


def result(frame_id: int, *, label: int = 0, now_s: float = 100.0) -> Result:
    scores = np.array([0.9, 0.1] if label == 0 else [0.1, 0.9], np.float32)
    return Result(
        frame_id=frame_id,
        point_index=0,
        arrived_us=round(now_s * 1e6),
        residence_us=3000,
        queue_us=1000,
        decode_us=500,
        tail_us=1400,
        load=Load(0, 0),
        tensors=(NamedTensor("probabilities", scores),),
    )


def test_connection_is_greeted_and_frames_go_to_the_edge_once_welcomed() -> None:
    bench = Bench(SPLIT)
    bench.take(bench.session.connected(now_s=bench.now_s))
    assert isinstance(bench.sent[0], Hello)
    assert bench.sent[0].family_digest == MANIFEST.digest
    assert not bench.session.has_edge
    bench.receive(WELCOME)
    assert bench.session.has_edge
    bench.answer_probes()
    bench.capture()
    assert bench.compute().kind is PointKind.SPLIT
    assert isinstance(bench.sent[-1], Frame)


def test_greeting_is_repeated_until_it_is_answered() -> None:
    bench = Bench()
    bench.take(bench.session.connected(now_s=bench.now_s))
    for _ in range(3):
        bench.timer()
    assert [type(message) for message in bench.sent] == [Hello] * 4
    assert 3.0 < bench.now_s - 100.0 < 6.0


def test_answer_is_delivered_once_with_its_stages() -> None:
    bench = Bench(SPLIT).welcomed()
    captured_s = bench.now_s
    frame_id = bench.capture(truth=0)
    bench.now_s += 0.004
    bench.compute()
    bench.now_s += 0.030
    bench.receive(result(frame_id))
    bench.receive(result(frame_id))
    (record,) = bench.records
    assert (record.source, record.reason, record.kind) == (Source.EDGE, "edge", "split")
    assert (record.label, record.label_name, record.correct) == (0, "cat", True)
    assert record.num_bytes == 500
    assert record.deadline_met
    assert record.captured_s == captured_s
    assert record.stages.wait_s == 0.0
    assert record.stages.uplink_s == pytest.approx(0.027)
    assert record.stages.queue_s == pytest.approx(0.001)
    assert record.stages.tail_s == pytest.approx(0.0014)
    assert record.stages.total_s == pytest.approx(0.034)


def test_exit_answers_just_before_the_deadline_and_a_late_result_changes_nothing() -> None:
    bench = Bench(SPLIT).welcomed()
    captured_s = bench.now_s
    frame_id = bench.capture(truth=1)
    bench.compute()
    while not bench.records:
        bench.timer()
    (record,) = bench.records
    assert (record.source, record.reason, record.label) == (Source.LOCAL, "edge too late", 1)
    assert record.deadline_met
    assert record.correct
    assert record.quality == EXIT_ACCURACY
    assert 0.09 < bench.now_s - captured_s < 0.1
    bench.receive(result(frame_id))
    assert len(bench.records) == 1


def test_offload_frame_without_answer_is_given_up_long_after_its_deadline() -> None:
    bench = Bench(OFFLOAD).welcomed()
    captured_s = bench.now_s
    bench.capture(truth=1)
    bench.compute()
    while not bench.records:
        bench.timer()
    (record,) = bench.records
    assert (record.source, record.deadline_met, record.correct) == (Source.NONE, False, False)
    assert bench.now_s - captured_s > 1.0


def test_offload_answer_after_the_deadline_is_delivered_as_late() -> None:
    bench = Bench(OFFLOAD).welcomed()
    frame_id = bench.capture()
    bench.compute()
    bench.now_s += 0.2
    bench.receive(result(frame_id))
    (record,) = bench.records
    assert (record.source, record.deadline_met) == (Source.EDGE, False)


def test_newest_frame_wins_and_the_older_one_is_superseded() -> None:
    bench = Bench()
    first = bench.capture()
    second, third = bench.capture(), bench.capture()
    assert [effect.frame_id for effect in bench.computes] == [first]
    assert [(r.frame_id, r.reason) for r in bench.records] == [(second, "superseded")]
    bench.compute()
    assert [effect.frame_id for effect in bench.computes] == [third]


def test_pending_frame_whose_deadline_is_over_is_not_started() -> None:
    bench = Bench()
    bench.capture()
    bench.capture()
    bench.now_s += 0.2
    bench.compute()
    assert bench.computes == []
    assert [record.reason for record in bench.records] == ["local", "too late to start"]


def test_head_that_takes_too_long_is_answered_by_its_exit_and_not_sent() -> None:
    bench = Bench(SPLIT).welcomed()
    bench.capture()
    bench.now_s += 0.099
    bench.sent.clear()
    bench.compute()
    assert bench.sent == []
    assert bench.records[0].reason == "too late to send"
    assert bench.records[0].source is Source.LOCAL
    assert bench.records[0].num_bytes == 0


def test_budget_is_what_is_left_less_the_delay_of_the_path() -> None:
    bench = Bench(SPLIT).welcomed()
    bench.capture()
    bench.now_s += 0.010
    bench.compute()
    frame = bench.sent[-1]
    assert isinstance(frame, Frame)
    assert frame.budget_us == pytest.approx(70_000, abs=10)


def test_failed_compute_ends_the_frame() -> None:
    bench = Bench()
    bench.capture()
    effect = bench.computes.pop()
    failed = ComputeFailed("camera gave a torn picture")
    bench.take(bench.session.computed(effect.frame_id, failed, now_s=bench.now_s))
    assert bench.records[0].reason == "failed: camera gave a torn picture"
    assert bench.session.wants_frame


def test_lost_connection_ends_what_waits_and_the_next_frame_is_local() -> None:
    bench = Bench().welcomed()
    bench.capture()
    assert bench.compute().kind is PointKind.SPLIT
    bench.take(bench.session.disconnected(now_s=bench.now_s))
    assert bench.records[0].source is Source.LOCAL
    assert bench.records[0].reason == "edge disconnected"
    bench.capture()
    assert bench.compute().kind is PointKind.LOCAL


def test_frame_that_cannot_be_sent_is_answered_by_its_exit() -> None:
    bench = Bench(SPLIT).welcomed()
    frame_id = bench.capture()
    bench.compute()
    bench.take(bench.session.send_failed(frame_id, now_s=bench.now_s))
    (record,) = bench.records
    assert (record.reason, record.source, record.num_bytes) == ("not sent", Source.LOCAL, 0)
    assert bench.session.send_failed(None, now_s=bench.now_s) == []


def test_payload_over_the_edges_limit_is_not_sent() -> None:
    bench = Bench(SPLIT)
    bench.take(bench.session.connected(now_s=bench.now_s))
    bench.receive(Welcome(3, MANIFEST.digest, max_payload_bytes=499, max_in_flight=8))
    bench.answer_probes()
    bench.capture()
    bench.compute()
    assert bench.records[0].reason == "too large for the edge"


def test_no_more_frames_are_in_flight_than_the_edge_takes() -> None:
    bench = Bench(SPLIT, sla_s=None)
    bench.take(bench.session.connected(now_s=bench.now_s))
    bench.receive(Welcome(3, MANIFEST.digest, max_payload_bytes=1 << 20, max_in_flight=2))
    bench.answer_probes()
    for _ in range(2):
        bench.capture()
        bench.compute()
    bench.capture()
    assert bench.computes == []
    assert bench.records[0].reason == "uplink full"


@pytest.mark.parametrize(
    "reason", [RejectReason.WRONG_FAMILY, RejectReason.WRONG_VERSION, RejectReason.UNAUTHORISED]
)
def test_refusal_is_told_and_not_questioned_on_its_connection(reason: RejectReason) -> None:
    bench = Bench()
    bench.take(bench.session.connected(now_s=bench.now_s))
    bench.receive(Reject(None, reason, "no"))
    refusal = bench.session.edge.refusal
    assert refusal is not None
    assert (refusal.reason, refusal.detail) == (reason.name.lower(), "no")
    bench.sent.clear()
    bench.capture()
    assert bench.compute().kind is PointKind.LOCAL
    bench.now_s += 60.0
    bench.take(bench.session.handle_timer(now_s=bench.now_s))
    assert bench.sent == []


def test_edge_that_comes_back_with_the_right_family_is_used_again() -> None:
    bench = Bench(SPLIT)
    bench.take(bench.session.connected(now_s=bench.now_s))
    bench.receive(Reject(None, RejectReason.WRONG_FAMILY, "no"))
    bench.take(bench.session.disconnected(now_s=bench.now_s))
    assert bench.session.edge.refusal is not None  # what the run ends with, if nobody comes
    bench.sent.clear()
    bench.welcomed()
    assert bench.session.edge.refusal is None
    bench.capture()
    assert bench.compute().kind is PointKind.SPLIT


@pytest.mark.parametrize("reason", [RejectReason.BUSY, RejectReason.EXPIRED, RejectReason.FAILED])
def test_rejected_frame_is_answered_by_its_exit(reason: RejectReason) -> None:
    bench = Bench(SPLIT).welcomed()
    frame_id = bench.capture()
    bench.compute()
    bench.receive(Reject(frame_id, reason, ""))
    (record,) = bench.records
    assert record.source is Source.LOCAL
    assert record.reason == f"edge rejected: {reason.name.lower()}"


def test_busy_edge_is_left_alone_for_a_while_and_longer_each_time() -> None:
    bench = Bench().welcomed()
    silences_s = []
    for _ in range(3):
        frame_id = bench.capture()
        assert bench.compute().kind is PointKind.SPLIT
        bench.receive(Reject(frame_id, RejectReason.BUSY, ""))
        began_s = bench.now_s
        while True:
            bench.now_s += 0.01
            bench.capture()
            if bench.computes[-1].point.kind is not PointKind.LOCAL:
                bench.next_id -= 1
                bench.compute()
                bench.receive(Reject(bench.next_id, RejectReason.EXPIRED, ""))
                bench.next_id += 1
                break
            bench.compute()
        silences_s.append(bench.now_s - began_s)
    assert silences_s[0] < silences_s[1] < silences_s[2] < 0.5


def test_edge_that_forgot_us_is_greeted_at_once_and_one_that_leaves_a_little_later() -> None:
    bench = Bench(SPLIT).welcomed()
    bench.capture()
    bench.compute()
    bench.sent.clear()
    bench.receive(Reject(None, RejectReason.UNKNOWN_PEER, ""))
    assert [type(message) for message in bench.sent] == [Hello]
    assert bench.records[0].source is Source.LOCAL
    bench.receive(WELCOME)
    bench.sent.clear()
    bench.receive(Goodbye())
    assert bench.sent == []
    assert not bench.session.has_edge
    bench.timer()
    assert [type(message) for message in bench.sent] == [Hello]


def test_without_an_edge_and_without_local_points_frames_end_at_once() -> None:
    bench = Bench(OFFLOAD)
    bench.capture(truth=0)
    assert bench.records[0].reason == "no edge"
    assert bench.records[0].source is Source.NONE


def test_profile_takes_effect_with_the_frame_it_names() -> None:
    bench = Bench()
    bench.capture()
    bench.capture()  # pending
    quick = Profile(name="quick", sla_ms=40.0)
    first = bench.session.set_profile(quick, allowed_points(quick, MANIFEST), now_s=bench.now_s)
    assert first == 1
    bench.compute()
    bench.compute()
    assert [(r.frame_id, r.profile, r.sla_s) for r in bench.records] == [
        (0, "test", 0.1),
        (1, "quick", 0.04),
    ]
    first = bench.session.set_profile(PROFILE, allowed_points(PROFILE, MANIFEST), now_s=0.0)
    assert first == 2
    bench.capture()
    bench.compute()
    assert bench.records[-1].profile == "test"


def test_finish_waits_for_open_frames_and_then_says_goodbye() -> None:
    bench = Bench(SPLIT).welcomed()
    frame_id = bench.capture()
    bench.take(bench.session.finish(now_s=bench.now_s))
    assert not bench.session.drained
    bench.compute()
    assert not bench.session.drained
    bench.receive(result(frame_id))
    assert bench.session.drained
    assert isinstance(bench.sent[-1], Goodbye)
    assert bench.session.next_timer_s() is None


def test_finish_at_once_ends_every_open_frame() -> None:
    bench = Bench(SPLIT).welcomed()
    bench.capture()
    bench.compute()
    bench.capture()
    bench.capture()
    bench.take(bench.session.finish(now_s=bench.now_s, at_once=True))
    assert bench.session.drained
    assert sorted(record.frame_id for record in bench.records) == [0, 1, 2]
    assert {record.reason for record in bench.records} == {"stopped"}
    bench.compute()  # the engine finishes what it had begun
    assert len(bench.records) == 3


def test_probes_stop_when_frames_stop() -> None:
    bench = Bench().welcomed()
    bench.capture()
    bench.compute()
    bench.receive(result(0))
    for _ in range(100):
        if bench.session.next_timer_s() is None:
            break
        bench.timer()
        bench.answer_probes()
    assert bench.session.next_timer_s() is None


@pytest.mark.parametrize(
    "message",
    [
        Hello((1,), MANIFEST.digest, 1000),
        Probe(1),
        Frame(0, 0, 0, b"x"),
        Welcome(3, "00" * 32, 1000, 1),
    ],
)
def test_what_no_proper_edge_says_is_a_wire_error(message: Message) -> None:
    bench = Bench().welcomed()
    with pytest.raises(WireError):
        bench.session.received(encode(message), now_s=bench.now_s)


def test_result_without_the_familys_output_is_a_wire_error_and_the_frame_still_ends() -> None:
    bench = Bench(SPLIT).welcomed()
    frame_id = bench.capture()
    bench.compute()
    zeros = NamedTensor("x", np.zeros(2, np.float32))
    nan = NamedTensor("probabilities", np.array([0.5, np.nan], np.float32))
    for tensor, message in ((zeros, "expected 'probabilities'"), (nan, "not finite")):
        bad = Result(frame_id, 0, 0, 0, 0, 0, 0, Load(0, 0), (tensor,))
        with pytest.raises(WireError, match=message):
            bench.session.received(encode(bad), now_s=bench.now_s)
    while not bench.records:
        bench.timer()
    assert bench.records[0].source is Source.LOCAL


events = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "capture",
                "capture",
                "compute",
                "compute",
                "fail",
                "result",
                "result",
                "reject",
                "timer",
                "connect",
                "welcome",
                "disconnect",
                "unsent",
                "profile",
                "probes",
            ]
        ),
        st.integers(0, 5),
        st.floats(0, 0.15),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(
    events=events,
    profile=st.sampled_from([PROFILE, HELPED]),
    sla_s=st.sampled_from([None, 0.05, 0.1]),
    at_once=st.booleans(),
)
def test_every_frame_gets_exactly_one_record_in_any_order_of_events(
    events: list[tuple[str, int, float]], profile: Profile, sla_s: float | None, at_once: bool
) -> None:
    bench = Bench(profile, sla_s=sla_s)
    for event, choice, step_s in events:
        bench.now_s += step_s
        apply(bench, event, choice)
        assert len(bench.records) + bench.session.num_open == bench.next_id
    bench.take(bench.session.finish(now_s=bench.now_s, at_once=at_once))
    for _ in range(1000):
        if bench.session.drained:
            break
        if bench.computes:
            bench.compute()
        else:
            bench.timer()
    assert bench.session.drained
    assert sorted(record.frame_id for record in bench.records) == list(range(bench.next_id))
    for record in bench.records:
        assert record.deadline_met <= (record.source is not Source.NONE)


def apply(bench: Bench, event: str, choice: int) -> None:
    """Let one thing happen that could happen now; frames named may be long over."""
    session, now_s = bench.session, bench.now_s
    frame_id = max(0, bench.next_id - 1 - choice)
    if event == "capture":
        bench.capture(truth=choice % 2)
    elif event == "compute" and bench.computes:
        bench.compute()
    elif event == "fail" and bench.computes:
        effect = bench.computes.pop()
        bench.take(session.computed(effect.frame_id, ComputeFailed("x"), now_s=now_s))
    elif event == "result":
        bench.receive(result(frame_id, now_s=now_s))
    elif event == "reject":
        bench.receive(Reject(frame_id if choice else None, list(RejectReason)[choice], "x"))
    elif event == "timer":
        bench.take(session.handle_timer(now_s=now_s))
    elif event == "connect":
        bench.take(session.connected(now_s=now_s))
    elif event == "welcome":
        bench.receive(WELCOME)
    elif event == "disconnect":
        bench.take(session.disconnected(now_s=now_s))
    elif event == "unsent":
        bench.take(session.send_failed(frame_id, now_s=now_s))
    elif event == "profile":
        profile = (PROFILE, SPLIT, OFFLOAD, HELPED)[choice % 4]
        session.set_profile(profile, allowed_points(profile, MANIFEST), now_s=now_s)
    elif event == "probes":
        bench.answer_probes()


def offloaded(bench: Bench) -> int:
    """Capture a frame and send it as a picture."""
    frame_id = bench.capture()
    assert bench.compute().kind is PointKind.OFFLOAD
    assert isinstance(bench.sent[-1], Frame)
    return frame_id


def helped(*, sla_s: float | None = 0.3) -> Bench:
    """Return a bench whose controller offloads, with room to answer locally after all."""
    bench = Bench(HELPED, sla_s=sla_s).welcomed()
    while bench.compute_next().kind is PointKind.LOCAL:  # until the link seems fast enough
        bench.now_s += 0.03
        bench.answer_probes()
    return bench


def test_picture_whose_edge_is_lost_is_answered_by_a_local_point_in_time() -> None:
    bench = helped()
    frame_id = offloaded(bench)
    bench.now_s += 0.01
    bench.take(bench.session.disconnected(now_s=bench.now_s))
    bench.records.clear()
    assert (bench.computes[-1].frame_id, bench.computes[-1].point.id) == (frame_id, "local-full")
    bench.now_s += 0.02
    bench.compute()
    (record,) = bench.records
    assert (record.frame_id, record.source, record.reason) == (
        frame_id,
        Source.LOCAL,
        "edge disconnected",
    )
    assert record.deadline_met
    assert record.kind == "offload"
    assert record.num_bytes == 500
    assert record.quality == LOCAL_ACCURACY


def test_picture_without_time_for_a_local_point_ends_unanswered_when_its_edge_is_lost() -> None:
    bench = helped()
    offloaded(bench)
    bench.now_s += 0.3 - LOCAL_S
    bench.take(bench.session.disconnected(now_s=bench.now_s))
    assert [r.source for r in bench.records[-1:]] == [Source.NONE]
    assert bench.session.num_open == 0


def test_picture_that_is_not_answered_by_the_last_call_is_insured_and_answered_in_time() -> None:
    bench = helped()
    frame_id = offloaded(bench)
    captured_s = bench.now_s
    bench.records.clear()
    while not bench.computes:
        bench.timer()
    assert bench.now_s < captured_s + 0.3 - LOCAL_S
    bench.now_s += LOCAL_S
    bench.compute()
    assert bench.records == []  # the edge has until the deadline
    while not bench.records:
        bench.timer()
    (record,) = bench.records
    assert (record.source, record.reason) == (Source.LOCAL, "edge too late")
    assert record.deadline_met
    bench.receive(result(frame_id))
    assert len(bench.records) == 1
    assert bench.session.num_open == 0


def test_edge_that_answers_during_the_rescue_wins() -> None:
    bench = helped()
    frame_id = offloaded(bench)
    bench.records.clear()
    while not bench.computes:
        bench.timer()
    bench.receive(result(frame_id, now_s=bench.now_s))
    (record,) = bench.records
    assert (record.source, record.deadline_met) == (Source.EDGE, True)
    assert bench.session.num_open == 0
    bench.compute()
    assert len(bench.records) == 1


def test_rescue_that_fails_leaves_the_frame_to_the_edge_and_ends_it_once() -> None:
    bench = helped()
    frame_id = offloaded(bench)
    bench.records.clear()
    while not bench.computes:
        bench.timer()
    effect = bench.computes.pop()
    bench.take(bench.session.computed(frame_id, ComputeFailed("odd"), now_s=bench.now_s))
    assert bench.session.num_open == 1
    while not bench.records:
        bench.timer()
    assert effect.frame_id == frame_id
    assert [record.source for record in bench.records] == [Source.NONE]
    assert bench.session.num_open == 0


def test_rescue_in_progress_ends_once_when_the_device_is_stopped() -> None:
    bench = helped()
    offloaded(bench)
    bench.records.clear()
    bench.take(bench.session.disconnected(now_s=bench.now_s))
    bench.take(bench.session.finish(now_s=bench.now_s, at_once=True))
    assert [record.reason for record in bench.records] == ["stopped"]
    assert bench.session.drained
    bench.compute()
    assert len(bench.records) == 1


def test_picture_without_an_sla_is_answered_locally_however_late_its_edge_is_lost() -> None:
    bench = helped(sla_s=None)
    offloaded(bench)
    bench.records.clear()
    bench.now_s += 5.0
    bench.take(bench.session.disconnected(now_s=bench.now_s))
    bench.compute()
    assert [record.source for record in bench.records] == [Source.LOCAL]
