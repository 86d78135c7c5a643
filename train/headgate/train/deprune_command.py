"""`headgate train deprune`: split training across a network, or in one process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from headgate.profiles.errors import UsageError

if TYPE_CHECKING:
    from headgate.train.recipe import PruneConfig
    from headgate.train.split_training.epoch_record import DepruneEpoch
    from headgate.train.split_training.settings import DepruneSettings

F = TypeVar("F", bound=Callable[..., Any])
ROLES = ("local", "server", "client")
DEFAULT_ENDPOINT = "tcp://127.0.0.1:7710"

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


def share_of(text: str) -> tuple[int, int]:
    """Read I/N."""
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise UsageError(f"--share: {text!r} is not I/N with 1 <= I <= N, such as 2/8")
    return int(number), int(of)


@click.command()
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default="local",
    show_default=True,
    help="which side this is; local is all of them in one process",
)
@training_options
@click.option("--out", type=click.Path(path_type=Path), help="run folder; of the server, or local")
@click.option("--clients", default=1, show_default=True, help="clients to wait for, or to run")
@click.option("--bind", default=DEFAULT_ENDPOINT, show_default=True, help="server: listen here")
@click.option("--server", default=DEFAULT_ENDPOINT, show_default=True, help="client: connect here")
@click.option("--keys", type=click.Path(path_type=Path), help="keys folder, see `keygen`")
@click.option("--insecure", is_flag=True, help="allow other machines without keys")
@click.option(
    "--client-timeout-s", default=60.0, show_default=True, help="then others go on without it, in s"
)
@click.option("--name", help="client: its name, unlike all others  [default: client-I]")
@click.option("--share", default="1/1", show_default=True, help="client: its part of the pictures")
@click.option("--state", type=click.Path(path_type=Path), help="client: folder of its checkpoint")
@click.option(
    "--checkpoint/--no-checkpoint",
    "keeps_checkpoints",
    default=True,
    show_default=True,
    help="of the server, or local: keep one at the end of each epoch, for --resume",
)
@click.option("--checkpoint-steps", type=int, help="client: also keep one every so many steps")
@click.option("--give-up-s", default=300.0, show_default=True, help="client: without a connection")
@click.option(
    "--cpu-share", default=1.0, show_default=True, help="client: of a core, as if it were weaker"
)
@click.option("--resume", is_flag=True, help="go on where a checkpoint is; with the same settings")
@click.option("--force", is_flag=True, help="replace the run that is at --out")
@click.option("--json", "as_json", is_flag=True, help="one JSON line per epoch on stdout")
def deprune(
    role: str,
    out: Path | None,
    clients: int,
    bind: str,
    server: str,
    keys: Path | None,
    insecure: bool,
    client_timeout_s: float,
    name: str | None,
    share: str,
    state: Path | None,
    keeps_checkpoints: bool,
    checkpoint_steps: int | None,
    give_up_s: float,
    cpu_share: float,
    resume: bool,
    force: bool,
    as_json: bool,
    **trained: Any,
) -> None:
    """Train one network across a link that carries few maps first, and more later.

    Clients hold the pictures and the layers before the split; the server holds the rest, and the
    run. All sides are given the same settings. A server writes to OUT.partial, which becomes OUT
    when all is done.
    """
    from headgate.train.split_training.deprune import (
        ClientOptions,
        deprune_as_client,
        deprune_as_server,
        deprune_locally,
    )
    from headgate.train.split_training.server_run import ServerOptions
    from headgate.train.split_training.transport import Security

    config, settings = config_of(trained)
    security = Security(keys, insecure)
    if clients < 1 or client_timeout_s <= 0 or give_up_s <= 0:
        raise UsageError(
            f"--clients {clients} --client-timeout-s {client_timeout_s:g} --give-up-s "
            f"{give_up_s:g}: expected more than 0"
        )
    if role == "client":
        number, _ = part = share_of(share)
        options = ClientOptions(
            name=name or f"client{number}",
            share=part,
            folder=state,
            resume=resume,
            checkpoint_steps=checkpoint_steps,
            give_up_s=give_up_s,
            cpu_share=cpu_share,
        )
        if not 0 < cpu_share <= 1:
            raise UsageError(f"--cpu-share: found {cpu_share:g}, expected above 0 and at most 1")
        if resume and state is None:
            raise UsageError("--resume: a client goes on from its --state; name that folder")
        done = deprune_as_client(config, settings, options, endpoint=server, security=security)
        click.echo(json.dumps({"client": done.name, "num_pictures": done.num_pictures_done}))
        return
    if out is None:
        raise UsageError(f"--out: missing; --role {role} writes the run there")
    told = _line if as_json else _told
    if role == "local":
        deprune_locally(
            config,
            settings,
            out,
            num_clients=clients,
            keeps_checkpoints=keeps_checkpoints,
            resume=resume,
            force=force,
            epoch_done=told,
        )
    else:
        deprune_as_server(
            config,
            settings,
            out,
            bind=bind,
            security=security,
            options=ServerOptions(clients, client_timeout_s, keeps_checkpoints),
            resume=resume,
            force=force,
            epoch_done=told,
            listening=_listening,
        )
    if not as_json:
        click.echo(f"run: {out}")


def _line(record: DepruneEpoch) -> None:
    from headgate.profiles.parse import unparse

    click.echo(json.dumps(unparse(record), allow_nan=False))


def _told(record: DepruneEpoch) -> None:
    text = (
        f"epoch {record.epoch}/{record.num_epochs}, {record.budget} maps: loss {record.loss:.3f}, "
        f"accuracy {100 * record.accuracy:.1f} %, {record.bytes_up / 1e6:.1f} MB up, "
        f"{record.bytes_down / 1e6:.1f} MB down, {record.train_s:.1f} s"
    )
    for name, client in record.clients.items() if len(record.clients) > 1 else ():
        text += (
            f"\n  {name}: {client.num_batches} batches, {client.bytes_up / 1e6:.1f} MB up, "
            f"{client.bytes_down / 1e6:.1f} MB down"
        )
    click.echo(text, err=True)


def _listening(endpoint: str) -> None:
    click.echo(json.dumps({"event": "listening", "endpoint": endpoint}), err=True)
