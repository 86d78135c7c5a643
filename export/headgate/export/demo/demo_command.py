"""`headgate demo`: train, export and run a small family over an emulated link, and report on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headgate.export.bench.bench_options import MOST, POSITIVE, Number, usable_folder
from headgate.runtime.signals import interrupted_by_sigterm

if TYPE_CHECKING:
    from headgate.export.demo.report import ReportContent


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/demo"),
    show_default=True,
    callback=usable_folder,
    help="folder for everything the demo leaves",
)
@click.option(
    "--seconds",
    type=Number(min=1, max=MOST),
    help="length of the run in real time  [default: the trace once]",
)
@click.option("--seed", default=0, show_default=True, help="of the training")
@click.option(
    "--trace", default="demo", show_default=True, help="trace file or built-in trace of the uplink"
)
@click.option(
    "--share",
    type=POSITIVE,
    default=0.15,
    show_default=True,
    help="of the trace's rate that this device gets",
)
@click.option("--fps", type=POSITIVE, default=15.0, show_default=True, help="pictures a second")
@click.option(
    "--sla-ms", type=POSITIVE, default=100.0, show_default=True, help="answer wanted within, in ms"
)
@click.option("--json", "as_json", is_flag=True, help="print summary.json, not a table")
def demo(
    out: Path,
    seconds: float | None,
    seed: int,
    trace: str,
    share: float,
    fps: float,
    sla_ms: float,
    as_json: bool,
) -> None:
    """Show the whole way, from training to answers, in under five minutes.

    A finished training in the output folder is used again. Ctrl-C ends the processes it started.
    """
    # Asked to end like by Ctrl-C: the edge and the device must end with us.
    click.get_current_context().with_resource(interrupted_by_sigterm())

    from headgate.export.demo.demo import DemoOptions, run_demo, summary_json
    from headgate.train.run.progress import choose_progress

    options = DemoOptions(
        out=out,
        seconds=seconds,
        seed=seed,
        trace=trace,
        share=share,
        fps=fps,
        sla_s=sla_ms / 1000,
    )
    content = run_demo(options, say=_say, progress=choose_progress())
    if as_json:
        click.echo(json.dumps(summary_json(content)))
        return
    _print(content, out)


def _print(content: ReportContent, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from headgate.export.demo.report import comparison_rows, fixed_title, sentences

    table = Table(title="the run beside fixed choices on the same trace")
    for name in ("", "how", "accuracy, late = wrong", "in time", "bytes/frame"):
        table.add_column(name, justify="right" if name else "left")
    every = [(fixed_title(run, content), run) for run in content.fixed]
    for title, run in [*comparison_rows(content), *every]:
        table.add_row(
            title,
            "measured" if run.measured else "simulated",
            f"{100 * run.credited:.1f} %",
            f"{100 * run.in_time:.1f} %",
            f"{run.mean_bytes:,.0f}",
        )
    Console(markup=False).print(table)
    for sentence in sentences(content):
        click.echo(sentence)
    click.echo(f"report: {out / 'report.html'}")


def _say(text: str) -> None:
    click.echo(text, err=True)
