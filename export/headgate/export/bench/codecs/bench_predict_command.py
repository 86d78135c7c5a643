"""`headgate bench predict`: what coding frames against earlier ones saves on anyone's videos."""

from __future__ import annotations

from pathlib import Path

import click

from headgate.export.bench.bench_options import POSITIVE, outputs, say, show
from headgate.train.commands.number_lists import NumberList


@click.command()
@click.argument("family", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--video",
    "videos",
    multiple=True,
    required=True,
    help="video file, or dir:PATH with --fps; may be given again",
)
@click.option(
    "--lags",
    type=NumberList(),
    default="1,3,6",
    show_default=True,
    help="frames that the newest answered frame is behind",
)
@click.option("--fps", type=POSITIVE, help="frames a second to take  [default: each video's own]")
@click.option("--frames", default=300, show_default=True, help="frames to take of each video")
@click.option("--points", multiple=True, help="pattern of split points  [default: all]")
@outputs
def predict(
    family: Path,
    videos: tuple[str, ...],
    lags: tuple[int, ...],
    fps: float | None,
    frames: int,
    points: tuple[str, ...],
    out: Path,
    as_json: bool,
) -> None:
    """Bytes of FAMILY's split points, whole and predicted, on videos and on made motion."""
    from headgate.export.bench.codecs.bench_predict import PredictOptions, bench_predict
    from headgate.profiles.errors import UsageError
    from headgate.profiles.family import open_family

    if frames < 2:
        raise UsageError(f"--frames: found {frames}, expected 2 or more")
    options = PredictOptions(
        family=open_family(family),
        videos=videos,
        lags=lags,
        fps=fps,
        frames=frames,
        points=points,
    )
    show(bench_predict(options, say=say), out, as_json=as_json)
