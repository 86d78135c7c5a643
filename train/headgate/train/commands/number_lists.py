"""Lists of numbers as the options of commands take them: with commas between."""

from __future__ import annotations

from typing import Any

import click

from headgate.profiles.errors import UsageError


class NumberList(click.ParamType[tuple[int, ...]]):
    """Whole numbers with commas between them, such as 128,32,4."""

    name = "n,n,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of whole numbers such as 128,32,4", param, ctx)


class BudgetList(click.ParamType[tuple[Any, ...]]):
    """Numbers of maps, or shares of phi: 128,32,4 or phi,phi/4,2."""

    name = "n,n,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        from headgate.train.run.phi import parse_budget

        if isinstance(value, tuple):
            return value
        try:
            return tuple(parse_budget(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list such as 128,32,4 or phi,phi/4,2", param, ctx)


def numbers_in(text: str, *, option: str, example: str) -> tuple[float, ...]:
    """Return the numbers of a list; raises UsageError naming `option` and an `example`."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option}: {text!r} is not a list of numbers such as {example}") from None


def whole_numbers_in(text: str, *, option: str, example: str) -> tuple[int, ...]:
    """Return the whole numbers of a list, none of an empty one; raises UsageError likewise."""
    try:
        return tuple(int(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise UsageError(
            f"{option}: {text!r} is not a list of whole numbers such as {example}"
        ) from None
