from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest

from headgate.profiles.errors import UsageError
from headgate.profiles.parse import parse, unparse


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
        ({"name": "x"}, r"f: keys \['inner'\] are missing"),
        ({"name": "x", "inner": {"size_px": 3, "sise": 1}}, r"f\.inner: unknown keys \['sise'\]"),
        ({"name": 1, "inner": {"size_px": 3}}, r"f\.name: expected text, found 1"),
        ({"name": "x", "inner": {"size_px": True}}, r"f\.inner\.size_px: expected a whole number"),
        ({"name": "x", "inner": {"size_px": 3.5}}, r"f\.inner\.size_px: expected a whole number"),
        ({"name": "x", "inner": {"size_px": 3}, "colour": "blue"}, r"f\.colour: 'blue' is not one"),
        ({"name": "x", "inner": {"size_px": 3}, "pair": [1]}, r"f\.pair: expected 2 items"),
        ({"name": "x", "inner": {"size_px": 3}, "many": {}}, r"f\.many: expected a list"),
        ({"name": "x", "inner": {"size_px": 3}, "table": {"k": "v"}}, r"f\.table\.k: expected a"),
        ({"name": "x", "inner": {"size_px": 3}, "share": float("nan")}, r"f\.share: expected a fi"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(value: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(Outer, value, where="f", error=UsageError)
