"""`headgate bench sharing`: several devices on one uplink, in the simulator."""

from __future__ import annotations

from pathlib import Path

import click

from headgate.export.bench.bench_options import (
    NOT_NEGATIVE,
    POSITIVE,
    device_and_profile,
    outputs,
    say,
    show,
    workers_option,
)


@click.command()
@click.argument("target", metavar="POINTS", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--links",
    default="2x12,4x12,3x20,8x24",
    show_default=True,
    help="devices x Mbit/s of the uplink that they share, or x a trace: its file, or a name such "
    "as demo",
)
@click.option("--sla-ms", type=POSITIVE, default=100.0, show_default=True, help="deadline, in ms")
@click.option(
    "--rtt-ms", type=NOT_NEGATIVE, default=20.0, show_default=True, help="round-trip time, in ms"
)
@click.option(
    "--fps", type=POSITIVE, default=30.0, show_default=True, help="frames a second of each device"
)
@click.option(
    "--duration-s", type=POSITIVE, default=10.0, show_default=True, help="of each run, in s"
)
@click.option(
    "--settle-s",
    type=NOT_NEGATIVE,
    default=3.0,
    show_default=True,
    help="of that, left out of the score, in s",
)
@workers_option
@device_and_profile
@outputs
def sharing(
    target: Path,
    links: str,
    sla_ms: float,
    rtt_ms: float,
    fps: float,
    duration_s: float,
    settle_s: float,
    workers: int,
    profile: str | None,
    device_factor: float,
    out: Path,
    as_json: bool,
) -> None:
    """What several devices on one uplink earn, beside fixed points and a link to oneself.

    POINTS is a family folder, or a ladder of points in a TOML file (examples/ladder.toml). Each of
    its points is tried on each link, so large families take minutes.
    """
    from headgate.export.bench.control.bench_sharing import (
        SharingOptions,
        bench_sharing,
        parse_links,
    )
    from headgate.export.bench.control.control_points import EVERYTHING
    from headgate.profiles.profile import load_profile

    options = SharingOptions(
        target=target,
        links=parse_links(links),
        sla_s=sla_ms / 1000,
        rtt_s=rtt_ms / 1000,
        fps=fps,
        duration_s=duration_s,
        settle_s=settle_s,
        workers=workers,
        profile=EVERYTHING if profile is None else load_profile(profile),
        device_factor=device_factor,
    )
    show(bench_sharing(options, say=say), out, as_json=as_json)
