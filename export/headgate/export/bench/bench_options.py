"""What all benchmark commands share: options for their outputs, and how results are shown."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headgate.profiles.refusals import check_can_hold_files
from headgate.train.commands.run_options import options_in_order

if TYPE_CHECKING:
    from headgate.export.bench.bench_table import BenchResult

DEFAULT_FOLDER = Path("out/bench")


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


def show(result: BenchResult, out: Path, *, as_json: bool) -> None:
    """Write the result into the folder and print it, on a terminal as narrow as that is."""
    from headgate.export.bench.bench_table import write_result
    from headgate.export.bench.bench_terminal import terminal_text

    write_result(result, out)
    if as_json:
        click.echo(result.to_json())
    elif sys.stdout.isatty():
        click.echo(terminal_text(result, width=shutil.get_terminal_size().columns))
    else:
        click.echo(result.to_markdown())


def say(text: str) -> None:
    """Tell of progress, on stderr."""
    click.echo(text, err=True)


def above(value: float, bound: float | None, option: str) -> float:
    """Return a finite number above `bound`; None: from 0 on."""
    enough = value >= 0 if bound is None else value > bound
    if not enough or value == float("inf"):
        expected = "0 or more" if bound is None else f"above {bound:g}"
        raise click.UsageError(f"{option}: {value:g} must be {expected}")
    return value
