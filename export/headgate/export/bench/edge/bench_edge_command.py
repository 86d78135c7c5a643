"""`headgate bench edge` and `device-cost`: what one edge answers; what a frame costs a device."""

from __future__ import annotations

from pathlib import Path

import click

from headgate.export.bench.bench_options import (
    MOST,
    POSITIVE,
    Number,
    held_to_goals,
    outputs,
    say,
    show,
)
from headgate.profiles.errors import UsageError

MOST_DEVICES = 10_000  # whole numbers: they are devices, and each has a socket here


@click.command()
@click.argument("family", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--devices", default="1,2,5,10,20,50,100,200", show_default=True, help="a row or more for each"
)
@click.option(
    "--fps", default="10", show_default=True, help="open loops: frames a second of each device"
)
@click.option("--no-open", is_flag=True, help="closed loops only")
@click.option("--no-closed", is_flag=True, help="open loops only")
@click.option(
    "--unanswered",
    type=click.IntRange(1, 1000),
    default=2,
    show_default=True,
    help="closed loop: frames that a device has out",
)
@click.option("--sla-ms", type=POSITIVE, default=100.0, show_default=True, help="deadline, in ms")
@click.option(
    "--seconds",
    type=Number(min=0.1, max=86_400),
    default=3.0,
    show_default=True,
    help="measured, of every row",
)
@click.option(
    "--warm-up",
    type=Number(min=0, max=86_400),
    default=2.0,
    show_default=True,
    help="seconds before",
)
@click.option(
    "--soak-s",
    type=Number(min=0, max=86_400),
    default=20.0,
    show_default=True,
    help="seconds of the row that watches memory",
)
@click.option("--point", help="operating point  [default: a split point, middle member]")
@click.option(
    "--threads",
    type=click.IntRange(0, 1024),
    default=0,
    help="of one tail run  [default: the edge's cores]",
)
@click.option(
    "--max-batch",
    type=click.IntRange(1, 256),
    default=16,
    show_default=True,
    help="most frames in one tail run",
)
@click.option(
    "--providers",
    type=click.Choice(["auto", "cpu", "cuda", "tensorrt"]),
    default="auto",
    show_default=True,
    help="what runs the tails",
)
@click.option(
    "--generators",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="processes that play devices",
)
@held_to_goals
@outputs
def edge(
    family: Path | None,
    devices: str,
    fps: str,
    no_open: bool,
    no_closed: bool,
    unanswered: int,
    sla_ms: float,
    seconds: float,
    warm_up: float,
    soak_s: float,
    point: str | None,
    threads: int,
    max_batch: int,
    providers: str,
    generators: int,
    out: Path,
    as_json: bool,
) -> None:
    """Frames per second that one edge answers in time, for many devices.

    Simulated devices send prepared payloads of FAMILY over loopback; beside it stands the bare
    batched tail on the edge's cores. Without FAMILY: VGG11 at 32 px, made on first use.
    """
    from headgate.export.bench.edge.bench_edge import bench_edge
    from headgate.export.bench.edge.bench_edge_table import EdgeOptions
    from headgate.export.bench.speed.bench_family import opened_or_made

    if no_open and no_closed:
        raise UsageError("--no-open and --no-closed: nothing is left to measure; drop one")
    options = EdgeOptions(
        family=opened_or_made(family, out=out),
        folder=out / "runs",
        devices=tuple(int(n) for n in positive_numbers(devices, option="--devices", whole=True)),
        fps=() if no_open else positive_numbers(fps, option="--fps"),
        closed=not no_closed,
        num_open=unanswered,
        sla_s=sla_ms / 1000,
        warm_up_s=warm_up,
        measure_s=seconds,
        soak_s=soak_s,
        point=point,
        threads=threads,
        max_batch=max_batch,
        providers=providers,
        generators=generators,
    )
    show(bench_edge(options, say=say), out, as_json=as_json)


@click.command("device-cost")
@click.argument("family", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("--point", help="operating point  [default: a split point, middle member]")
@click.option(
    "--frames", type=click.IntRange(1), default=3000, show_default=True, help="frames to play"
)
@click.option("--fps", type=POSITIVE, default=50.0, show_default=True, help="frames a second")
@held_to_goals
@outputs
def device_cost(
    family: Path | None, point: str | None, frames: int, fps: float, out: Path, as_json: bool
) -> None:
    """Processor time and memory of a device process per frame, beyond its head.

    Without FAMILY: VGG11 at 32 px, made on first use.
    """
    from headgate.export.bench.edge.bench_device import bench_device_cost
    from headgate.export.bench.speed.bench_family import opened_or_made
    from headgate.export.bench.speed.speed_device import SpeedOptions

    opened = opened_or_made(family, out=out)
    options = SpeedOptions(family=opened, folder=out / "runs", frames=frames, point=point)
    show(bench_device_cost(options, fps=fps), out, as_json=as_json)


def positive_numbers(text: str, *, option: str, whole: bool = False) -> tuple[float, ...]:
    """Return numbers above 0, MOST at most, that stand between commas, or raise UsageError."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    most = MOST_DEVICES if whole else MOST
    bad = [n for n in numbers if not 0 < n <= most or (whole and n != int(n))]
    if not numbers or bad:
        kind = "whole numbers" if whole else "numbers"
        raise UsageError(
            f"{option} {text!r}: expected {kind} above 0, {most} at most, with commas between, "
            "as 1,10"
        )
    return numbers
