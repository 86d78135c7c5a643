"""Slices of frames, in order and out of it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.profiles.errors import WireError
from headgate.runtime.wire.bursts import MESSAGE_OVERHEAD_BYTES
from headgate.runtime.wire.fragments import Assembled, Reassembly, fragment
from headgate.runtime.wire.messages import NO_BURST, Burst, Frame

FRAME = Frame(frame_id=7, point_index=3, budget_us=100, payload=b"abcdefg")


def reassembly(max_payload_bytes: int = 100) -> Reassembly:
    return Reassembly(max_payload_bytes=max_payload_bytes)


@given(st.binary(min_size=1, max_size=200), st.integers(1, 300))
def test_slices_put_together_are_the_frame(payload: bytes, max_fragment_bytes: int) -> None:
    frame = Frame(7, 3, 100, payload)
    slices = fragment(frame, max_fragment_bytes)
    assert max(len(piece.payload) for piece in slices) <= max_fragment_bytes
    pile = reassembly(max_payload_bytes=len(payload))
    *before, whole = [pile.add(piece, now_s=float(i)) for i, piece in enumerate(slices)]
    assert before == [None] * (len(slices) - 1)
    assert isinstance(whole, Assembled)
    assert (whole.frame, whole.first_arrived_s) == (frame, 0.0)
    assert pile.num_bytes == 0


def test_a_small_frame_is_one_slice_and_not_copied() -> None:
    assert fragment(FRAME, 7) == [FRAME]
    whole = reassembly().add(FRAME, now_s=5.0)
    assert whole is not None
    assert whole.frame.payload is FRAME.payload


def test_slices_are_numbered_in_order() -> None:
    pieces = fragment(FRAME, 3)
    assert [(p.fragment, p.fragments, p.payload) for p in pieces] == [
        (0, 3, b"abc"),
        (1, 3, b"def"),
        (2, 3, b"g"),
    ]


def test_a_slice_out_of_order_is_refused_and_drops_the_frame() -> None:
    pile = reassembly()
    first, second, third = fragment(FRAME, 3)
    pile.add(first, now_s=0.0)
    with pytest.raises(WireError, match="fragment 2 of 3 came where fragment 1 of frame 7"):
        pile.add(third, now_s=0.0)
    assert pile.num_bytes == 0
    assert pile.add(second, now_s=0.0) is None
    assert pile.num_bytes == 0


def test_a_slice_of_a_frame_that_never_began_is_refused_once() -> None:
    pile = reassembly()
    _, second, third = fragment(FRAME, 3)
    with pytest.raises(WireError, match="where nothing could follow"):
        pile.add(second, now_s=0.0)
    assert pile.add(third, now_s=0.0) is None


def test_a_refused_frame_may_be_sent_again_from_its_first_slice() -> None:
    pile = reassembly()
    pieces = fragment(FRAME, 3)
    pile.add(pieces[0], now_s=0.0)
    pile.refuse(FRAME.frame_id)
    assert [pile.add(piece, now_s=1.0) for piece in pieces] == [None, None, Assembled(FRAME, 1.0)]


def test_a_slice_sent_twice_is_refused() -> None:
    pile = reassembly()
    first, second, _ = fragment(FRAME, 3)
    pile.add(first, now_s=0.0)
    pile.add(second, now_s=0.0)
    with pytest.raises(WireError, match="in order, unmixed"):
        pile.add(second, now_s=0.0)


@pytest.mark.parametrize(
    "other",
    [
        Frame(8, 3, 100, b"def", 0, 1, 3),
        Frame(7, 4, 100, b"def", 0, 1, 3),
        Frame(7, 3, 101, b"def", 0, 1, 3),
        Frame(7, 3, 100, b"def", 1, 1, 3),
        Frame(7, 3, 100, b"def", 0, 1, 4),
    ],
)
def test_slices_of_two_frames_are_not_mixed(other: Frame) -> None:
    pile = reassembly()
    pile.add(fragment(FRAME, 3)[0], now_s=0.0)
    with pytest.raises(WireError, match="unmixed"):
        pile.add(other, now_s=0.0)


def test_the_first_slice_of_a_newer_frame_abandons_an_unfinished_one() -> None:
    pile = reassembly()
    pile.add(fragment(FRAME, 3)[0], now_s=0.0)
    newer = Frame(8, 3, 100, b"new")
    assert pile.add(newer, now_s=2.0) == Assembled(newer, first_arrived_s=2.0)


def test_a_frame_may_not_grow_beyond_the_limit_slice_by_slice() -> None:
    pile = reassembly(max_payload_bytes=6)
    first, second, third = fragment(FRAME, 3)
    pile.add(first, now_s=0.0)
    pile.add(second, now_s=0.0)
    with pytest.raises(WireError, match="more than 6 bytes of payload"):
        pile.add(third, now_s=0.0)
    assert pile.num_bytes == 0


def test_a_whole_frame_tells_how_its_slices_came_in() -> None:
    pile = reassembly()
    first, second, third = fragment(FRAME, 3)
    pile.add(first, now_s=1.0)
    pile.add(second, now_s=1.010)
    whole = pile.add(third, now_s=1.013)
    assert whole is not None
    headers = 2 * MESSAGE_OVERHEAD_BYTES
    assert whole.burst == Burst(3, 13_000, 4 + headers, largest_gap_us=10_000)


def test_an_abandoned_frame_leaves_no_arrivals_behind() -> None:
    pile = reassembly()
    pile.add(fragment(FRAME, 3)[0], now_s=1.0)
    pile.add(fragment(FRAME, 3)[1], now_s=1.5)
    whole = pile.add(replace(FRAME, frame_id=8), now_s=2.0)
    assert whole is not None
    assert whole.burst == NO_BURST


def test_a_frame_in_one_slice_is_held_to_the_limit_and_abandons_an_unfinished_one() -> None:
    pile = reassembly(max_payload_bytes=7)
    first, second, _ = fragment(FRAME, 3)
    pile.add(first, now_s=0.0)
    assert pile.add(replace(FRAME, frame_id=8), now_s=0.1) is not None
    assert pile.num_bytes == 0
    with pytest.raises(WireError, match="where nothing could follow"):
        pile.add(second, now_s=0.2)
    with pytest.raises(WireError, match="more than 7 bytes"):
        pile.add(replace(FRAME, payload=b"abcdefgh"), now_s=0.3)


def test_a_frame_has_waited_since_its_last_slice_and_is_passed_over_once_given_up() -> None:
    pile = reassembly()
    first, second, third = fragment(FRAME, 3)
    assert not pile.has_waited_since(9.0)
    pile.give_up()  # nothing to give up
    pile.add(first, now_s=1.0)
    pile.add(second, now_s=2.0)
    assert not pile.has_waited_since(1.9)
    assert pile.has_waited_since(2.0)
    pile.give_up()
    assert (pile.num_bytes, pile.has_waited_since(9.0)) == (0, False)
    assert pile.add(third, now_s=3.0) is None
