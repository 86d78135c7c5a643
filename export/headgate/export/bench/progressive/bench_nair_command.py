"""`headgate bench nair` and `headgate bench link-loss`: what to compare, and where it goes."""

from __future__ import annotations

from pathlib import Path

import click

from headgate.export.bench.bench_options import POSITIVE, outputs, say, show
from headgate.train.commands.number_lists import numbers_in

RUN = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("nair")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=RUN)
@click.option(
    "--kbps", type=POSITIVE, default=250.0, show_default=True, help="rate of the link, in kbit/s"
)
@click.option(
    "--times-ms",
    help="times to show, as 50,100; paper: those of 1 to 8 slices of 8192 bytes  [default: "
    "eighths of what the slowest run takes]",
)
@click.option("--data", help="data set to code and to compress  [default: the run's own]")
@click.option("--pictures", default=1000, show_default=True, help="pictures sent as WebP")
@click.option(
    "--codec-pictures",
    default=200,
    show_default=True,
    help="pictures whose maps are coded; half fit tables",
)
@outputs
def nair(
    runs: tuple[Path, ...],
    kbps: float,
    times_ms: str | None,
    data: str | None,
    pictures: int,
    codec_pictures: int,
    out: Path,
    as_json: bool,
) -> None:
    """Accuracy by the time on a slow link, for runs of `train nair` and `train clio`.

    A run's folder may lack its weights: its float32 row needs only the record.
    """
    from headgate.export.bench.progressive.bench_nair import (
        PAPER_TIMES_S,
        NairOptions,
        bench_nair,
        write_pictures,
    )

    options = NairOptions(
        runs=runs,
        rate_bps=1000 * kbps,
        times_s=PAPER_TIMES_S if times_ms == "paper" else _times_s(times_ms),
        data=data,
        pictures=pictures,
        codec_pictures=codec_pictures,
    )
    bench = bench_nair(options, say=say)
    write_pictures(bench, out)
    show(bench.result, out, as_json=as_json)
    say(f"pictures: {', '.join(str(out / name) for name in bench.pictures)}")


def _times_s(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    return tuple(each / 1000 for each in numbers_in(text, option="--times-ms", example="33,66,131"))


@click.command("link-loss")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=RUN)
@click.option(
    "--splits",
    help="also cut the first run's plain network after these layers, as features.2,features.5",
)
@click.option(
    "--shares",
    default="0,1,2,5,10,20,30,40,50",
    show_default=True,
    help="of maps, and of bits, that are lost, in percent",
)
@click.option("--levels", default=256, show_default=True, help="values per number sent")
@click.option("--data", help="data set to measure on  [default: the run's own]")
@click.option("--pictures", default=1000, show_default=True, help="validation pictures")
@click.option("--seed", default=0, show_default=True, help="of the losses")
@outputs
def link_loss(
    runs: tuple[Path, ...],
    splits: str | None,
    shares: str,
    levels: int,
    data: str | None,
    pictures: int,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Accuracy when maps are lost or bits come wrong, for every member and at other splits."""
    from headgate.export.bench.progressive.bench_link_loss import LinkLossOptions, bench_link_loss

    options = LinkLossOptions(
        runs=runs,
        splits=tuple(splits.split(",")) if splits else (),
        shares=tuple(
            each / 100 for each in numbers_in(shares, option="--shares", example="1,5,10")
        ),
        levels=levels,
        data=data,
        pictures=pictures,
        seed=seed,
    )
    show(bench_link_loss(options, say=say), out, as_json=as_json)
