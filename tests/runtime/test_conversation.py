"""The device's talk with one edge: what it sends, in how many messages, and how much of it."""

import pytest

from headgate.runtime.conversation import MAX_AHEAD_BYTES, Conversation
from headgate.runtime.events import Send
from headgate.runtime.wire import Frame, Message, Welcome, decode

DIGEST = "ab" * 32


def welcomed(*, version: int = 2, max_in_flight: int = 100) -> Conversation:
    """Return a conversation that may send, its link not yet known."""
    talk = Conversation(family_digest=DIGEST)
    talk.connected(now_s=0.0)
    talk.welcomed(Welcome(version, DIGEST, 1 << 22, max_in_flight), now_s=0.02)
    return talk


def messages(send: Send) -> list[Message]:
    return [decode(parts) for parts in send.messages]


def frame(num_bytes: int, *, frame_id: int = 7) -> Frame:
    return Frame(frame_id, 3, 80_000, bytes(num_bytes))


@pytest.mark.parametrize(("version", "num_slices"), [(1, 1), (2, 5)])
def test_a_large_frame_is_sliced_for_an_edge_that_notes_arrivals(
    version: int, num_slices: int
) -> None:
    send = welcomed(version=version).send_frame(frame(10_000), now_s=0.1)
    assert send.frame_id == 7
    slices = messages(send)
    assert len(slices) == num_slices
    assert all(isinstance(piece, Frame) and piece.frame_id == 7 for piece in slices)
    assert [parts[0][4] for parts in send.messages] == [version] * num_slices


def test_a_small_frame_is_one_message() -> None:
    assert messages(welcomed().send_frame(frame(9_999), now_s=0.1)) == [frame(9_999)]


def test_nothing_is_sent_while_the_bound_of_bytes_on_their_way_is_reached() -> None:
    talk = welcomed()
    num_frames = 0
    while talk.outlook(now_s=0.1) is not None:
        talk.send_frame(frame(50_000, frame_id=num_frames), now_s=0.1)
        num_frames += 1
    assert num_frames == -(-MAX_AHEAD_BYTES // 50_640)
