"""Messages that are out, in their order on the uplink."""

from headgate.runtime.link.sent_messages import MAX_UNANSWERED, SentMessage, SentMessages


def message(key: int, *, num_bytes: int = 100) -> SentMessage:
    return SentMessage(key, num_bytes, 1.0, (), 0)


def out(*messages: SentMessage) -> SentMessages:
    made = SentMessages()
    for each in messages:
        made.add(each)
    return made


def test_what_was_sent_before_one_that_arrived_has_arrived_too_and_may_be_answered() -> None:
    first, second, third = message(1), message(2), message(3)
    made = out(first, second, third)
    assert made.answered(2) is second
    assert made.arrived_up_to(second) == 200
    assert (len(made), made.num_bytes, made.first) == (1, 100, third)
    assert made.answered(1) is first
    assert first.arrived
    assert made.answered(1) is None


def test_a_message_that_never_left_is_not_waited_for() -> None:
    made = out(message(1), message(2, num_bytes=50))
    made.take_back(2)
    made.take_back(2)
    assert (len(made), made.num_bytes) == (1, 100)
    assert made.answered(2) is None


def test_a_message_that_is_taken_back_after_it_arrived_changes_nothing() -> None:
    first, second = message(1), message(2)
    made = out(first, second)
    made.arrived_up_to(second)
    made.take_back(1)
    assert (len(made), made.num_bytes) == (0, 0)


def test_bytes_up_to_a_message_are_those_that_the_uplink_serves_before_it_is_through() -> None:
    made = out(message(1), message(2, num_bytes=50), message(3))
    assert made.bytes_up_to(2) == 150
    assert made.bytes_up_to(9) == 0


def test_messages_that_an_edge_never_answers_are_forgotten_oldest_first() -> None:
    made = out(*(message(key) for key in range(MAX_UNANSWERED + 1)))
    assert made.answered(0) is None
    assert made.answered(1) is not None
