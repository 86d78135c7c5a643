"""`headgate bench control`: our controller beside an oracle and its rivals, on anyone's traces."""

from __future__ import annotations

from pathlib import Path

import click

from headgate.export.bench.bench_options import (
    NOT_NEGATIVE,
    POSITIVE,
    Milliseconds,
    outputs,
    say,
    show,
)


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
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=0,
    help="processes  [default: one per core]",
)
@click.option(
    "--sockets",
    type=click.IntRange(min=0),
    default=0,
    help="also run so many traces over real sockets  [default: none]",
)
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
    out: Path,
    as_json: bool,
) -> None:
    """Gap to the oracle that our controller and its rivals close, over every trace in a folder.

    TARGET is a family folder, or a ladder of points in a TOML file (examples/ladder.toml).
    """
    from headgate.export.bench.control.bench_control import ControlOptions, bench_control
    from headgate.export.bench.control.control_runs import Mode

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
    )
    show(bench_control(options, say=say, out=out), out, as_json=as_json)
