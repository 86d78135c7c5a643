"""When a device says HELLO, and when again."""

import pytest

from headgate.runtime.session.greeting import Greeting, Refusal


def test_hello_is_repeated_ever_later_until_a_new_connection_begins() -> None:
    greeting = Greeting()
    now_s, gaps_s = 10.0, []
    for _ in range(5):
        greeting.said(now_s=now_s)
        assert greeting.due_s is not None
        gaps_s.append(greeting.due_s - now_s)
        now_s = greeting.due_s
    assert gaps_s == pytest.approx([0.5, 1.0, 2.0, 4.0, 4.0])
    greeting.begin()
    assert greeting.due_s is None
    greeting.said(now_s=now_s)
    assert greeting.due_s == pytest.approx(now_s + 0.5)


def test_only_the_first_hello_of_a_connection_is_answered_for_certain() -> None:
    greeting = Greeting()
    greeting.wait(now_s=1.0)  # an edge that leaves is greeted a little later
    assert not greeting.is_repeated
    greeting.said(now_s=1.5)
    assert not greeting.is_repeated
    greeting.said(now_s=2.5)
    assert greeting.is_repeated
    assert greeting.first_s == 1.5


def test_an_edges_words_cannot_forge_lines_or_order_a_terminal_about() -> None:
    refusal = Refusal("wrong_family", "gone\nINFO all is well\x1b[2J, caf\u00e9")
    assert refusal.words == "gone?INFO all is well?[2J, caf\u00e9"
