"""`headgate export`: turn a training run into a family folder, measured and checked."""

import json
import shlex
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from headgate.export.options import ExportOptions
from headgate.export.points.choose_codec import AUTO
from headgate.profiles.manifest import CODECS
from headgate.runtime.commands.inspect import PIPED_WIDTH
from headgate.runtime.signals import interrupted_by_sigterm
from headgate.train.commands.number_lists import NumberList

DEFAULTS = ExportOptions()


class OptionalNumbers(NumberList):
    """Whole numbers with commas between them; an empty text is none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        return () if value == "" else super().convert(value, param, ctx)


def _listed(values: tuple[int, ...]) -> str:
    return ",".join(map(str, values))


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("family", type=click.Path(path_type=Path))
@click.option("--data", help="data set to measure on  [default: the one RUN was trained on]")
@click.option(
    "--levels",
    type=NumberList(),
    default=_listed(DEFAULTS.levels),
    show_default=True,
    help="values per integer that split points may have: 256 is 8 bits, 4 is 2 bits",
)
@click.option(
    "--codec",
    type=click.Choice((AUTO, *CODECS)),
    default=DEFAULTS.codec,
    show_default=True,
    help="how split points write integers; auto: whichever takes fewer bytes, in bounded time",
)
@click.option(
    "--jpeg-qualities",
    type=OptionalNumbers(),
    default=_listed(DEFAULTS.jpeg_qualities),
    show_default=True,
    help='offload points, 1 to 100; "" for none',
)
@click.option(
    "--webp-qualities",
    type=OptionalNumbers(),
    default=_listed(DEFAULTS.webp_qualities),
    show_default=True,
    help='offload points, 1 to 100; "" for none',
)
@click.option(
    "--limit", type=int, help="measure on this many validation pictures  [default: all of them]"
)
@click.option(
    "--calibration",
    "num_calibration",
    default=DEFAULTS.num_calibration,
    show_default=True,
    help="training pictures to choose quantisation ranges with",
)
@click.option(
    "--confidence-pictures",
    "num_confidence",
    default=DEFAULTS.num_confidence,
    show_default=True,
    help="validation pictures to set aside, and calibrate the early exits on, for devices that run "
    "with --skip-confident, 50 or more; 0: no family for that",
)
@click.option(
    "--parity",
    "num_parity",
    default=DEFAULTS.num_parity,
    show_default=True,
    help="validation pictures on which exported graphs and trained network must agree",
)
@click.option(
    "--video",
    help="video file (or dir:PATH) to measure predicted points on  [default: none are made]",
)
@click.option("--video-fps", type=float, help="frames a second to take of it  [default: its own]")
@click.option(
    "--video-lag",
    type=int,
    help="frames that the newest answered frame is behind  [default: those of 100 ms]",
)
@click.option(
    "--video-frames",
    default=DEFAULTS.video_frames,
    show_default=True,
    help="frames to take of the video",
)
@click.option(
    "--threads",
    default=DEFAULTS.threads,
    show_default=True,
    help="per graph run while measuring; 0 for every core",
)
@click.option(
    "--no-local-full",
    is_flag=True,
    help="no point for the whole network on the device, which then need not hold it",
)
@click.option("--no-times", is_flag=True, help="leave times out: same run, same family digest")
@click.option("--force", is_flag=True, help="replace FAMILY if it is a family")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object, as inspect does")
def export(
    run: Path, family: Path, no_local_full: bool, no_times: bool, as_json: bool, **chosen: Any
) -> None:
    """Export the training run RUN to the folder FAMILY.

    Writes one head and one tail graph per member, measures every operating point on the
    validation pictures, and refuses (exit code 3) if the graphs differ from what was trained.
    """
    # Asked to end like by Ctrl-C, also while torch loads: nothing unfinished is left beside FAMILY.
    click.get_current_context().with_resource(interrupted_by_sigterm())

    from headgate.export.pipeline import export_family
    from headgate.runtime.commands.points_table import family_to_json, points_table

    options = ExportOptions(local_full=not no_local_full, with_times=not no_times, **chosen)
    manifest = export_family(run, family, options, _show)
    if as_json:
        click.echo(json.dumps(family_to_json(manifest)))
        return
    console = Console(markup=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    console.print(points_table(manifest))
    name = shlex.quote(str(family))
    click.echo(f"next: headgate edge {name}, and beside it headgate device {name} INPUT", err=True)


def _show(line: str) -> None:
    click.echo(f"export: {line}", err=True)
