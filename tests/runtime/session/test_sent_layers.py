"""Which message of a progressive frame an answer is of."""

from headgate.runtime.session.sent_layers import SentLayers


def sent(*messages: tuple[int, bool], frame_id: int = 7) -> SentLayers:
    """Messages by the layers that the edge has with each, and whether it completes the frame."""
    out = SentLayers()
    for key, (layers, completes) in enumerate(messages):
        out.sent(frame_id, key, layers=layers, completes=completes, now_s=1.0 + key)
    return out


def test_acks_are_of_the_messages_in_their_order_and_the_result_of_the_last() -> None:
    out = sent((0, False), (1, False), (3, True))
    assert [out.acked(7, layers=0), out.acked(7, layers=1)] == [0, 1]
    assert out.sent_s(7) == 1.0
    assert out.answered(7, layers=3) == 2  # the one that completes the frame has no ACK
    assert 7 not in out


def test_message_that_would_complete_a_frame_and_comes_while_its_batch_runs_has_its_ack() -> None:
    """It must not seem to be out until something else is answered: that looks like a stall."""
    out = sent((1, False), (3, True))
    assert [out.acked(7, layers=1), out.acked(7, layers=1)] == [0, 1]
    assert out.answered(7, layers=1) is None
    assert 7 not in out


def test_result_for_fewer_layers_answers_no_message_and_the_rest_is_acknowledged() -> None:
    out = sent((1, False), (2, False), (3, True))
    out.acked(7, layers=1)
    assert out.answered(7, layers=1) is None
    assert [out.acked(7, layers=1), out.acked(7, layers=1)] == [1, 2]
    assert 7 not in out


def test_reject_of_a_frame_that_is_not_let_in_answers_its_first_message() -> None:
    out = sent((1, False), (2, False))
    assert out.rejected(7) == 0
    assert out.acked(7, layers=0) == 1


def test_an_edge_that_rejects_what_it_has_acknowledged_answers_no_message() -> None:
    """As when the frame's time is over."""
    out = sent((1, False), (2, False))
    assert [out.acked(7, layers=1), out.acked(7, layers=2)] == [0, 1]
    assert out.acked(7, layers=2) is None  # what no proper edge says
    assert out.rejected(7) is None
    assert 7 not in out


def test_nothing_is_left_of_a_connection_that_is_gone() -> None:
    out = sent((1, False))
    out.clear()
    assert 7 not in out
    assert out.acked(7, layers=1) is None


def test_reject_of_a_frame_whose_first_layer_came_in_fragments_answers_the_last_of_them() -> None:
    """It is let in, or not, once that layer is whole; the fragments before it had their ACKs."""
    out = sent((0, False), (1, False), (2, False))
    assert out.acked(7, layers=0) == 0
    assert out.rejected(7) == 1
    assert out.acked(7, layers=1) == 2
    assert 7 not in out


def test_reject_of_a_complete_frame_answers_the_message_that_completed_it() -> None:
    out = sent((1, False), (2, True))
    out.acked(7, layers=1)
    assert out.rejected(7) == 1
    assert 7 not in out


def test_reject_of_a_growing_frame_answers_no_message() -> None:
    out = sent((1, False), (2, False))
    out.acked(7, layers=1)
    assert out.rejected(7) is None
    assert out.acked(7, layers=1) == 1


def test_frame_has_arrived_once_a_whole_layer_is_acknowledged() -> None:
    out = sent((0, False), (1, False), (2, False))
    assert out.first_layer_key(7) == 1
    out.acked(7, layers=0)
    assert not out.has_arrived(7)
    out.acked(7, layers=1)
    assert out.has_arrived(7)
    assert not out.has_arrived(8)


def test_frames_that_are_never_answered_do_not_pile_up() -> None:
    out = SentLayers()
    for frame_id in range(1000):
        out.sent(frame_id, frame_id, layers=1, completes=False, now_s=0.0)
    assert 0 not in out
    assert 999 in out


def test_answers_of_unknown_frames_are_of_no_message() -> None:
    out = SentLayers()
    assert out.acked(1, layers=1) is None
    assert out.rejected(1) is None
    assert out.unsent(1) is None
