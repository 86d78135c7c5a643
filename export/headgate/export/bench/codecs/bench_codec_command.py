"""`headgate bench codec`: bytes and times of every way to write a family's feature maps."""

from __future__ import annotations

from pathlib import Path

import click

from headgate.export.bench.bench_options import outputs, say, show


@click.command()
@click.argument("family", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--data", required=True, help="pictures to send; their labels are not used")
@click.option(
    "--limit", default=400, show_default=True, help="pictures; half fit tables, half are measured"
)
@click.option("--point", help="one split point  [default: all]")
@outputs
def codec(family: Path, data: str, limit: int, point: str | None, out: Path, as_json: bool) -> None:
    """Bytes and times of the feature codecs on the maps of FAMILY, beside ideal bounds."""
    from headgate.export.bench.codecs.bench_codec import CodecOptions, bench_codec
    from headgate.profiles.family import open_family

    options = CodecOptions(family=open_family(family), data=data, limit=limit, point=point)
    show(bench_codec(options, say=say), out, as_json=as_json)
