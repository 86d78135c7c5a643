"""`headgate bench drawn`: the controller on ladders and links made by chance."""

from __future__ import annotations

from pathlib import Path

import click

from headgate.export.bench.bench_options import POSITIVE, outputs, say, show, workers_option


@click.command()
@click.option(
    "--cases", type=click.IntRange(1, 100_000), default=100, show_default=True, help="how many"
)
@click.option(
    "--first-seed", type=click.IntRange(min=0), default=0, show_default=True, help="of the cases"
)
@click.option(
    "--split-points",
    default="layers,whole",
    show_default=True,
    help="prefixes of one member that are sent in layers, or points of their own",
)
@click.option(
    "--mode",
    default="insured,bare",
    show_default=True,
    help="whether exits and rescues answer late frames",
)
@click.option(
    "--duration-s", type=POSITIVE, default=15.0, show_default=True, help="of each run, in s"
)
@click.option("--turns", is_flag=True, help="links carry packets, each in its turn, as radio does")
@click.option(
    "--show", "shown", type=click.IntRange(min=0), help="print this seed's case, run none"
)
@workers_option
@outputs
def drawn(
    cases: int,
    first_seed: int,
    split_points: str,
    mode: str,
    duration_s: float,
    turns: bool,
    shown: int | None,
    workers: int,
    out: Path,
    as_json: bool,
) -> None:
    """The controller beside rivals on ladders and links made by chance.

    A hundred cases in both modes, both ways, take about four minutes on two cores.
    """
    from headgate.export.bench.control.bench_drawn import (
        APART,
        LAYERS,
        DrawnOptions,
        bench_drawn,
        describe,
        parse_choices,
    )
    from headgate.export.bench.control.control_runs import Mode
    from headgate.export.bench.control.drawn_cases import draw_case

    kinds = parse_choices(split_points, (LAYERS, APART), option="--split-points")
    if shown is not None:
        click.echo(describe(draw_case(shown, layers=kinds[0] == LAYERS, turns=turns)))
        return
    modes = parse_choices(mode, [each.value for each in Mode], option="--mode")
    options = DrawnOptions(
        num_cases=cases,
        first_seed=first_seed,
        split_points=kinds,
        modes=tuple(Mode(each) for each in modes),
        duration_s=duration_s,
        turns=turns,
        workers=workers,
    )
    show(bench_drawn(options, say=say), out, as_json=as_json)
