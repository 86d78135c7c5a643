"""The device's state machine, event by event: every frame ends once, and its record says how."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.profiles.profile import Profile, allowed_points
from headgate.runtime.records import Source
from headgate.runtime.session.events import ComputeFailed
from headgate.runtime.session.traffic import MAX_AHEAD_BYTES
from headgate.runtime.wire.messages import Frame, Goodbye, Reject, RejectReason, Welcome
from runtime.device_bench import HELPED, MANIFEST, OFFLOAD, PROFILE, SPLIT, WELCOME, Bench, result
from runtime.ladders import EXIT_ACCURACY


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


def test_a_frame_without_a_picture_ends_at_once_and_supersedes_nothing() -> None:
    bench = Bench()
    first, second = bench.capture(), bench.capture()
    third = bench.capture_unreadable()
    (record,) = bench.records
    assert (record.frame_id, record.source, record.reason) == (
        third,
        Source.NONE,
        "picture unreadable",
    )
    assert (record.profile, record.point, record.deadline_met) == (PROFILE.name, None, False)
    assert [effect.frame_id for effect in bench.computes] == [first]
    bench.compute()
    assert [effect.frame_id for effect in bench.computes] == [second]


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
    assert bench.records[0].reason == "edge busy"


def test_in_a_pause_that_the_edge_asked_for_the_uplink_is_not_called_full() -> None:
    bench = Bench(SPLIT).welcomed()
    frame_id = bench.capture()
    bench.compute()
    bench.receive(Reject(frame_id, RejectReason.BUSY, ""))
    bench.capture()
    assert [record.reason for record in bench.records] == ["edge rejected: busy", "edge busy"]


def test_a_link_on_which_too_much_is_under_way_already_is_full() -> None:
    bench = Bench(SPLIT, sla_s=None)
    bench.take(bench.session.connected(now_s=bench.now_s))
    bench.receive(replace(WELCOME, max_in_flight=2000))
    bench.answer_probes()
    while not bench.records:
        bench.capture()
        if bench.computes:
            bench.compute()
    assert 564 * (bench.next_id - 1) >= MAX_AHEAD_BYTES  # of those before it
    assert bench.records[0].reason == "uplink full"


@pytest.mark.parametrize("reason", [RejectReason.BUSY, RejectReason.EXPIRED, RejectReason.FAILED])
def test_rejected_frame_is_answered_by_its_exit(reason: RejectReason) -> None:
    bench = Bench(SPLIT).welcomed()
    frame_id = bench.capture()
    bench.compute()
    bench.receive(Reject(frame_id, reason, ""))
    (record,) = bench.records
    assert record.source is Source.LOCAL
    assert record.reason == f"edge rejected: {reason.name.lower()}"


@pytest.mark.parametrize("sla_s", [0.1, None])
def test_an_answer_whose_durations_cannot_be_is_as_good_as_a_rejection(sla_s: float | None) -> None:
    """Nothing else will come of its frame, which waited 10 s more where it had no deadline."""
    bench = Bench(SPLIT, sla_s=sla_s).welcomed()
    frame_id = bench.capture()
    bench.compute()
    bench.now_s += 0.03
    bench.receive(replace(result(frame_id), tail_us=4_000_000_000))
    (record,) = bench.records
    assert (record.source, record.reason) == (Source.LOCAL, "edge rejected: failed")
    assert not bench.session.edge.traffic.is_waiting  # nor does the link seem to stand still


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
    assert {(record.profile, record.sla_s) for record in bench.records} == {("split-only", 0.1)}
    bench.compute()  # the engine finishes what it had begun
    assert len(bench.records) == 3


events = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "capture",
                "capture",
                "unreadable",
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
    elif event == "unreadable":
        bench.capture_unreadable()
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
