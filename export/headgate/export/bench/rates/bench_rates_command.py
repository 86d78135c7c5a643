"""`headgate bench rates` and `headgate bench train-rates`: what to measure, and where it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from headgate.export.bench.bench_options import (
    NOT_NEGATIVE,
    POSITIVE,
    Milliseconds,
    as_asked,
    held_to_goals,
    outputs,
    say,
    show,
)
from headgate.export.command import OptionalNumbers
from headgate.train.commands.number_lists import NumberList

F = TypeVar("F", bound=Callable[..., Any])


def measuring(*, qualities: str) -> Callable[[F], F]:
    """Give a command the options that choose what is measured beside the family."""

    def decorate(function: F) -> F:
        for option in (
            click.option("--limit", type=int, help="measure on so many pictures  [default: all]"),
            click.option(
                "--jpeg-qualities", type=OptionalNumbers(), default=qualities, show_default=True,
                help='JPEG pictures to compare with, 1 to 100; "" for none',
            ),
            click.option(
                "--webp-qualities", type=OptionalNumbers(), default=qualities, show_default=True,
                help='WebP pictures to compare with, methods 4 and 6; "" for none',
            ),
            click.option(
                "--threads", type=click.IntRange(0, 1024), default=1, show_default=True,
                help="per graph run; 0: all",
            ),
            click.option(
                "--device-factor", type=POSITIVE, default=1.0, show_default=True,
                help="the device is so many times slower than this machine",
            ),
        ):  # fmt: skip
            function = option(function)
        return function

    return decorate


@click.command()
@click.argument("family", type=click.Path(path_type=Path))
@click.option("--data", required=True, help="folder:PATH, cifar10:PATH, npz:PATH or embedded")
@measuring(qualities="1,2,3,5,8,10,15,20,30,40,50,60,70,80,90,95")
@click.option(
    "--sla-ms", type=Milliseconds(), default="50,100", show_default=True, help="answers within"
)
@click.option("--rtt-ms", type=NOT_NEGATIVE, default=20.0, show_default=True)
@held_to_goals
@outputs
def rates(
    family: Path,
    data: str,
    limit: int | None,
    jpeg_qualities: tuple[int, ...],
    webp_qualities: tuple[int, ...],
    threads: int,
    device_factor: float,
    sla_ms: tuple[float, ...],
    rtt_ms: float,
    out: Path,
    as_json: bool,
) -> None:
    """Accuracy against bytes of FAMILY beside JPEG, WebP and the paper's payload.

    Measures on the validation half of --data, which need not be what the family was exported
    with. Writes rates.md, rates.json, rates.png and rates.html. Minutes on a CPU: every picture
    goes through the networks once per row; --limit makes it quicker and coarser.
    """
    from headgate.export.bench.rates.bench_rates import RatesOptions, bench_rates, write_rates
    from headgate.export.bench.rates.rates_measure import MeasureOptions
    from headgate.profiles.family import open_family

    options = RatesOptions(
        data=data,
        limit=limit,
        measure=MeasureOptions(
            jpeg_qualities=jpeg_qualities, webp_qualities=webp_qualities, threads=threads
        ),
        slas_s=tuple(each / 1000 for each in sla_ms),
        rtt_s=rtt_ms / 1000,
        device_factor=device_factor,
    )
    bench = bench_rates(open_family(family), options, say=say)
    bench = replace(bench, result=as_asked(bench.result))
    written = write_rates(bench, out)
    show(bench.result, out, as_json=as_json)
    say(f"page: {written}")


@click.command("train-rates")
@click.option("--data", default="embedded", show_default=True, help="folder:PATH, realistic sizes")
@click.option("--model", default="resnet18", show_default=True, help="built-in network")
@click.option("--width", default=0.5, show_default=True, help="multiplies its channels")
@click.option("--split", default="stages.1.1", show_default=True, help="layer to cut after")
@click.option("--resolution", default=2, show_default=True, help="r: shrinks the maps")
@click.option("--budgets", type=NumberList(), default="64,16,6", show_default=True, help="maps")
@click.option("--epochs", default=60, show_default=True, help="of the plain network")
@click.option("--member-epochs", default=8, show_default=True, help="of every member")
@click.option("--pictures", type=int, help="of each half; fewer for a CPU  [default: all]")
@click.option(
    "--input-px", type=int, help="side of the square input  [default: the pictures' own size]"
)
@click.option("--precision", default="auto", show_default=True, help="as of `train prune`")
@click.option("--seed", default=0, show_default=True)
@outputs
def train_rates(
    data: str,
    resolution: int,
    member_epochs: int,
    out: Path,
    as_json: bool,
    **recipe: Any,
) -> None:
    """Train and export the family that `make bench-rates` measures: OUT/rates/family.

    Hours on a CPU; an interrupted training goes on, and a finished one is not repeated.
    """
    import json

    from headgate.export.bench.rates.train_rates import TrainRatesOptions
    from headgate.export.bench.rates.train_rates import train_rates as train
    from headgate.runtime.commands.points_table import family_to_json
    from headgate.train.run.progress import choose_progress

    options = TrainRatesOptions(
        data=data,
        folder=out / "rates",
        resolution_factor=resolution,
        base_epochs=member_epochs,
        member_epochs=member_epochs,
        **recipe,
    )
    family = train(options, progress=choose_progress(), say=say)
    click.echo(json.dumps(family_to_json(family.manifest)) if as_json else str(family.path))
