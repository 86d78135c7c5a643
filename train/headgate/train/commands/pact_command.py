"""`headgate train pact`: plan which maps cross, from which nodes, in which epoch; then train so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headgate.profiles.errors import UsageError
from headgate.train.commands.command_group import SentenceGroup
from headgate.train.commands.deprune_command import train_as_side
from headgate.train.commands.deprune_options import config_of, pilot_options
from headgate.train.commands.deprune_sides import side_of, side_options
from headgate.train.commands.number_lists import NumberList
from headgate.train.commands.run_options import given_options

if TYPE_CHECKING:
    from headgate.train.pact.planner import Wanted
    from headgate.train.recipe import PruneConfig

PILOT_DEFAULTS = {"client_sync": "fedavg"}  # a node that was away goes on from what others learnt


_pilot_option = click.option(
    "--pilot",
    "pilot_folder",
    type=click.Path(path_type=Path),
    required=True,
    help="folder of `train pact pilot`",
)


@click.group(cls=SentenceGroup)
def pact() -> None:
    """Plan split training for the least energy: which maps, from which nodes, in which epoch."""


@pact.command(context_settings={"default_map": PILOT_DEFAULTS})
@click.option("--out", type=click.Path(path_type=Path), required=True, help="folder of the pilot")
@click.option(
    "--budgets", type=NumberList(), required=True, help="numbers of maps that a plan may use"
)
@click.option("--epochs", default=8, show_default=True, help="of the longest trainings, 4 or more")
@pilot_options
@click.option("--json", "as_json", is_flag=True, help="the curve, as JSON")
def pilot(out: Path, budgets: tuple[int, ...], epochs: int, as_json: bool, **trained: Any) -> None:
    """Train for a short time in several ways, to tell how the network learns for long.

    With all sides in this process; what OUT/runs has already is not trained again.
    """
    from headgate.profiles.parse import unparse
    from headgate.train.commands.pact_tables import curve_table, trials_table
    from headgate.train.commands.tables import print_table
    from headgate.train.pact.pilot import run_pilot

    config, settings = config_of({**trained, "schedule": "1:1"})  # each training has its own
    made = run_pilot(
        config,
        settings,
        out,
        budgets=budgets,
        epochs=epochs,
        say=lambda text: click.echo(text, err=True),
    )
    if as_json:
        click.echo(json.dumps(unparse(made.curve)))
        return
    print_table(trials_table(made))
    print_table(curve_table(made))
    click.echo(f"pilot: {out}; plan with `headgate train pact plan NODES.toml --pilot {out}`")


@pact.command()
@click.argument("nodes", type=click.Path(path_type=Path))
@_pilot_option
@click.option("--accuracy", type=float, required=True, help="that the network is to have, 0 to 1")
@click.option("--within-min", type=float, help="minutes that all of it may take  [default: any]")
@click.option(
    "--max-epochs", type=click.IntRange(1, 500), default=60, show_default=True, help="of a plan"
)
@click.option("--last-budget", type=int, help="maps of the network at the end  [default: any]")
@click.option(
    "--margin",
    type=float,
    help="of accuracy, for what the curve is wrong by  [default: its error over the pilot]",
)
@click.option("--out", type=click.Path(path_type=Path), help="write the plan here")
@click.option("--json", "as_json", is_flag=True, help="plan and rivals, as JSON")
def plan(
    nodes: Path,
    pilot_folder: Path,
    accuracy: float,
    within_min: float | None,
    max_epochs: int,
    last_budget: int | None,
    margin: float | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Find the training of least energy that is good enough in time, on the NODES of a file.

    Shows what it costs beside what operators would do without a plan: all nodes in all epochs, the
    best nodes in all epochs, or in each epoch what learns most per joule.
    """
    from headgate.profiles.parse import unparse
    from headgate.train.commands.pact_tables import epochs_table, rivals_table
    from headgate.train.commands.tables import print_table
    from headgate.train.pact.dealing import why_not_dealt
    from headgate.train.pact.nodes import read_nodes
    from headgate.train.pact.pilot_file import read_pilot
    from headgate.train.pact.plan_file import check_place_of_plan, plan_of, write_plan
    from headgate.train.pact.planning import plan_training

    if margin is not None and not 0 <= margin < 1:
        raise UsageError(f"--margin: found {margin:g}, expected 0 or more, and less than 1")
    found, made = read_nodes(nodes), read_pilot(pilot_folder)
    if out is not None:
        check_place_of_plan(out, not_on=nodes)
    wanted = wanted_of(accuracy, within_min, max_epochs, last_budget)
    click.echo(f"planning for {len(found.nodes)} nodes", err=True)  # of many it takes minutes
    planned = plan_training(found, made, wanted, margin=margin)
    training = plan_of(made, found.nodes, planned.best)
    if out is not None:
        write_plan(out, training)
    refused = why_not_dealt(training, made)
    if refused is not None:
        click.echo(f"warning: `run` will not train this on the pilot's data: {refused}", err=True)
    if as_json:
        rivals = {
            name: None if each is None else {"energy_j": each.energy_j, "time_s": each.time_s}
            for name, each in planned.rivals.items()
        }
        click.echo(json.dumps({"plan": unparse(training), "rivals": rivals}))
        return
    print_table(epochs_table(training))
    print_table(rivals_table(planned))
    if out is not None:
        click.echo(f"plan: {out}; every side trains with `headgate train pact run {out}`")


