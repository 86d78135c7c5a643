"""Layers of progressive frames, in turn and out of it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.profiles.errors import WireError
from headgate.runtime.edge.layers import LayeredFrame, LayerOrder, prefixes_by_point
from headgate.runtime.wire.messages import Frame
from runtime.layered import LAYERED, P1, P2, P3, SIZES, layers


def message(
    frame_id: int, first: int, num: int = 1, *, point: int = P3, last: bool = False
) -> Frame:
    return layers(frame_id, first, num, point=point, last=last, sent_s=1.0)


class Pile:
    """A peer's layers, with every message that begins a frame announced as the edge does it."""

    def __init__(self, *, max_payload_bytes: int = 1000) -> None:
        self.order = LayerOrder(max_payload_bytes=max_payload_bytes)
        self.now_s = 0.0

    def add(self, part: Frame, *, num_planned: int = 3) -> LayeredFrame | None:
        self.now_s += 1.0
        if part.layer == 0:
            self.order.began(part.frame_id)
        return self.order.add(part, num_planned=num_planned, now_s=self.now_s)

    def refused(self, part: Frame, match: str, *, num_planned: int = 3) -> None:
        with pytest.raises(WireError, match=match):
            self.add(part, num_planned=num_planned)
        self.order.refuse(part.frame_id)


def test_the_points_of_all_prefixes_are_known_by_the_planned_one() -> None:
    assert prefixes_by_point(LAYERED) == {P1: (P1,), P2: (P1, P2), P3: (P1, P2, P3)}


@given(st.sampled_from([(1, 1, 1), (2, 1), (1, 2), (3,)]))
def test_a_frame_is_the_same_however_its_layers_are_grouped(groups: tuple[int, ...]) -> None:
    pile, first = Pile(), 0
    frame = None
    for num in groups:
        assert frame is None or not frame.complete
        frame = pile.add(message(7, first, num))
        first += num
    assert frame is not None
    assert frame.layers == [b"\1" * 10, b"\2" * 20, b"\3" * 30]
    assert (frame.complete, frame.num_bytes) == (True, sum(SIZES))
    assert frame.arrived_s == len(groups)


def test_layers_are_counted_of_the_newest_frame_alone() -> None:
    pile = Pile()
    assert pile.order.num_layers(7) == 0
    pile.add(message(7, 0, 2))
    assert (pile.order.num_layers(7), pile.order.num_layers(8)) == (2, 0)


def test_a_frame_may_be_as_large_as_welcome_says_and_no_larger() -> None:
    assert Pile(max_payload_bytes=sum(SIZES)).add(message(7, 0, 3)) is not None
    Pile(max_payload_bytes=sum(SIZES) - 1).refused(message(7, 0, 3), "more than 59 bytes")


def test_the_mark_of_the_last_layer_completes_a_frame_before_its_plan_is_full() -> None:
    frame = Pile().add(message(7, 0, 2, last=True))
    assert frame is not None
    assert frame.complete


def test_another_frame_completes_the_one_before_it_once() -> None:
    pile = Pile()
    first = pile.add(message(7, 0))
    assert pile.order.began(7) is None  # a frame does not end itself
    assert pile.order.began(8) is first
    assert first is not None
    assert first.complete
    assert pile.order.began(8) is None


def test_a_closed_frame_takes_no_more_and_its_late_layers_are_nobodys_fault() -> None:
    pile = Pile()
    frame = pile.add(message(7, 0))
    assert frame is not None
    frame.closed = True
    assert pile.add(message(7, 1, 2)) is frame
    assert (frame.layers, frame.arrived_s) == ([b"\1" * 10], 1.0)
    assert pile.order.began(8) is None


@pytest.mark.parametrize(
    ("part", "match"),
    [
        (message(7, 2), "layer 2 came where layer 1 could follow"),
        (message(7, 0), "layer 0 came after frame 7 began"),
        (message(6, 0), "layer 0 came after frame 7 began"),
        (message(6, 1), "layer 1 came after frame 7 began; send a frame's layers unmixed"),
        (message(8, 1), "layer 1 came after frame 7 began"),
        (message(7, 1, point=P2), f"is of point {P2}, the frame began as point {P3}"),
        (message(7, 1, 3), f"layers up to 3, but its point {P3} sends 3"),
    ],
)
def test_layers_out_of_turn_are_refused_and_the_next_frame_is_fine(part: Frame, match: str) -> None:
    pile = Pile()
    pile.add(message(7, 0))
    pile.refused(part, match)
    assert pile.order.num_layers(7) == 1
    frame = pile.add(message(9, 0, 3))
    assert frame is not None
    assert frame.complete


def test_a_layer_before_any_frame_is_refused_once() -> None:
    pile = Pile()
    pile.refused(message(7, 1), "layer 1 came after nothing began")
    assert pile.add(message(7, 2)) is None


def test_a_layer_sent_twice_is_refused_and_the_rest_of_its_frame_passed_over() -> None:
    pile = Pile()
    pile.add(message(7, 0, 2))
    pile.refused(message(7, 1), "layer 1 came where layer 2 could follow")
    assert pile.add(message(7, 2)) is None


def test_a_layer_after_another_frame_began_is_refused_whatever_that_frame_is() -> None:
    pile = Pile()
    pile.add(message(7, 0))
    pile.order.began(3)  # a whole frame: their ids need no order
    pile.refused(message(7, 1), "layer 1 came after frame 3 began")


def test_a_layer_after_the_last_is_refused() -> None:
    pile = Pile()
    pile.add(message(7, 0, last=True))
    pile.refused(message(7, 1), "layer 1 came after the last")


def test_a_frame_that_began_with_too_many_layers_is_over() -> None:
    pile = Pile()
    pile.refused(message(7, 0, 3), "layers up to 2, but its point 5 sends 2", num_planned=2)
    assert pile.add(message(7, 1)) is None


def test_a_frame_may_not_grow_beyond_the_limit_layer_by_layer() -> None:
    pile = Pile(max_payload_bytes=59)
    pile.add(message(7, 0, 2))
    pile.refused(message(7, 2), "more than 59 bytes of payload")


def test_points_without_prefixes_are_not_among_the_prefixes() -> None:
    assert prefixes_by_point(replace(LAYERED, points=LAYERED.points[:4])) == {}
