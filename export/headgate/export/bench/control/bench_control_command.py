"""`headgate bench control`: our controller beside an oracle and its rivals, on anyone's traces."""

from __future__ import annotations

from pathlib import Path

import click

from headgate.export.bench.bench_options import (
    NOT_NEGATIVE,
    POSITIVE,
    Milliseconds,
    device_and_profile,
    held_to_goals,
    outputs,
    say,
    show,
    workers_option,
)
from headgate.profiles.errors import UsageError


@click.command()
@click.argument("target", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--traces",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="folder of CSV (t_s,mbps) and mahimahi traces",
)
@click.option(
    "--sla-ms", type=Milliseconds(), default="50,100", show_default=True, help="deadlines, in ms"
)
@click.option(
    "--rtt-ms", type=Milliseconds(), default="20,50", show_default=True, help="round-trip times"
)
@click.option("--fps", type=POSITIVE, default=30.0, show_default=True, help="frames a second")
@click.option(
    "--duration-s", type=POSITIVE, help="of each trace, in s  [default: all of it, 10 to 60 s]"
)
@click.option(
    "--mode",
    type=click.Choice(["both", "bare", "insured"]),
    default="both",
    show_default=True,
    help="what a late frame earns: nothing, or the answer of its exit or a rescue",
)
@click.option(
    "--jitter-ms",
    type=NOT_NEGATIVE,
    default=0.0,
    show_default=True,
    help="mean extra delay, each way",
)
@click.option(
    "--late-ms",
    type=NOT_NEGATIVE,
    default=0.0,
    show_default=True,
    help="by which both sides' loops are late, mean",
)
@workers_option
@click.option(
    "--sockets",
    type=click.IntRange(min=0),
    default=0,
    help="also run so many traces over real sockets  [default: none]",
)
@click.option(
    "--packets",
    is_flag=True,
    help="those through a TUN device, as packets of TCP (Linux, as root or in `unshare -rn`)",
)
@click.option(
    "--loss-percent",
    type=click.FloatRange(0, 100),
    default=0.0,
    show_default=True,
    help="of the packets that get lost each way, with --packets",
)
@device_and_profile
@held_to_goals
@outputs
def control(
    target: Path,
    traces: Path,
    sla_ms: tuple[float, ...],
    rtt_ms: tuple[float, ...],
    fps: float,
    duration_s: float | None,
    mode: str,
    jitter_ms: float,
    late_ms: float,
    workers: int,
    sockets: int,
    packets: bool,
    loss_percent: float,
    profile: str | None,
    device_factor: float,
    out: Path,
    as_json: bool,
) -> None:
    """Gap to the oracle that our controller and its rivals close, over every trace in a folder.

    TARGET is a family folder, or a ladder of points in a TOML file (examples/ladder.toml). What
    follows the table says what your device would earn; every run is in OUT/control-runs.csv. A
    trace is simulated some ten times for each SLA, round trip and mode.
    """
    from headgate.export.bench.control.bench_control import ControlOptions, bench_control
    from headgate.export.bench.control.control_points import EVERYTHING
    from headgate.export.bench.control.control_runs import Mode
    from headgate.profiles.profile import load_profile

    if (packets and not sockets) or (loss_percent and not packets):
        raise UsageError(
            "--packets and --loss-percent are of runs over sockets: say how many traces to run, "
            "as in --sockets 3 --packets --loss-percent 1"
        )
    options = ControlOptions(
        target=target,
        traces=traces,
        slas_s=tuple(each / 1000 for each in sla_ms),
        rtts_s=tuple(each / 1000 for each in rtt_ms),
        fps=fps,
        duration_s=duration_s,
        modes=tuple(Mode) if mode == "both" else (Mode(mode),),
        jitter_s=jitter_ms / 1000,
        late_s=late_ms / 1000,
        workers=workers,
        sockets=sockets,
        loss=loss_percent / 100 if packets else None,
        profile=EVERYTHING if profile is None else load_profile(profile),
        device_factor=device_factor,
    )
    show(bench_control(options, say=say, out=out), out, as_json=as_json)
