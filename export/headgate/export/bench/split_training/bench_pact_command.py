"""`headgate bench pact` and `bench pact-run`: planned trainings beside those without a plan."""

from __future__ import annotations

from pathlib import Path

import click

from headgate.export.bench.bench_options import (
    NOT_NEGATIVE,
    POSITIVE,
    as_asked,
    held_to_goals,
    outputs,
    say,
    show,
    workers_option,
)
from headgate.profiles.errors import UsageError
from headgate.train.commands.number_lists import NumberList
from headgate.train.commands.pact_command import wanted_of


@click.command()
@click.argument("pilot", type=click.Path(path_type=Path))
@click.option("--cases", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.option("--first-seed", default=0, show_default=True, help="of the cases")
@workers_option
@held_to_goals
@outputs
def pact(pilot: Path, cases: int, first_seed: int, workers: int, out: Path, as_json: bool) -> None:
    """Energy of plans beside those of operators without one, on cases drawn by chance.

    PILOT is a folder of `train pact pilot`: its network, and how it learns, are those of all cases.
    Nothing is trained; see `bench pact-run` for whether a plan keeps what it predicts.
    """
    from headgate.export.bench.split_training.bench_pact import PactOptions, bench_pact
    from headgate.train.pact.pilot_file import read_pilot

    options = PactOptions(cases, first_seed, workers)
    show(bench_pact(read_pilot(pilot), options), out, as_json=as_json)


@click.command("pact-run")
@click.argument("pilot", type=click.Path(path_type=Path))
@click.argument("nodes", type=click.Path(path_type=Path))
@click.option("--accuracy", type=POSITIVE, required=True, help="that is asked for, 0 to 1")
@click.option("--within-min", type=POSITIVE, help="minutes that it may take  [default: any]")
@click.option(
    "--max-epochs",
    type=click.IntRange(1, 500),
    default=60,
    show_default=True,
    help="of each way to train",
)
@click.option("--last-budget", type=int, help="maps of the network at the end  [default: any]")
@click.option("--margin", type=NOT_NEGATIVE, help="of accuracy  [default: the curve's error]")
@click.option(
    "--seeds", type=NumberList(), default=(0,), help="of the runs, as 0,1,2  [default: 0]"
)
@held_to_goals
@outputs
def pact_run(
    pilot: Path,
    nodes: Path,
    accuracy: float,
    within_min: float | None,
    max_epochs: int,
    last_budget: int | None,
    margin: float | None,
    seeds: tuple[int, ...],
    out: Path,
    as_json: bool,
) -> None:
    """Train a plan for the NODES of a file, and its rivals, and compare with what was predicted.

    All sides in one process; the pilot's data set is dealt to the nodes. Runs that an earlier call
    trained are taken as they are. Writes pact-run.html and pact-run.png besides the table.
    """
    from headgate.export.bench.split_training.bench_pact_run import (
        PactRunOptions,
        bench_pact_run,
        write_pact_report,
    )
    from headgate.train.pact.nodes import read_nodes
    from headgate.train.pact.pilot_file import read_pilot

    if not seeds or len(set(seeds)) != len(seeds):
        raise UsageError(f"--seeds: found {seeds}, expected each seed once, such as 0,1,2")
    options = PactRunOptions(
        read_nodes(nodes),
        read_pilot(pilot),
        wanted_of(accuracy, within_min, max_epochs, last_budget),
        margin,
        seeds,
        folder=out / "pact-runs",
    )
    result, found = bench_pact_run(options, say=say)
    result = as_asked(result)
    say(f"report: {write_pact_report(result, found, options, out)}")
    show(result, out, as_json=as_json)
