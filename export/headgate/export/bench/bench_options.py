"""What all benchmark commands share: options for their outputs, and how results are shown."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from headgate.profiles.errors import FamilyError, UsageError
from headgate.profiles.refusals import check_can_hold_files
from headgate.train.commands.run_options import options_in_order

if TYPE_CHECKING:
    from headgate.export.bench.bench_table import BenchResult
    from headgate.profiles.manifest import Manifest, OperatingPoint

DEFAULT_FOLDER = Path("out/bench")
F = TypeVar("F", bound=Callable[..., Any])
GOALS_KEY = "headgate.goals"  # of click's context: whether --goals was given


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
            text = f"found {value!r}, expected numbers above 0, {MOST} at most, as 50,100"
            self.fail(text, param, ctx)
        return tuple(dict.fromkeys(found))


class Milliseconds(PositiveList):
    """Durations in milliseconds."""

    name = "ms,ms,..."


def usable_folder(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    """Refuse a folder for results, before they are computed, that could not take them."""
    if not ctx.resilient_parsing:
        check_can_hold_files(value)
    return value


# The options that all benchmarks have.
outputs = options_in_order(
    click.option("--json", "as_json", is_flag=True, help="print one JSON object, not a table"),
    click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        default=DEFAULT_FOLDER,
        show_default=True,
        callback=usable_folder,
        help="folder for results, runs and families",
    ),
)

workers_option = click.option(
    "--workers", type=click.IntRange(min=0), default=0, help="processes  [default: one per core]"
)


# What makes the device and the policy of a simulation the user's.
device_and_profile = options_in_order(
    click.option("--profile", help="preset or TOML file that all keep to  [default: every point]"),
    click.option(
        "--device-factor",
        type=POSITIVE,
        default=1.0,
        show_default=True,
        help="the device is so many times slower than the machine that was measured",
    ),
)


def held_to_goals(function: F) -> F:
    """Give a benchmark `--goals`: what it is run on is mostly the user's, the goals are ours."""

    def remember(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        ctx.meta[GOALS_KEY] = value

    return click.option(
        "--goals",
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="also hold the result to this project's goals, which are for its own data",
    )(function)


def as_asked(result: BenchResult) -> BenchResult:
    """Return the result with its goals only where --goals was given."""
    context = click.get_current_context(silent=True)
    wanted = context is not None and context.meta.get(GOALS_KEY, False)
    return result if wanted else replace(result, goals=())


def show(result: BenchResult, out: Path, *, as_json: bool) -> None:
    """Write the result into the folder and print it, on a terminal as narrow as that is."""
    from headgate.export.bench.bench_table import write_result
    from headgate.export.bench.bench_terminal import terminal_text

    result = as_asked(result)
    table = write_result(result, out)
    if as_json:
        click.echo(result.to_json())
    elif sys.stdout is not None and sys.stdout.isatty():
        click.echo(terminal_text(result, width=shutil.get_terminal_size().columns))
    else:
        click.echo(result.to_markdown())
    say(f"table: {table}, and {table.stem}.json beside it")


def say(text: str) -> None:
    """Tell of progress, on stderr."""
    click.echo(text, err=True)


def point_named(manifest: Manifest, point_id: str) -> OperatingPoint:
    """Return the point that the option `--point` names, or raise UsageError."""
    try:
        return manifest.point(point_id)
    except FamilyError as reason:
        raise UsageError(f"--point: {reason}") from None
