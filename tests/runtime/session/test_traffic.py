"""What is under way to the edge: how much of it there may be, and what its answers teach."""

from collections import deque
from dataclasses import replace

import pytest

from headgate.profiles.errors import WireError
from headgate.runtime.session.traffic import LOST_S, MAX_AHEAD_BYTES, Traffic
from headgate.runtime.wire.messages import Ack, Frame, Load, ProbeReply, Result


def known(*, rtt_s: float = 0.02) -> Traffic:
    """Return what is under way after the first probe: nothing, on a path of that delay."""
    traffic = Traffic()
    traffic.hello_sent(now_s=-rtt_s)
    traffic.hello_answered(first_s=None, now_s=0.0)
    return traffic


def frame(num_bytes: int, *, frame_id: int = 7) -> Frame:
    return Frame(frame_id, 3, 80_000, bytes(num_bytes))


def layer(number: int, *, last: bool = False, num_bytes: int = 500) -> Frame:
    return Frame(7, 3, 80_000, bytes(num_bytes), layer=number, last=last)


def answer(frame_id: int, *, now_s: float) -> Result:
    return Result(frame_id, 3, round(now_s * 1e6), 0, 0, 0, 0, Load(0, 0), ())


def test_there_is_no_room_once_the_bound_of_bytes_on_their_way_is_reached() -> None:
    traffic, num_frames = known(), 0
    while not traffic.is_overfull:
        traffic.frame_sent(frame(50_000, frame_id=num_frames), num_messages=10, now_s=0.1)
        num_frames += 1
    assert num_frames == -(-MAX_AHEAD_BYTES // 50_640)


def test_frames_on_a_long_path_do_not_count_as_those_that_the_edge_admits() -> None:
    period_s, rtt_s = 1 / 30, 0.6  # 18 frames are under way at a time
    traffic = known(rtt_s=rtt_s)
    out: deque[tuple[int, float]] = deque()
    sent = []
    for frame_id in range(300):
        now_s = frame_id * period_s
        while out and out[0][1] + rtt_s <= now_s:
            arrived_id, sent_s = out.popleft()
            told = answer(arrived_id, now_s=sent_s)
            traffic.frame_answered(told, layers=0, now_s=sent_s + rtt_s)
        if traffic.has_room(max_in_flight=8, now_s=now_s):
            traffic.frame_sent(frame(500, frame_id=frame_id), num_messages=1, now_s=now_s)
            out.append((frame_id, now_s))
            sent.append(frame_id)
    assert set(range(100, 300)) <= set(sent)
    assert len(sent) < 300  # at first no pace is known


def test_a_frame_that_was_never_answered_makes_room_after_a_while() -> None:
    traffic = known()
    traffic.frame_sent(frame(500), num_messages=1, now_s=1.0)
    assert not traffic.has_room(max_in_flight=1, now_s=1.0 + LOST_S)
    assert traffic.has_room(max_in_flight=1, now_s=1.001 + LOST_S)


def test_a_frame_that_the_socket_did_not_take_is_not_under_way() -> None:
    traffic = known()
    traffic.frame_sent(frame(500), num_messages=1, now_s=1.0)
    traffic.unsent(7)
    assert not traffic.is_waiting
    assert traffic.has_room(max_in_flight=1, now_s=1.0)


@pytest.mark.parametrize(
    ("residence_s", "tail_s", "message"),
    [
        (0.060, 0.050, None),
        (8.0, 0.050, "8.000 s at the edge, 0.070 s after it was sent"),
        (4294.0, 4294.0, "check the edge's clock"),
        (0.060, 2097.152, "2097.152 s of that in its stages"),
    ],
)
def test_durations_that_cannot_be_teach_nothing(
    residence_s: float, tail_s: float, message: str | None
) -> None:
    traffic = known()
    traffic.frame_sent(frame(500), num_messages=1, now_s=1.0)
    told = Result(
        7, 3, 1_000_000, round(residence_s * 1e6), 0, 0, round(tail_s * 1e6), Load(0, 0), ()
    )
    if message is None:
        assert traffic.frame_answered(told, layers=0, now_s=1.07) == pytest.approx(0.010)
        return
    with pytest.raises(WireError, match=message):
        traffic.frame_answered(told, layers=0, now_s=1.07)
    assert traffic.waited_s(now_s=2.0) > 0.9  # the frame counts as not answered


def test_durations_are_looked_at_though_the_frame_counted_as_lost() -> None:
    """A device that believed them kept from its edge for hundreds of frames."""
    traffic = known()
    traffic.frame_sent(frame(500), num_messages=1, now_s=1.0)
    assert traffic.has_room(max_in_flight=1, now_s=2.0 + LOST_S)
    told = Result(7, 3, 1_000_000, 4_294_000_000, 0, 0, 4_293_000_000, Load(0, 0), ())
    with pytest.raises(WireError, match="check the edge's clock"):
        traffic.frame_answered(told, layers=0, now_s=2.0 + LOST_S)


def test_an_answer_to_what_was_not_sent_or_had_one_tells_no_time() -> None:
    traffic = known()
    traffic.frame_sent(frame(500), num_messages=1, now_s=1.0)
    assert traffic.frame_answered(answer(8, now_s=1.0), layers=0, now_s=1.03) is None
    assert traffic.frame_answered(answer(7, now_s=1.0), layers=0, now_s=1.03) == pytest.approx(0.03)
    assert traffic.frame_answered(answer(7, now_s=1.0), layers=0, now_s=1.04) is None


def test_each_ack_frees_the_link_of_one_message_and_the_result_of_the_last() -> None:
    traffic = known()
    for number, num_bytes in enumerate((500, 700, 900)):
        traffic.layers_sent(layer(number, num_bytes=num_bytes, last=number == 2), now_s=1.0)
    ahead = [traffic.outlook(now_s=1.0).ahead_bytes]
    for number in (1, 2):
        traffic.acked(Ack(7, number, 5_000_000), now_s=1.02 + number / 1000)
        ahead.append(traffic.outlook(now_s=1.03).ahead_bytes)
    assert ahead == [2292, 1728, 964]
    assert not traffic.has_room(max_in_flight=1, now_s=1.03)
    assert traffic.frame_answered(answer(7, now_s=1.0), layers=3, now_s=1.04) == pytest.approx(0.04)
    assert not traffic.is_waiting
    assert traffic.has_room(max_in_flight=1, now_s=1.07)


def test_fragments_of_a_layer_are_under_way_and_their_frame_is_in_flight_with_the_last() -> None:
    traffic = known()
    for fragment in range(3):
        piece = replace(layer(0, last=True), fragment=fragment, fragments=3)
        traffic.layers_sent(piece, now_s=1.0)
        assert traffic.has_room(max_in_flight=1, now_s=1.0) == (fragment < 2)
    for _ in range(2):
        traffic.acked(Ack(7, 0, 5_000_000), now_s=1.03)
    assert traffic.is_waiting
    traffic.frame_answered(answer(7, now_s=1.0), layers=1, now_s=1.04)
    assert not traffic.is_waiting


def test_a_fragment_of_the_last_layer_has_its_ack_though_the_frame_was_answered_without() -> None:
    traffic = known()
    traffic.layers_sent(layer(0), now_s=1.0)
    traffic.acked(Ack(7, 1, 5_000_000), now_s=1.03)
    traffic.layers_sent(replace(layer(1, last=True), fragments=3), now_s=1.03)
    traffic.frame_answered(answer(7, now_s=1.0), layers=1, now_s=1.05)
    assert traffic.is_waiting
    traffic.acked(Ack(7, 1, 5_030_000), now_s=1.06)
    assert not traffic.is_waiting


def test_all_layers_of_a_message_are_on_the_link() -> None:
    traffic = known()
    traffic.layers_sent(replace(layer(0), more_layers=(bytes(300), bytes(20))), now_s=1.0)
    assert traffic.outlook(now_s=1.0).ahead_bytes == 500 + 300 + 20 + 64


def test_each_probe_is_answered_by_its_own_reply() -> None:
    traffic = known()
    for probe_id in (0, 1, 2):
        traffic.probe_sent(probe_id, padding_bytes=100, now_s=1.0)
    traffic.probe_answered(ProbeReply(1, 5_000_000, 0), now_s=1.03)
    assert traffic.outlook(now_s=1.03).ahead_bytes == 152
    traffic.probe_answered(ProbeReply(2, 5_000_000, 0), now_s=1.03)
    assert not traffic.is_waiting


@pytest.mark.parametrize("by", ["probe", "ack", "result"])
def test_a_way_back_that_jitters_is_told_from_a_slow_link_by_the_edges_clock(by: str) -> None:
    """80 kbit leave in 10 ms; the answer comes 0.2 s later than it should."""
    traffic = known()
    for probe_id in range(8):
        sent_s = 1.0 + probe_id / 10
        traffic.probe_sent(probe_id, padding_bytes=0, now_s=sent_s)
        told = ProbeReply(probe_id, round((sent_s + 500.01) * 1e6), 0)
        traffic.probe_answered(told, now_s=sent_s + 0.02)
    arrived_us, back_s = round(502.02 * 1e6), 2.23
    if by == "probe":
        traffic.probe_sent(99, padding_bytes=10_000, now_s=2.0)
        traffic.probe_answered(ProbeReply(99, arrived_us, 0), now_s=back_s)
    elif by == "ack":
        traffic.layers_sent(layer(0, num_bytes=10_000), now_s=2.0)
        traffic.acked(Ack(7, 1, arrived_us), now_s=back_s)
    else:
        traffic.frame_sent(frame(10_000), num_messages=1, now_s=2.0)
        told_s = arrived_us / 1e6
        traffic.frame_answered(answer(7, now_s=told_s), layers=0, now_s=back_s)
    assert traffic.outlook(now_s=back_s).rate_bps > 4e6


def test_the_answer_to_a_frame_becomes_certain_once_a_later_message_was_answered() -> None:
    """The uplink keeps the order, so the edge has the frame by then."""
    traffic = known()
    traffic.frame_sent(frame(50_000), num_messages=1, now_s=1.0)
    assert traffic.answer_chance(7, by_s=1.021, now_s=1.0) < 0.5
    traffic.probe_sent(0, padding_bytes=0, now_s=1.0)
    traffic.probe_answered(ProbeReply(0, 5_000_000, 0), now_s=1.1)
    assert traffic.answer_chance(7, by_s=1.101, now_s=1.1) == 1.0


def test_a_progressive_frame_can_be_answered_as_soon_as_its_first_layer_is_there() -> None:
    traffic = known()
    traffic.layers_sent(layer(0), now_s=1.0)
    traffic.layers_sent(layer(1, num_bytes=50_000), now_s=1.0)
    assert traffic.answer_chance(7, by_s=1.021, now_s=1.0) < 1.0
    traffic.acked(Ack(7, 1, 5_000_000), now_s=1.03)
    assert traffic.answer_chance(7, by_s=1.031, now_s=1.03) == 1.0


def test_a_connection_that_is_gone_leaves_nothing_under_way_but_what_was_learnt() -> None:
    traffic = known(rtt_s=0.05)
    traffic.frame_sent(frame(500, frame_id=6), num_messages=1, now_s=1.0)
    traffic.layers_sent(layer(0, last=True), now_s=1.0)
    traffic.forget_all()
    assert not traffic.is_waiting
    assert traffic.has_room(max_in_flight=1, now_s=1.0)
    assert traffic.delay_s == pytest.approx(0.05)
    for frame_id, layers in ((6, 0), (7, 1)):
        told = answer(frame_id, now_s=1.0)
        assert traffic.frame_answered(told, layers=layers, now_s=1.1) is None
