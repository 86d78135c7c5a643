from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pytest

from headgate.profiles.errors import UsageError
from headgate.profiles.parse import ADDED, parse, unparse


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    size_px: int


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    share: float = 0.5
    colour: Colour = Colour.RED
    pair: tuple[int, str] = (1, "a")
    many: tuple[Inner, ...] = ()
    table: dict[str, float] | None = None


@dataclass(frozen=True)
class Later:
    name: str
    note: str | None = field(default=None, metadata=ADDED)
    table: dict[str, float] = field(default_factory=dict, metadata=ADDED)


def test_a_field_that_came_later_is_written_only_where_it_says_something() -> None:
    assert unparse(Later("x")) == {"name": "x"}
    value = Later("x", "y", {"k": 1.0})
    assert unparse(value) == {"name": "x", "note": "y", "table": {"k": 1.0}}
    assert parse(Later, {"name": "x"}, where="f", error=UsageError) == Later("x")
    assert parse(Later, unparse(value), where="f", error=UsageError) == value


def test_what_is_written_is_read_back_equal() -> None:
    value = Outer("x", Inner(3), 1.0, Colour.RED, (2, "b"), (Inner(1), Inner(2)), {"k": 0.25})
    assert parse(Outer, unparse(value), where="here", error=UsageError) == value


def test_missing_keys_take_their_defaults_and_whole_numbers_pass_as_floats() -> None:
    value = parse(
        Outer, {"name": "x", "inner": {"size_px": 3}, "share": 1}, where="f", error=UsageError
    )
    assert value == Outer("x", Inner(3), 1.0)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], r"f: expected an object, found \[\]"),
        ({"name": "x"}, r"f: misses keys 'inner'; add them"),
        (
            {"name": "x", "inner": {"size_px": 3, "sise": 1}},
            r"f\.inner: unknown keys 'sise', known are size_px; ",
        ),
        ({str(key): 0 for key in range(9)}, r"f: unknown keys '0', .* '7' and 1 more, known are"),
        ({"name": 1, "inner": {"size_px": 3}}, r"f\.name: expected text, found 1"),
        ({"name": "x", "inner": {"size_px": True}}, r"f\.inner\.size_px: expected a whole number"),
        ({"name": "x", "inner": {"size_px": 3.5}}, r"f\.inner\.size_px: expected a whole number"),
        ({"name": "x", "inner": {"size_px": 3}, "colour": "blue"}, r"f\.colour: 'blue' is not one"),
        ({"name": "x", "inner": {"size_px": 3}, "pair": [1]}, r"f\.pair: expected 2 items"),
        ({"name": "x", "inner": {"size_px": 3}, "many": {}}, r"f\.many: expected a list"),
        ({"name": "x", "inner": {"size_px": 3}, "table": {"k": "v"}}, r"f\.table\.k: expected a"),
        ({"name": "x", "inner": {"size_px": 3}, "share": float("nan")}, r"f\.share: expected a fi"),
        ({"name": "x", "inner": {"size_px": 3}, "share": 10**400}, r"f\.share: expected a fi"),
        ({"name": "x", "inner": {"size_px": 3}, "share": -(10**400)}, r"f\.share: .* found -inf"),
        ({"name": "a\ud800", "inner": {"size_px": 3}}, r"f\.name: expected text, found half a ch"),
        ({"name": "x", "inner": {"size_px": 3}, "table": {"\udfff": 1.0}}, r"f\.table: .*half a"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(value: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(Outer, value, where="f", error=UsageError)