@pact.command()
@click.argument("plan", type=click.Path(path_type=Path))
@side_options
@click.option("--data", help="this side's pictures  [default: those of the pilot]")
@click.option("--threads", type=int, help="CPU threads  [default: as for the pilot]")
@click.option("--device", help="auto, cpu or cuda  [default: as for the pilot]")
@click.option(
    "--deal/--no-deal",
    default=None,
    help="a data set that stands for those of all nodes is dealt to them  [default: if local]",
)
@click.option("--json", "as_json", is_flag=True, help="one JSON line per epoch on stdout")
def run(
    plan: Path,
    data: str | None,
    threads: int | None,
    device: str | None,
    deal: bool | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Train as a PLAN says: as its server, as one of its nodes (--name), or all of them here.

    Sides, folders and resuming are those of `train deprune`. A node that is not there when its
    epoch begins is not waited for, and at the beginning for --client-timeout-s; where none of an
    epoch's nodes is, all that are train in it.
    """
    from headgate.train.commands.pact_tables import came_to
    from headgate.train.pact.dealing import dealing
    from headgate.train.pact.plan_file import read_plan
    from headgate.train.split_training.epoch_record import read_epochs

    side, _ = side_of(given)
    training = read_plan(plan)
    side.check()
    if side.role == "client" and side.name not in training.names:
        raise UsageError(
            f"--name: found {side.name or 'none'}, expected a node that trains in {plan}: "
            f"{', '.join(sorted(training.names))}"
        )
    deals = side.role == "local" if deal is None else deal
    if side.role == "local" and not deals:
        raise UsageError("--no-deal: of all nodes here none would have pictures; leave it out")
    ignored = given_options() & ({"clients", "share"} if deals else {"clients"})
    if ignored:
        raise UsageError(f"--{min(ignored)}: the plan says who trains on what; leave it out")
    done = train_as_side(
        _here(training.config, data=data, threads=threads, device=device),
        training.settings,
        replace(side, clients=len(training.names)),
        as_json=as_json,
        dealt=dealing(training.nodes, names=training.names) if deals else None,
    )
    if done is not None:
        click.echo(came_to(training, read_epochs(done)), err=as_json)


@pact.command()
@_pilot_option
@click.option(
    "--side",
    type=click.Choice(["client", "server"]),
    default="client",
    show_default=True,
    help="whose layers this machine trains",
)
@click.option("--threads", type=int, help="CPU threads  [default: as for the pilot]")
@click.option("--device", help="auto, cpu or cuda  [default: as for the pilot]")
def measure(pilot_folder: Path, side: str, threads: int | None, device: str | None) -> None:
    """Measure this machine's gmacs_per_s, for the file of nodes."""
    from headgate.train.devices import compute_device
    from headgate.train.pact.pilot_file import read_pilot
    from headgate.train.pact.speed import measure_speed
    from headgate.train.split_training.deprune import prepare, threads_of
    from headgate.train.split_training.settings import Phase

    made = read_pilot(pilot_folder)
    config = _here(made.config, threads=threads, device=device)
    budget = made.costs.budgets[-1].budget
    prepared = prepare(config, replace(made.settings, phases=(Phase(budget, 1),)))
    with threads_of(config):
        found = measure_speed(
            prepared, side=side, budget=budget, device=compute_device(prepared.config)
        )
    click.echo(f"gmacs_per_s = {found:.3g}")


def _here(
    config: PruneConfig,
    *,
    threads: int | None,
    device: str | None,
    data: str | None = None,
) -> PruneConfig:
    """Return a recipe with what is said of this machine; a limit was of the pilot's pictures."""
    if data is not None:
        config = replace(config, data=data, limit=None)
    if device is not None:
        config = replace(config, device=device)
    return config if threads is None else replace(config, threads=threads)


def wanted_of(
    accuracy: float, within_min: float | None, max_epochs: int, last_budget: int | None
) -> Wanted:
    """Return what a plan must keep, or raise UsageError."""
    from math import inf

    from headgate.train.pact.planner import Wanted

    if not 0 < accuracy < 1:
        raise UsageError(f"--accuracy: found {accuracy:g}, expected a share such as 0.7")
    if within_min is not None and not within_min > 0:
        raise UsageError(f"--within-min: found {within_min:g}, expected more than 0")
    return Wanted(accuracy, inf if within_min is None else 60 * within_min, max_epochs, last_budget)
