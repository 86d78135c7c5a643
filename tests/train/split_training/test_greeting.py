"""Claims about what a client says of itself, and what a server makes of it."""

import pytest

from headgate.profiles.errors import WireError
from headgate.train.split_training.greeting import Greeting, disagreements, greeting_from_bytes

GREETING = Greeting("ann", "1f", True, 32, {"seed": 0})


def test_a_greeting_is_read_as_it_was_written() -> None:
    assert greeting_from_bytes(GREETING.to_bytes()) == GREETING


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff", "not JSON"),
        (b"[]", "expected the keys"),
        (b"{}", "expected the keys"),
        (GREETING.to_bytes().replace(b"32", b'"a"'), "HELLO.num_pictures: expected int"),
        (GREETING.to_bytes().replace(b"true", b"1"), "HELLO.is_fresh: expected bool"),
        (GREETING.to_bytes().replace(b'"ann"', b'""'), "HELLO.name"),
        (GREETING.to_bytes().replace(b"32", b"9" * 400), "HELLO.num_pictures: expected 0 to"),
        (GREETING.to_bytes().replace(b"32", b"-1"), "HELLO.num_pictures: expected 0 to"),
        (b"[" * 16_000, "not JSON"),
        (b" " * 20_000, "at most 16384"),
    ],
)
def test_a_greeting_that_is_none_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(WireError, match=said):
        greeting_from_bytes(data)


def test_what_differs_is_said_with_both_sides() -> None:
    ours, theirs = {"seed": 0, "model": "vgg11"}, {"seed": 1, "split": "0"}
    assert disagreements(ours, theirs) == [
        "seed: server 0, client 1",
        "model: server vgg11, client nothing",
        "split: server nothing, client 0",
    ]
    assert disagreements(ours, dict(ours)) == []


def test_what_a_peer_said_is_printed_short_and_harmless() -> None:
    """It goes to the server's log, and back to the peer as UTF-8."""
    (said,) = disagreements({}, {"\ud800": "\x1b[2J" + 9000 * "x"})
    assert said.encode().isascii()
    assert "\x1b" not in said
    assert len(said) < 200
