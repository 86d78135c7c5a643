"""What all benchmark commands share: options for their outputs, and how results are shown."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from headgate.profiles.errors import FamilyError, UsageError
from headgate.profiles.refusals import check_can_hold_files

if TYPE_CHECKING:
    from headgate.export.bench.bench_table import BenchResult
    from headgate.profiles.manifest import Manifest, OperatingPoint

DEFAULT_FOLDER = Path("out/bench")
F = TypeVar("F", bound=Callable[..., Any])


def usable_folder(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    """Refuse a folder for results, before they are computed, that could not take them."""
    if not ctx.resilient_parsing:
        check_can_hold_files(value)
    return value


def outputs(function: F) -> F:
    """Give a benchmark the options that all have."""
    for decorate in (
        click.option(
            "--out",
            type=click.Path(file_okay=False, path_type=Path),
            default=DEFAULT_FOLDER,
            show_default=True,
            callback=usable_folder,
            help="folder for results, runs and families",
        ),
        click.option("--json", "as_json", is_flag=True, help="print one JSON object, not a table"),
    ):
        function = decorate(function)
    return function


def show(result: BenchResult, out: Path, *, as_json: bool) -> None:
    """Write the result into the folder and print it, on a terminal as narrow as that is."""
    from headgate.export.bench.bench_table import write_result
    from headgate.export.bench.bench_terminal import terminal_text

    write_result(result, out)
    if as_json:
        click.echo(result.to_json())
    elif sys.stdout is not None and sys.stdout.isatty():
        click.echo(terminal_text(result, width=shutil.get_terminal_size().columns))
    else:
        click.echo(result.to_markdown())


def say(text: str) -> None:
    """Tell of progress, on stderr."""
    click.echo(text, err=True)


def point_named(manifest: Manifest, point_id: str) -> OperatingPoint:
    """Return the point that the option `--point` names, or raise UsageError."""
    try:
        return manifest.point(point_id)
    except FamilyError as reason:
        raise UsageError(f"--point: {reason}") from None


class Number(click.FloatRange):
    """A number of a range; click itself lets what is none (nan) pass through any."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is no finite number.", param, ctx)
        return number


MOST = 1_000_000  # of anything: what takes or makes more would never end
POSITIVE = Number(min=0, min_open=True, max=MOST)
NOT_NEGATIVE = Number(min=0, max=MOST)


class PositiveList(click.ParamType[tuple[float, ...]]):
    """Numbers above 0 with commas between them, each once."""

    name = "x,x,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(float(part) for part in str(value).split(",") if part.strip())
        except ValueError:
            found = ()
        if not found or not all(0 < each <= MOST for each in found):
            self.fail(f"found {value!r}, expected numbers above 0, as 50,100", param, ctx)
        return tuple(dict.fromkeys(found))


class Milliseconds(PositiveList):
    """Durations in milliseconds."""

    name = "ms,ms,..."
