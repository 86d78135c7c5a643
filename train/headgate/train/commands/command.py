"""`headgate train`: the commands that train a family and show where a network can be cut."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from headgate.profiles.errors import UsageError
from headgate.train.commands.command_group import SentenceGroup
from headgate.train.commands.deprune_command import adasplit, deprune
from headgate.train.commands.pact_command import pact
from headgate.train.commands.progressive_command import clio, nair
from headgate.train.commands.run_options import given_options, run_options


@click.group(cls=SentenceGroup)
def train() -> None:
    """Train families of split models."""


for command in (nair, clio, deprune, adasplit, pact):
    train.add_command(command)


@train.command()
@run_options()
def prune(out: Path, resume: bool, force: bool, as_json: bool, **settings: Any) -> None:
    """Train a plain network, then one member per budget, each from the one before.

    The run is written to OUT.partial and becomes OUT when all of it is done.
    """
    from headgate.train.commands.tables import (
        members_table,
        print_table,
        say_if_begun_anew,
        say_run,
    )
    from headgate.train.processes import is_first_process
    from headgate.train.recipe import PruneConfig
    from headgate.train.run.from_backbone import with_network_of_backbone
    from headgate.train.run.interruptions import telling_how_to_go_on, way_on
    from headgate.train.run.phi import whole_budgets
    from headgate.train.run.progress import choose_progress
    from headgate.train.run.prune import train_prune

    settings = with_network_of_backbone(settings, given=given_options())
    budgets = settings.pop("budgets")
    config = PruneConfig(**settings)
    if is_first_process():
        say_if_begun_anew(out, resume=resume and not force)
    with telling_how_to_go_on(lambda: way_on(out)):
        run = train_prune(
            replace(config, budgets=whole_budgets(budgets, config)),
            out,
            resume=resume,
            force=force,
            progress=choose_progress(as_json=as_json),
        )
    if is_first_process() and not as_json:
        print_table(members_table(run.record))
        say_run(out)


@train.command()
@click.argument("model")
@click.option(
    "--input-px", default=96, show_default=True, help="side of the network's square input, in px"
)
@click.option(
    "--width", default=1.0, show_default=True, help="multiplies the channels of the network"
)
@click.option("--num-classes", default=10, show_default=True, help="answers of the network")
@click.option("--all", "show_all", is_flag=True, help="also list layers it cannot be cut after")
@click.option("--json", "as_json", is_flag=True, help="one JSON line per split, valid or not")
def splits(
    model: str, input_px: int, width: float, num_classes: int, show_all: bool, as_json: bool
) -> None:
    """List where MODEL can be cut, and what each cut costs.

    Bytes are those of the float32 maps, for one picture; shares are of multiply-adds.
    """
    import torch

    from headgate.train.commands.tables import print_table, split_line, splits_table
    from headgate.train.networks.backbones import build_backbone
    from headgate.train.networks.splits import list_splits
    from headgate.train.recipe import DEFAULT_SPLITS

    for option, value in (("--input-px", input_px), ("--num-classes", num_classes)):
        if value < 1:
            raise UsageError(f"{option}: found {value}, expected 1 or more")
    network = build_backbone(model, num_classes=num_classes, input_px=input_px, width=width)
    points = list_splits(network, torch.zeros(1, 3, input_px, input_px))
    if as_json:
        for point in points:
            click.echo(split_line(point))
    else:
        title = f"{model} at {input_px} x {input_px} px"
        print_table(
            splits_table(
                points, title=title, with_refused=show_all, default=DEFAULT_SPLITS.get(model)
            )
        )
