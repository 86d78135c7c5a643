"""`headgate bench head`: what a device pays for a head, beside whole network and picture codecs."""

from __future__ import annotations

from pathlib import Path

import click

from headgate.export.bench.bench_options import outputs, say, show


@click.command()
@click.argument("family", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--data", help="labelled pictures for accuracy and INT8 ranges  [default: none]")
@click.option("--limit", default=1000, show_default=True, help="pictures to measure accuracy on")
@click.option(
    "--calibration",
    "num_calibration",
    default=128,
    show_default=True,
    help="training pictures that INT8 ranges are seen on",
)
@click.option("--rounds", default=200, show_default=True, help="of all subjects in turns")
@outputs
def head(
    family: Path,
    data: str | None,
    limit: int,
    num_calibration: int,
    rounds: int,
    out: Path,
    as_json: bool,
) -> None:
    """Time the heads of FAMILY, float and INT8, beside the whole network, JPEG and WebP."""
    from headgate.export.bench.speed.bench_head import HeadOptions, bench_head
    from headgate.profiles.family import open_family

    options = HeadOptions(
        family=open_family(family),
        data=data,
        limit=limit,
        num_calibration=num_calibration,
        rounds=rounds,
    )
    show(bench_head(options, say=say), out, as_json=as_json)
