"""The options of what split training trains, which every side and the benchmarks take alike."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import click

from headgate.profiles.errors import UsageError
from headgate.train.commands.run_options import options_in_order, run_option

if TYPE_CHECKING:
    from headgate.train.recipe import PruneConfig
    from headgate.train.split_training.settings import DepruneSettings

# Of `adasplit_options`, where they differ from those of deprune.
ADASPLIT_DEFAULTS = {"schedule": "128:20", "server_view": "masks"}
LOCAL_TENTHS = 6  # of the epochs, as in the paper

_NETWORK = (
    run_option("data"),
    run_option("model", default="vgg11"),
    run_option("width"),
    click.option("--split", help="layer to cut after, see `train splits`  [default: the model's]"),
    click.option(
        "--input-px",
        type=int,
        help="side of the network's input, which is then square  [default: the data's size]",
    ),
    run_option("resolution_factor"),
)
_SCHEDULE = click.option(
    "--schedule",
    default="4:15,128:7",
    show_default=True,
    help="maps that cross and for how many epochs, BUDGET:EPOCHS,...; few first, or last",
)
_LEARNING = (
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
    run_option("momentum"),
    run_option("weight_decay"),
    run_option("epsilon"),
    run_option("delta"),
    run_option("lambda_"),
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
    run_option("augment"),
    run_option("seed"),
    click.option("--limit", type=int, help="use at most this many pictures of each half"),
    click.option("--threads", type=int, help="CPU threads  [default: as torch sees fit]"),
    run_option("device"),
    click.option(
        "--precision", default="float32", show_default=True, help="float32 or bfloat16 (mixed)"
    ),
    click.option(
        "--partition",
        default="drawn",
        show_default=True,
        help="how clients' pictures differ: drawn, or each has other classes (classes)",
    ),
    click.option(
        "--server-view",
        default="shared",
        show_default=True,
        help="a client's own of the server's layers: shared, statistics or masks",
    ),
    click.option(
        "--mask-weight", default=0.0, show_default=True, help="of the mean magnitude of masks"
    ),
)
_GRADIENT_BITS = click.option(
    "--gradient-bits", default=32, show_default=True, help="of the maps' gradients"
)
# `config_of` reads them.
training_options = options_in_order(*_NETWORK, _SCHEDULE, *_LEARNING, _GRADIENT_BITS)
pilot_options = options_in_order(*_NETWORK, *_LEARNING, _GRADIENT_BITS)
adasplit_options = options_in_order(
    *_NETWORK,
    _SCHEDULE,
    *_LEARNING,
    click.option(
        "--local-epochs",
        type=int,
        help="first epochs, in which no maps cross, only the clients' layers at the end of each  "
        "[default: six tenths of them]",
    ),
    click.option(
        "--cross-share",
        default=0.6,
        show_default=True,
        help="of all clients' batches that crosses in each later epoch",
    ),
    click.option(
        "--orchestrator",
        default="ucb",
        show_default=True,
        help="whose batches those are: of clients with a large loss (ucb), or of all alike (even)",
    ),
    click.option(
        "--local-loss",
        default="label",
        show_default=True,
        help="that clients train by: label, or contrastive as in the paper",
    ),
    click.option(
        "--server-passes",
        default=4,
        show_default=True,
        help="of the server over the batches of an epoch: more of them, without more bytes",
    ),
    click.option("--temperature", default=0.07, show_default=True, help="of the contrastive loss"),
)


def config_of(trained: dict[str, Any]) -> tuple[PruneConfig, DepruneSettings]:
    """Return the recipe and the settings that the options say."""
    from headgate.train.recipe import PruneConfig
    from headgate.train.split_training.adasplit import AdaSplitSettings
    from headgate.train.split_training.settings import DepruneSettings, parse_schedule

    phases = parse_schedule(trained["schedule"])
    own = {f.name for f in fields(DepruneSettings)} & trained.keys()
    of_adasplit = {f.name for f in fields(AdaSplitSettings)} & trained.keys()
    settings = DepruneSettings(phases=phases, **{name: trained[name] for name in own})
    if of_adasplit:
        said = {name: trained[name] for name in of_adasplit}
        if said["local_epochs"] is None:
            said["local_epochs"] = LOCAL_TENTHS * settings.num_epochs // 10
        settings = replace(settings, adasplit=AdaSplitSettings(**said))
    taken = {*own, *of_adasplit, "schedule", "lr_schedule"}
    rest = {name: value for name, value in trained.items() if name not in taken}
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
