"""`headgate bench skip`: what not sending frames that the exit is sure of saves and costs."""

from __future__ import annotations

from pathlib import Path

import click

from headgate.export.bench.bench_options import outputs, say, show


@click.command()
@click.argument("family", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--data", required=True, help="labelled pictures, as folder:PATH; see train --data")
@click.option(
    "--rules",
    default="auto,0.9,0.95",
    show_default=True,
    help="what --skip-confident may be, separated by commas",
)
@click.option("--points", multiple=True, help="pattern of split points  [default: all]")
@click.option("--limit", type=int, help="at most so many pictures  [default: all]")
@outputs
def skip(
    family: Path,
    data: str,
    rules: str,
    points: tuple[str, ...],
    limit: int | None,
    out: Path,
    as_json: bool,
) -> None:
    """Frames, bytes and accuracy of FAMILY's split points with --skip-confident, and without."""
    from headgate.export.bench.codecs.bench_skip import SkipOptions, bench_skip
    from headgate.profiles.errors import UsageError
    from headgate.profiles.family import open_family

    texts = tuple(dict.fromkeys(text.strip() for text in rules.split(",") if text.strip()))
    if not texts:
        raise UsageError(f"--rules: found {rules!r}, expected auto or chances as auto,0.95")
    options = SkipOptions(
        family=open_family(family), data=data, rules=texts, points=points, limit=limit
    )
    show(bench_skip(options, say=say), out, as_json=as_json)
