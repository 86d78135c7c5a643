"""`headgate bench deprune`: split training with few maps first, beside all maps and few maps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headgate.export.bench.bench_options import (
    NOT_NEGATIVE,
    POSITIVE,
    as_asked,
    held_to_goals,
    outputs,
    say,
    show,
)
from headgate.profiles.errors import UsageError
from headgate.train.commands.deprune_options import (
    ADASPLIT_DEFAULTS,
    adasplit_options,
    config_of,
    options_of,
    training_options,
)
from headgate.train.commands.number_lists import NumberList
from headgate.train.commands.run_options import options_in_order

if TYPE_CHECKING:
    from headgate.export.bench.split_training.bench_deprune import DepruneOptions

Function = Callable[..., Any]


def runs_compared(*, num_clients: int) -> Callable[[Function], Function]:
    """Return the options of what is compared: runs that are there, or how many are made here."""
    return options_in_order(
        click.argument("runs", nargs=-1, type=click.Path(path_type=Path)),  # also one under way
        click.option(
            "--clients",
            default=num_clients,
            show_default=True,
            help="clients of each run made here",
        ),
        click.option(
            "--seeds",
            type=NumberList(),
            default=(0,),
            help="of the runs made here, as 0,1,2  [default: 0]",
        ),
    )


@click.command()
@runs_compared(num_clients=1)
@training_options
@held_to_goals
@outputs
def deprune(
    runs: tuple[Path, ...],
    clients: int,
    seeds: tuple[int, ...],
    out: Path,
    as_json: bool,
    **trained: Any,
) -> None:
    """Accuracy and bytes of split training: no compression, high compression, and deprune.

    With RUNS, which are runs of `train deprune` or folders of such, they are compared; one that is
    not finished counts with the epochs that it has. Without, three are trained here for each of
    --seeds, with all sides in one process; with fewer bits, --compress or --resolution also all
    maps that way, while no compression stays whole maps in float32. Those that an earlier call
    trained are taken as they are. Writes deprune.html and deprune.png besides the table.
    """
    from headgate.export.bench.split_training.bench_deprune import (
        bench_deprune,
        train_ways,
        write_deprune_report,
    )

    paths = list(runs) or train_ways(
        _options(clients, seeds, trained, folder=out / "deprune-runs"), say=say
    )
    result, series = bench_deprune(paths)
    result = as_asked(result)
    say(f"report: {write_deprune_report(result, series, out)}")
    show(result, out, as_json=as_json)


@click.command(context_settings={"default_map": ADASPLIT_DEFAULTS})
@runs_compared(num_clients=5)
@adasplit_options
@held_to_goals
@outputs
def adasplit(
    runs: tuple[Path, ...],
    clients: int,
    seeds: tuple[int, ...],
    out: Path,
    as_json: bool,
    **trained: Any,
) -> None:
    """Accuracy and bytes of clients that learn from their own loss, beside plain split learning.

    With RUNS, which are runs of `train adasplit` or `train deprune` or folders of such, they are
    compared. Without, they are trained here for each of --seeds, with all sides in one process:
    plain split learning, with averages that clients share and with their own, and AdaSplit as
    asked; with less than all batches crossing also without an orchestrator. Where each client has
    classes of its own (--partition classes) accuracy is the mean over clients on their classes.
    Writes adasplit.html and adasplit.png besides the table.
    """
    from headgate.export.bench.split_training.bench_adasplit import train_adasplit_ways
    from headgate.export.bench.split_training.bench_deprune import (
        ADASPLIT_NAME,
        bench_deprune,
        write_deprune_report,
    )

    paths = list(runs) or train_adasplit_ways(
        _options(clients, seeds, trained, folder=out / "adasplit-runs"), say=say
    )
    result, series = bench_deprune(paths, name=ADASPLIT_NAME)
    result = as_asked(result)
    say(f"report: {write_deprune_report(result, series, out)}")
    show(result, out, as_json=as_json)


def _options(
    clients: int, seeds: tuple[int, ...], trained: dict[str, Any], *, folder: Path
) -> DepruneOptions:
    """Return what to train, or raise UsageError."""
    from headgate.export.bench.split_training.bench_deprune import DepruneOptions

    config, settings = config_of(trained)
    if clients < 1 or not seeds or len(set(seeds)) != len(seeds):
        raise UsageError(
            f"--clients {clients} --seeds {seeds}: expected 1 or more clients, and each seed once"
        )
    return DepruneOptions(config, settings, clients, seeds, folder)


@click.command("train-transport")
@click.option("--trips", default=400, show_default=True, help="round trips of each way")
@held_to_goals
@outputs
def train_transport(trips: int, out: Path, as_json: bool) -> None:
    """Round trip of a batch and its gradient beside a bare ZeroMQ echo, and gRPC if installed."""
    from headgate.export.bench.split_training.bench_train_transport import bench_train_transport

    if trips < 1:
        raise UsageError(f"--trips: found {trips}, expected 1 or more")
    show(bench_train_transport(num_trips=trips, say=say), out, as_json=as_json)


@click.command("deprune-network")
@click.option("--clients", default=8, show_default=True, help="processes that train")
@click.option("--cpu-share", default=0.25, show_default=True, help="of a core, for each client")
@click.option(
    "--rate-mbps", type=POSITIVE, default=20.0, show_default=True, help="of the shaped link"
)
@click.option(
    "--delay-ms",
    type=NOT_NEGATIVE,
    default=5.0,
    show_default=True,
    help="of the shaped link, one way",
)
@click.option(
    "--timeout-s", type=POSITIVE, default=1800.0, show_default=True, help="for one of the four runs"
)
@training_options
@held_to_goals
@outputs
def deprune_network(
    clients: int,
    cpu_share: float,
    rate_mbps: float,
    delay_ms: float,
    timeout_s: float,
    out: Path,
    as_json: bool,
    **trained: Any,
) -> None:
    """Bytes and speed of clients over sockets, with the compression module and without.

    Trains two epochs with the first budget of --schedule, and with all maps, over loopback and over
    a shaped link that all clients share. Writes deprune-network.html and deprune-network.png
    besides the table.
    """
    from headgate.export.bench.split_training.bench_deprune_network import (
        NetworkOptions,
        bench_deprune_network,
    )

    if clients < 1 or not 0 < cpu_share <= 1:
        raise UsageError(
            f"--clients {clients} --cpu-share {cpu_share:g}: expected 1 client or more, and a "
            "share above 0 and up to 1"
        )
    config, settings = config_of(trained)
    options = NetworkOptions(
        trained=options_of(trained),
        config=config,
        settings=settings,
        num_clients=clients,
        cpu_share=cpu_share,
        rate_mbps=rate_mbps,
        delay_ms=delay_ms,
        timeout_s=timeout_s,
        folder=out / "deprune-network",
    )
    show(bench_deprune_network(options, say=say), out, as_json=as_json)
