"""The options of what split training trains, which every side and the benchmarks take alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from headgate.profiles.errors import UsageError

if TYPE_CHECKING:
    from headgate.train.recipe import PruneConfig
    from headgate.train.split_training.settings import DepruneSettings

F = TypeVar("F", bound=Callable[..., Any])

_TRAINED = (
    click.option(
        "--data",
        default="embedded",
        show_default=True,
        help="embedded[:...], cifar10:PATH, folder:PATH or npz:PATH",
    ),
    click.option(
        "--model",
        default="vgg11",
        show_default=True,
        help="vgg11, mobilenet_v2, resnet18, lenet, or package.module:callable",
    ),
    click.option(
        "--width",
        type=float,
        help="multiplies a built-in network's channels  [default: 1, or 0.25 on embedded]",
    ),
    click.option("--split", help="layer to cut after, see `train splits`  [default: the model's]"),
    click.option("--input-px", type=int, help="side of the network's input  [default: the data's]"),
    click.option(
        "--resolution",
        "resolution_factor",
        default=1,
        show_default=True,
        help="r: shrinks height and width of the maps",
    ),
    click.option(
        "--schedule",
        default="4:15,128:7",
        show_default=True,
        help="maps that cross and for how many epochs, BUDGET:EPOCHS,...; budgets grow",
    ),
    click.option("--batch-size", default=64, show_default=True, help="pictures of a client's step"),
    click.option("--lr", default=0.05, show_default=True, help="learning rate of both sides"),
    click.option(
        "--gamma", default=1.0, show_default=True, help="raises it on each move to a larger budget"
    ),
    click.option("--raise-epochs", default=1, show_default=True, help="how many epochs it holds"),
    click.option(
        "--lr-schedule",
        default="cosine",
        show_default=True,
        help="of the learning rate: cosine, step or constant",
    ),
    click.option(
        "--anneal",
        default="whole",
        show_default=True,
        help="over what it falls: the whole run, or each budget's epochs anew (budget)",
    ),
    click.option("--momentum", default=0.9, show_default=True, help="of SGD"),
    click.option(
        "--weight-decay", default=5e-4, show_default=True, help="of convolutions and linear layers"
    ),
    click.option("--epsilon", default=0.1, show_default=True, help="weight of the prune loss"),
    click.option("--delta", default=4.0, show_default=True, help="steepness of the prune loss"),
    click.option(
        "--lambda",
        "lambda_",
        default=1.0,
        show_default=True,
        help="0 to 1: how much the prune loss minds too few maps",
    ),
    click.option(
        "--join",
        default="drawn",
        show_default=True,
        help="how maps begin that cross for the first time: drawn or silent",
    ),
    click.option(
        "--client-sync",
        default="none",
        show_default=True,
        help="what clients' halves have in common: none, relay or fedavg",
    ),
    click.option(
        "--feature-bits", default=32, show_default=True, help="of the maps: 32, 16, or 8 to 2"
    ),
    click.option("--gradient-bits", default=32, show_default=True, help="of their gradients"),
    click.option(
        "--compress/--no-compress",
        default=False,
        show_default=True,
        help="entropy-code what crosses, where it pays",
    ),
    click.option(
        "--on-nan",
        default="stop",
        show_default=True,
        help="after a number that is not finite: stop, or skip the batch",
    ),
    click.option(
        "--augment/--no-augment",
        default=True,
        show_default=True,
        help="move, and where it suits mirror, training pictures",
    ),
    click.option("--seed", default=0, show_default=True, help="of all random choices"),
    click.option("--limit", type=int, help="use at most this many pictures of each half"),
    click.option("--threads", type=int, help="CPU threads  [default: as torch sees fit]"),
    click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda"),
    click.option(
        "--precision", default="float32", show_default=True, help="float32 or bfloat16 (mixed)"
    ),
)


def training_options(function: F) -> F:
    """Give a command the options of what is trained; `config_of` reads them."""
    for decorate in reversed(_TRAINED):
        function = decorate(function)
    return function


def config_of(trained: dict[str, Any]) -> tuple[PruneConfig, DepruneSettings]:
    """Return the recipe and the settings that the options say."""
    from headgate.train.recipe import PruneConfig
    from headgate.train.split_training.settings import DepruneSettings, parse_schedule

    own = ("anneal", "join", "client_sync", "feature_bits", "gradient_bits", "compress", "on_nan")
    settings = DepruneSettings(
        phases=parse_schedule(trained["schedule"]), **{name: trained[name] for name in own}
    )
    rest = {n: v for n, v in trained.items() if n not in (*own, "schedule", "lr_schedule")}
    if rest["precision"] not in ("float32", "bfloat16"):
        raise UsageError(f"--precision: {rest['precision']!r} is not one of float32, bfloat16")
    return PruneConfig(schedule=trained["lr_schedule"], **rest), settings


def options_of(trained: dict[str, Any]) -> list[str]:
    """Return the options as another process takes them, but the schedule."""
    renamed = {"resolution_factor": "resolution", "lambda_": "lambda"}
    arguments = []
    for name, value in trained.items():
        option = renamed.get(name, name).replace("_", "-")
        if isinstance(value, bool):
            arguments.append(f"--{option}" if value else f"--no-{option}")
        elif value is not None and name != "schedule":
            arguments.append(f"--{option}={value}")
    return arguments
