"""`headgate bench control`: our controller beside an oracle and its rivals, on anyone's traces."""

from __future__ import annotations

from pathlib import Path

import click

from headgate.export.bench.bench_options import (
    above,
    device_and_profile,
    held_to_goals,
    outputs,
    say,
    show,
    workers_option,
)


@click.command()
@click.argument("target", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--traces",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="folder of CSV (t_s,mbps) and mahimahi traces",
)
@click.option("--sla-ms", default="50,100", show_default=True, help="deadlines, in ms")
@click.option("--rtt-ms", default="20,50", show_default=True, help="round-trip times, in ms")
@click.option("--fps", default=30.0, show_default=True, help="frames a second")
@click.option(
    "--duration-s", type=float, help="of each trace, in s  [default: all of it, 10 to 60 s]"
)
@click.option(
    "--mode",
    type=click.Choice(["both", "bare", "insured"]),
    default="both",
    show_default=True,
    help="what a late frame earns: nothing, or the answer of its exit or a rescue",
)
@click.option("--jitter-ms", default=0.0, show_default=True, help="mean extra delay, each way")
@click.option(
    "--late-ms", default=0.0, show_default=True, help="by which both sides' loops are late, mean"
)
@workers_option
@click.option(
    "--sockets",
    type=click.IntRange(min=0),
    default=0,
    help="also run so many traces over real sockets  [default: none]",
)
@device_and_profile
@held_to_goals
@outputs
def control(
    target: Path,
    traces: Path,
    sla_ms: str,
    rtt_ms: str,
    fps: float,
    duration_s: float | None,
    mode: str,
    jitter_ms: float,
    late_ms: float,
    workers: int,
    sockets: int,
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

    options = ControlOptions(
        target=target,
        traces=traces,
        slas_s=_seconds(sla_ms, "--sla-ms"),
        rtts_s=_seconds(rtt_ms, "--rtt-ms"),
        fps=above(fps, 0.0, "--fps"),
        duration_s=None if duration_s is None else above(duration_s, 0.0, "--duration-s"),
        modes=tuple(Mode) if mode == "both" else (Mode(mode),),
        jitter_s=above(jitter_ms, None, "--jitter-ms") / 1000,
        late_s=above(late_ms, None, "--late-ms") / 1000,
        workers=workers,
        sockets=sockets,
        profile=EVERYTHING if profile is None else load_profile(profile),
        device_factor=device_factor,
    )
    show(bench_control(options, say=say, out=out), out, as_json=as_json)


def _seconds(text: str, option: str) -> tuple[float, ...]:
    """Return the durations of a list of milliseconds, each once."""
    values = [_number(part, option) for part in text.split(",") if part.strip()]
    if not values:
        raise click.UsageError(f"{option}: found {text!r}, expected milliseconds as 50,100")
    return tuple(dict.fromkeys(above(value, 0.0, option) / 1000 for value in values))


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise click.UsageError(f"{option}: {text.strip()!r} is not a number of ms") from None
