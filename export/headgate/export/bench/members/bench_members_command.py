"""`headgate bench family-cost`, `selection` and `rate-weights`: how members are best trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from headgate.export.bench.bench_options import held_to_goals, outputs, say, show
from headgate.profiles.errors import UsageError
from headgate.train.commands.number_lists import numbers_in, whole_numbers_in

if TYPE_CHECKING:
    from headgate.train.recipe import PruneConfig

F = TypeVar("F", bound=Callable[..., Any])


def _recipe_options(function: F) -> F:
    """Give a benchmark the options that decide what is trained."""
    for decorate in (
        click.option("--data", required=True, help="cifar10:PATH, folder:PATH or npz:PATH"),
        click.option("--model", default="vgg11", show_default=True, help="network"),
        click.option("--width", type=float, help="multiplies its channels  [default: 1]"),
        click.option("--split", help="layer to cut after  [default: the model's own]"),
        click.option(
            "--resolution", "resolution_factor", default=1, show_default=True, help="r, see train"
        ),
        click.option("--pictures", type=int, help="of each half of the data  [default: all]"),
        click.option("--input-px", type=int, help="side of the input, in px"),
        click.option("--budgets", default="64,32,16,8,4,2", show_default=True, help="members"),
        click.option("--levels", default="64,16,8,4", show_default=True, help="as of train"),
        click.option("--epochs", default=30, show_default=True, help="of the plain network"),
        click.option("--base-epochs", default=3, show_default=True, help="with all maps"),
        click.option("--member-epochs", default=3, show_default=True, help="of each other member"),
        click.option("--batch-size", default=64, show_default=True, help="pictures a step"),
        click.option("--distill", type=float, help="as of train  [default: that of train]"),
        click.option("--share", default="ends", show_default=True, help="as of train"),
        click.option("--precision", default="auto", show_default=True, help="as of train"),
        click.option("--threads", type=int, help="CPU threads"),
        click.option("--seed", default=0, show_default=True),
    ):
        function = decorate(function)
    return function


@click.command("family-cost")
@_recipe_options
@click.option("--twins", default="", help="budgets to train from fresh weights too, such as 16,4")
@held_to_goals
@outputs
def family_cost(twins: str, out: Path, as_json: bool, **settings: Any) -> None:
    """What a family costs to train beside its plain network, and its members beside twins."""
    from headgate.export.bench.members.bench_costs import CostOptions, bench_costs
    from headgate.train.run.progress import choose_progress

    recipe = _recipe(settings)
    wanted = whole_numbers_in(twins, option="--twins", example="32,8,2")
    options = CostOptions(recipe=recipe, folder=out / "family-cost", twins=wanted)
    show(bench_costs(options, progress=choose_progress(), say=say), out, as_json=as_json)


@click.command()
@_recipe_options
@click.option("--seeds", default="0,1,2", show_default=True)
@click.option(
    "--methods",
    default="filter,importance,nair,principal",
    show_default=True,
    help="the first is the base",
)
@outputs
def selection(seeds: str, methods: str, out: Path, as_json: bool, **settings: Any) -> None:
    """Ways to choose the maps of a member, at equal epochs."""
    from headgate.export.bench.members.bench_selection import SelectionOptions, bench_selection
    from headgate.train.recipe import SELECTIONS
    from headgate.train.run.progress import choose_progress

    named = tuple(method.strip() for method in methods.split(","))
    for method in named:
        if method not in SELECTIONS or named.count(method) > 1:
            raise UsageError(
                f"--methods: {method!r} is not one of {', '.join(SELECTIONS)}, or is given twice"
            )
    options = SelectionOptions(
        recipe=_recipe(settings),
        folder=out / "selection",
        seeds=whole_numbers_in(seeds, option="--seeds", example="0,1,2"),
        methods=named,
    )
    show(bench_selection(options, progress=choose_progress(), say=say), out, as_json=as_json)


@click.command("rate-weights")
@_recipe_options
@click.option("--weights", default="0,1e-4,3e-4,1e-3", show_default=True, help="loss per bit")
@click.option("--backbone", help="run to start from  [default: a plain network is trained]")
@outputs
def rate_weights(
    weights: str, backbone: str | None, out: Path, as_json: bool, **settings: Any
) -> None:
    """Bytes and accuracy of a family's points for each weight of the rate term."""
    from dataclasses import replace

    from headgate.export.bench.members.bench_rate_weights import (
        RateWeightOptions,
        bench_rate_weights,
    )
    from headgate.train.run.progress import choose_progress

    numbers = numbers_in(weights, option="--weights", example="0,1e-4,1e-3")
    recipe = _recipe(settings)
    if backbone is not None:
        recipe = replace(recipe, backbone=backbone, epochs=None)
    options = RateWeightOptions(recipe=recipe, folder=out / "rate-weights", weights=numbers)
    show(bench_rate_weights(options, progress=choose_progress(), say=say), out, as_json=as_json)


def _recipe(settings: dict[str, Any]) -> PruneConfig:
    from headgate.train.recipe import PruneConfig

    budgets = whole_numbers_in(settings.pop("budgets"), option="--budgets", example="32,8,2")
    levels = whole_numbers_in(settings.pop("levels"), option="--levels", example="256,16,4")
    return PruneConfig(limit=settings.pop("pictures"), budgets=budgets, levels=levels, **settings)
