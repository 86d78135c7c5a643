"""`headgate train`: the commands that train a family and show where a network can be cut."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from headgate.profiles.errors import UsageError
from headgate.train.commands.command_group import SentenceGroup
from headgate.train.commands.deprune_command import deprune
from headgate.train.commands.number_lists import BudgetList, NumberList
from headgate.train.commands.progressive_command import add_progressive_commands, given_options

NUMBERS = NumberList()


@click.group(cls=SentenceGroup)
def train() -> None:
    """Train families of split models."""


train.add_command(deprune)


@train.command()
@click.option(
    "--data",
    default="embedded",
    show_default=True,
    help="embedded[:...], cifar10:PATH, folder:PATH or npz:PATH",
)
@click.option(
    "--model",
    default="resnet18",
    show_default=True,
    help="vgg11, mobilenet_v2, resnet18, lenet, or package.module:callable",
)
@click.option(
    "--width",
    type=float,
    help="multiplies a built-in network's channels  [default: 1, or 0.25 on embedded]",
)
@click.option(
    "--split",
    help="layer to cut after, see `train splits`; 0 is the picture  [default: the model's own]",
)
@click.option(
    "--input-px",
    type=int,
    help="side of the network's input, in px  [default: the data set's pictures]",
)
@click.option(
    "--budgets",
    type=BudgetList(),
    default=(),
    help="maps that may cross, a member for each; phi is all that leave the split  "
    "[default: phi,phi/4,phi/32]",
)
@click.option(
    "--resolution",
    "resolution_factor",
    default=1,
    show_default=True,
    help="r: shrinks height and width of the maps",
)
@click.option(
    "--epochs", type=int, help="epochs of the plain network  [default: 10, or 0 with --backbone]"
)
@click.option(
    "--base-epochs", default=2, show_default=True, help="epochs of the member that sends all maps"
)
@click.option("--member-epochs", default=2, show_default=True, help="epochs of each smaller member")
@click.option(
    "--slim-head",
    type=float,
    help="share of the channels that the device's head has, above 0 and below 1  [default: all]",
)
@click.option(
    "--slim-epochs",
    default=8,
    show_default=True,
    help="epochs of the slim head, taught by the whole one",
)
@click.option(
    "--picture-epochs",
    default=0,
    show_default=True,
    help="epochs of a second whole network, tuned on JPEG and WebP pictures, for offload",
)
@click.option(
    "--backbone",
    help="run folder or safetensors file with the plain network's weights; a run also sets "
    "--model, --width, --split and --input-px where you do not",
)
@click.option(
    "--normalise",
    help="how pictures are scaled for the network: data (each colour less the training pictures' "
    "mean, over their deviation), unit (0 to 1), imagenet, or R,G,B:R,G,B (means:deviations of "
    "0 to 1)  [default: as --backbone was trained, if it is a run; else data]",
)
@click.option(
    "--from-scratch",
    is_flag=True,
    help="train every member from fresh weights for --epochs, to compare with",
)
@click.option(
    "--batch-size", default=64, show_default=True, help="pictures per step, over all processes"
)
@click.option("--lr", default=0.05, show_default=True, help="learning rate of the plain network")
@click.option("--member-lr", default=0.01, show_default=True, help="learning rate of the members")
@click.option(
    "--gamma",
    type=float,
    help="raises a smaller member's rate in its first epochs  "
    "[default: 3 with --select filter, else 1]",
)
@click.option("--raise-epochs", default=1, show_default=True, help="how many epochs --gamma holds")
@click.option("--schedule", default="cosine", show_default=True, help="cosine, step or constant")
@click.option("--momentum", default=0.9, show_default=True, help="of SGD")
@click.option(
    "--weight-decay", default=5e-4, show_default=True, help="of convolutions and linear layers"
)
@click.option("--epsilon", default=0.1, show_default=True, help="weight of the prune loss")
@click.option("--delta", default=4.0, show_default=True, help="steepness of the prune loss")
@click.option(
    "--lambda",
    "lambda_",
    default=1.0,
    show_default=True,
    help="0 to 1: how much the prune loss minds too few maps",
)
@click.option(
    "--rate-weight", default=0.0, show_default=True, help="loss per bit that a picture's maps cost"
)
@click.option(
    "--distill",
    type=float,
    help="0 to 1: share of the members' task loss learnt from the plain network  "
    "[default: 0.5, or 0 with --from-scratch]",
)
@click.option(
    "--hint",
    type=float,
    help="loss per share of the features' variance that a bottleneck does not restore  "
    "[default: 3, or 0 with --from-scratch]",
)
@click.option(
    "--share",
    default="ends",
    show_default=True,
    help="what members keep of the plain network: ends (head and late tail), head, or nothing",
)
@click.option(
    "--select",
    default="importance",
    show_default=True,
    help="how a smaller member's maps are chosen: filter (the paper), importance or nair",
)
@click.option(
    "--cache-gb",
    default=4.0,
    show_default=True,
    help="disk space for the outputs of a shared head, in GB; 0 to compute them each time",
)
@click.option(
    "--levels",
    type=NUMBERS,
    default=(256, 64, 16, 8, 4),
    help="values per number sent; one is drawn per batch  [default: 256,64,16,8,4]",
)
@click.option(
    "--augment/--no-augment",
    default=True,
    show_default=True,
    help="move, and where it suits mirror, training pictures",
)
@click.option(
    "--link-loss",
    default=0.0,
    show_default=True,
    help="0 to 1: most of a picture's maps, or bits, that are lost while members train",
)
@click.option("--seed", default=0, show_default=True, help="of all random choices")
@click.option("--limit", type=int, help="use at most this many pictures to train and to validate")
@click.option(
    "--threads", type=int, help="CPU threads of each process  [default: as torch sees fit]"
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda")
@click.option(
    "--precision", default="auto", show_default=True, help="auto, float32 or bfloat16 (mixed)"
)
@click.option("--checkpoint-steps", type=int, help="also write a checkpoint every so many steps")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="folder for the run")
@click.option(
    "--resume", is_flag=True, help="go on with an unfinished run; the settings must be the same"
)
@click.option("--force", is_flag=True, help="replace the run that is at --out")
@click.option("--json", "as_json", is_flag=True, help="one JSON line per epoch on stdout")
def prune(out: Path, resume: bool, force: bool, as_json: bool, **settings: Any) -> None:
    """Train a plain network, then one member per budget, each from the one before.

    The run is written to OUT.partial and becomes OUT when all of it is done.
    """
    from headgate.train.commands.tables import members_table, print_table
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
        click.echo(f"run: {out}")


add_progressive_commands(train, prune)


@train.command()
@click.argument("model")
@click.option(
    "--input-px", default=96, show_default=True, help="side of the network's input, in px"
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
