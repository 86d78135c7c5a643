"""The device's talk with one edge: what it sends, in how many messages, and how much of it."""

from dataclasses import replace

import pytest

from headgate.runtime.session.conversation import (
    MANY_MALFORMED,
    Conversation,
)
from headgate.runtime.session.events import Send
from headgate.runtime.session.greeting import State
from headgate.runtime.wire.headers import SPOKEN_VERSIONS
from headgate.runtime.wire.messages import (
    Frame,
    Hello,
    Load,
    Message,
    Probe,
    ProbeReply,
    Reject,
    RejectReason,
    Result,
    Welcome,
)
from headgate.runtime.wire.wire import decode

DIGEST = "ab" * 32


def welcomed(*, version: int = 3, max_in_flight: int = 100) -> Conversation:
    """Return a conversation that may send, its link not yet known."""
    talk = Conversation(family_digest=DIGEST)
    talk.connected(now_s=0.0)
    talk.welcomed(Welcome(version, DIGEST, 1 << 22, max_in_flight), now_s=0.02)
    return talk


def messages(send: Send) -> list[Message]:
    return [decode(parts) for parts in send.messages]


def frame(num_bytes: int, *, frame_id: int = 7) -> Frame:
    return Frame(frame_id, 3, 80_000, bytes(num_bytes))


@pytest.mark.parametrize("version", SPOKEN_VERSIONS)
def test_a_large_frame_is_sliced_in_the_version_agreed_on(version: int) -> None:
    send = welcomed(version=version).send_frame(frame(10_000), now_s=0.1)
    assert send.frame_id == 7
    slices = messages(send)
    assert len(slices) == 5
    assert all(isinstance(piece, Frame) and piece.frame_id == 7 for piece in slices)
    assert [parts[0][4] for parts in send.messages] == [version] * 5


def test_a_small_frame_is_one_message_and_carries_the_devices_clock() -> None:
    sent = messages(welcomed().send_frame(frame(9_999), now_s=0.1))
    assert sent == [replace(frame(9_999), sent_us=100_000)]


def test_probes_carry_the_devices_clock() -> None:
    talk = Conversation(family_digest=DIGEST)
    talk.connected(now_s=0.0)
    sends = talk.welcomed(Welcome(3, DIGEST, 1 << 22, 100), now_s=5000.5)
    probes = [message for send in sends for message in messages(send)]
    assert [p.sent_us for p in probes if isinstance(p, Probe)] == [705_532_704] * 2


def answer(frame_id: int, *, now_s: float) -> Result:
    return Result(frame_id, 3, round(now_s * 1e6), 0, 0, 0, 0, Load(0, 0), ())


def test_an_edge_that_answers_nothing_is_sent_no_more_than_it_admits() -> None:
    talk = welcomed(max_in_flight=8)
    num_sent = 0
    while talk.outlook(now_s=0.1) is not None:
        talk.send_frame(frame(500, frame_id=num_sent), now_s=0.1)
        num_sent += 1
    assert num_sent == 8


def test_welcome_to_the_first_of_two_hellos_does_not_show_a_path_without_delay() -> None:
    talk = Conversation(family_digest=DIGEST)
    talk.connected(now_s=0.0)
    assert len(talk.handle_timer(None, now_s=0.5)) == 1  # HELLO again
    talk.welcomed(Welcome(3, DIGEST, 1 << 22, 100), now_s=0.6)
    assert talk.delay_s == pytest.approx(0.6)
    talk.traffic.probe_answered(ProbeReply(0, 5_000_000, 0), now_s=1.2)
    assert talk.delay_s == pytest.approx(0.6)


def test_welcome_that_waited_for_its_edge_does_not_outlive_the_first_probe_as_the_delay() -> None:
    talk = Conversation(family_digest=DIGEST)
    talk.connected(now_s=0.0)
    for now_s in (0.5, 1.5):
        talk.handle_timer(None, now_s=now_s)
    talk.welcomed(Welcome(3, DIGEST, 1 << 22, 100), now_s=1.52)  # the edge heard the third
    talk.traffic.probe_answered(ProbeReply(0, 5_000_000, 0), now_s=1.54)
    assert talk.delay_s == pytest.approx(0.02)


def test_delay_that_is_known_is_not_learnt_from_a_welcome_to_several_hellos() -> None:
    talk = welcomed()
    talk.disconnected()
    talk.connected(now_s=5.0)
    talk.handle_timer(None, now_s=5.5)
    talk.welcomed(Welcome(3, DIGEST, 1 << 22, 100), now_s=5.501)
    assert talk.delay_s == pytest.approx(0.02)


def test_an_edge_that_finds_frame_after_frame_malformed_is_greeted_anew() -> None:
    """At HELLO it forgets what it holds of us: one damaged frame id must not last for ever."""
    talk = welcomed()
    said: list[Message] = []
    for frame_id in range(MANY_MALFORMED):
        assert not any(isinstance(message, Hello) for message in said)
        talk.send_frame(frame(500, frame_id=frame_id), now_s=1.0 + frame_id)
        reject = Reject(frame_id, RejectReason.MALFORMED, "frame 2097434 began")
        for send in talk.rejected(reject, now_s=1.1 + frame_id):
            said += messages(send)
    assert isinstance(said[-1], Hello)
    assert talk.outlook(now_s=9.0) is None
    talk.welcomed(Welcome(3, DIGEST, 1 << 22, 100), now_s=9.1)
    assert talk.outlook(now_s=9.2) is not None


def test_malformed_frames_among_answered_ones_are_no_reason_to_greet() -> None:
    talk = welcomed()
    for frame_id in range(0, 20, 2):
        now_s = 1.0 + frame_id
        talk.send_frame(frame(500, frame_id=frame_id), now_s=now_s)
        talk.send_frame(frame(500, frame_id=frame_id + 1), now_s=now_s)
        assert talk.rejected(Reject(frame_id, RejectReason.MALFORMED, ""), now_s=now_s + 0.1) == []
        talk.answered(answer(frame_id + 1, now_s=now_s), now_s=now_s + 0.1)


def test_a_second_welcome_changes_nothing_nor_one_that_comes_after_a_refusal() -> None:
    talk = welcomed()
    assert talk.welcomed(Welcome(2, DIGEST, 100, 1), now_s=0.03) == []
    assert talk.takes(101)
    assert talk.takes_layers
    talk.rejected(Reject(None, RejectReason.WRONG_FAMILY, "another"), now_s=0.04)
    assert talk.welcomed(Welcome(3, DIGEST, 1 << 22, 100), now_s=0.05) == []
    assert talk.state is State.REFUSED
    assert not talk.takes(1)


@pytest.mark.parametrize(
    ("reason", "pauses"),
    [
        (RejectReason.BUSY, True),
        (RejectReason.FAILED, True),
        (RejectReason.EXPIRED, False),
        (RejectReason.LOST_REFERENCE, False),
    ],
)
def test_an_edge_is_left_alone_where_it_asks_for_it_until_the_next_connection(
    reason: RejectReason, pauses: bool
) -> None:
    talk = welcomed()
    talk.send_frame(frame(500), now_s=1.0)
    talk.rejected(Reject(7, reason, ""), now_s=1.1)
    assert (talk.outlook(now_s=1.101) is None) == pauses
    assert (talk.pause_ends_s(now_s=1.101) is not None) == pauses
    talk.connected(now_s=1.102)
    talk.welcomed(Welcome(3, DIGEST, 1 << 22, 100), now_s=1.103)
    assert talk.outlook(now_s=1.104) is not None
