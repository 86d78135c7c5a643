"""The options of the commands that train a family here; each is stated once, whoever takes it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from headgate.train.commands.number_lists import BudgetList, NumberList

F = TypeVar("F", bound=Callable[..., Any])


def _option(*flags: str, **words: Any) -> Callable[..., Callable[[F], F]]:
    """Return `click.option` with what it is to be called with; a caller may change the words."""
    return partial(click.option, *flags, **words)


# By the name of the setting, in the order in which help lists them.
_OPTIONS: dict[str, Callable[..., Callable[[F], F]]] = {
    "data": _option(
        "--data",
        default="embedded",
        show_default=True,
        help="embedded[:...], cifar10:PATH, folder:PATH or npz:PATH",
    ),
    "model": _option(
        "--model",
        default="resnet18",
        show_default=True,
        help="vgg11, mobilenet_v2, resnet18, lenet, or package.module:callable",
    ),
    "width": _option(
        "--width",
        type=float,
        help="multiplies a built-in network's channels  [default: 1, or 0.25 on embedded]",
    ),
    "split": _option(
        "--split",
        help="layer to cut after, see `train splits`; 0 is the picture  [default: the model's own]",
    ),
    "input_px": _option(
        "--input-px",
        type=int,
        help="side of the network's input, in px: it is then square  "
        "[default: the size of the data set's pictures]",
    ),
    "budgets": _option(
        "--budgets",
        type=BudgetList(),
        default=(),
        help="maps that may cross, a member for each; phi is all that leave the split  "
        "[default: phi,phi/4,phi/32]",
    ),
    "resolution_factor": _option(
        "--resolution",
        "resolution_factor",
        default=1,
        show_default=True,
        help="r: shrinks height and width of the maps",
    ),
    "epochs": _option(
        "--epochs",
        type=int,
        help="epochs of the plain network  [default: 10, or 0 with --backbone]",
    ),
    "base_epochs": _option(
        "--base-epochs",
        default=2,
        show_default=True,
        help="epochs of the member that sends all maps",
    ),
    "member_epochs": _option(
        "--member-epochs",
        default=2,
        show_default=True,
        help="epochs of each smaller member",
    ),
    "slim_head": _option(
        "--slim-head",
        type=float,
        help="share of the channels that the device's head has, above 0 and below 1  "
        "[default: all]",
    ),
    "slim_epochs": _option(
        "--slim-epochs",
        default=8,
        show_default=True,
        help="epochs of the slim head, taught by the whole one",
    ),
    "picture_epochs": _option(
        "--picture-epochs",
        default=0,
        show_default=True,
        help="epochs of a second whole network, tuned on JPEG and WebP pictures, for offload",
    ),
    "backbone": _option(
        "--backbone",
        help="run folder or safetensors file with the plain network's weights; a run also sets "
        "--model, --width, --split and --input-px where you do not",
    ),
    "normalise": _option(
        "--normalise",
        help="how pictures are scaled for the network: data (each colour less the training "
        "pictures' mean, over their deviation), unit (0 to 1), imagenet, or R,G,B:R,G,B "
        "(means:deviations of 0 to 1)  [default: as --backbone was trained, if it is a run; "
        "else data]",
    ),
    "from_scratch": _option(
        "--from-scratch",
        is_flag=True,
        help="train every member from fresh weights for --epochs, to compare with",
    ),
    "batch_size": _option(
        "--batch-size",
        default=64,
        show_default=True,
        help="pictures per step, over all processes",
    ),
    "lr": _option(
        "--lr",
        default=0.05,
        show_default=True,
        help="learning rate of the plain network",
    ),
    "member_lr": _option(
        "--member-lr",
        default=0.01,
        show_default=True,
        help="learning rate of the members",
    ),
    "gamma": _option(
        "--gamma",
        type=float,
        help="raises a smaller member's rate in its first epochs  "
        "[default: 3 with --select filter, else 1]",
    ),
    "raise_epochs": _option(
        "--raise-epochs",
        default=1,
        show_default=True,
        help="how many epochs --gamma holds",
    ),
    "schedule": _option(
        "--schedule",
        default="cosine",
        show_default=True,
        help="cosine, step or constant",
    ),
    "momentum": _option("--momentum", default=0.9, show_default=True, help="of SGD"),
    "weight_decay": _option(
        "--weight-decay",
        default=5e-4,
        show_default=True,
        help="of convolutions and linear layers",
    ),
    "epsilon": _option(
        "--epsilon", default=0.1, show_default=True, help="weight of the prune loss"
    ),
    "delta": _option("--delta", default=4.0, show_default=True, help="steepness of the prune loss"),
    "lambda_": _option(
        "--lambda",
        "lambda_",
        default=1.0,
        show_default=True,
        help="0 to 1: how much the prune loss minds too few maps",
    ),
    "rate_weight": _option(
        "--rate-weight",
        default=0.0,
        show_default=True,
        help="loss per bit that a picture's maps cost",
    ),
    "distill": _option(
        "--distill",
        type=float,
        help="0 to 1: share of the members' task loss learnt from the plain network  "
        "[default: 0.5, or 0 with --from-scratch]",
    ),
    "hint": _option(
        "--hint",
        type=float,
        help="loss per share of the features' variance that a bottleneck does not restore  "
        "[default: 0, or 3 with any other --select than principal, unless --from-scratch]",
    ),
    "share": _option(
        "--share",
        default="ends",
        show_default=True,
        help="what members keep of the plain network: ends (head and late tail), head, or nothing",
    ),
    "select": _option(
        "--select",
        default="principal",
        show_default=True,
        help="what a smaller member's maps are: principal (mixtures of those before), or some of "
        "those before, by importance, filter (the paper), nair or weights",
    ),
    "cache_gb": _option(
        "--cache-gb",
        default=4.0,
        show_default=True,
        help="disk space for the outputs of a shared head, in GB; 0 to compute them each time",
    ),
    "levels": _option(
        "--levels",
        type=NumberList(),
        default=(256, 64, 16, 8, 4),
        help="values per number sent; one is drawn per batch  [default: 256,64,16,8,4]",
    ),
    "augment": _option(
        "--augment/--no-augment",
        default=True,
        show_default=True,
        help="move, and where it suits mirror, training pictures",
    ),
    "link_loss": _option(
        "--link-loss",
        default=0.0,
        show_default=True,
        help="0 to 1: most of a picture's maps, or bits, that are lost while members train",
    ),
    "seed": _option("--seed", default=0, show_default=True, help="of all random choices"),
    "limit": _option(
        "--limit",
        type=int,
        help="use at most this many pictures to train and to validate",
    ),
    "threads": _option(
        "--threads",
        type=int,
        help="CPU threads of each process  [default: as torch sees fit]",
    ),
    "device": _option("--device", default="auto", show_default=True, help="auto, cpu or cuda"),
    "precision": _option(
        "--precision",
        default="auto",
        show_default=True,
        help="auto, float32 or bfloat16 (mixed)",
    ),
    "checkpoint_steps": _option(
        "--checkpoint-steps",
        type=int,
        help="also write a checkpoint every so many steps",
    ),
    "out": _option(
        "--out",
        required=True,
        type=click.Path(path_type=Path),
        help="folder for the run",
    ),
    "resume": _option(
        "--resume",
        is_flag=True,
        help="go on with an unfinished run; the settings must be the same",
    ),
    "force": _option("--force", is_flag=True, help="replace the run that is at --out"),
    "as_json": _option("--json", "as_json", is_flag=True, help="one JSON line per epoch on stdout"),
}

# What decides which members there are, and how a smaller one comes from a larger.
OF_SEVERAL_MEMBERS = frozenset(
    {"budgets", "from_scratch", "gamma", "raise_epochs", "epsilon", "delta", "lambda_"}
)


def run_option(name: str, **changes: Any) -> Callable[[F], F]:
    """Return the decorator that gives a command one option, with `changes` to its words."""
    return _OPTIONS[name](**changes)


def run_options(
    *, without: Collection[str] = (), defaults: Mapping[str, Any] | None = None
) -> Callable[[F], F]:
    """Return a decorator that gives a command all options but some, `defaults` by name."""
    changes = {name: {"default": value} for name, value in (defaults or {}).items()}
    taken = [name for name in _OPTIONS if name not in without]
    return options_in_order(*(run_option(name, **changes.get(name, {})) for name in taken))


def options_in_order(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Return a decorator that gives a command several options, which help lists in this order."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def given_options() -> set[str]:
    """Return the names of the settings that the user of the current command gave a value."""
    ctx = click.get_current_context()
    return {
        name for name in ctx.params if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT
    }
