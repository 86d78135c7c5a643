"""`headgate train deprune`: split training across a network, or in one process."""

from __future__ import annotations

import contextlib
import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headgate.profiles.errors import UsageError
from headgate.train.commands.deprune_options import (
    ADASPLIT_DEFAULTS,
    adasplit_options,
    config_of,
    training_options,
)
from headgate.train.commands.deprune_sides import Side, side_of, side_options

if TYPE_CHECKING:
    from headgate.train.recipe import PruneConfig
    from headgate.train.split_training.adasplit import AdaSplitSettings
    from headgate.train.split_training.deprune import Dealt
    from headgate.train.split_training.epoch_record import DepruneEpoch
    from headgate.train.split_training.server_effects import Attendance
    from headgate.train.split_training.settings import DepruneSettings


@click.command()
@side_options
@training_options
@click.option("--json", "as_json", is_flag=True, help="one JSON line per epoch on stdout")
def deprune(as_json: bool, **given: Any) -> None:
    """Train one network across a link that carries few maps first, and more later.

    Clients hold the pictures and the layers before the split; the server holds the rest, and the
    run. All sides are given the same settings. A server writes to OUT.partial, which becomes OUT
    when all is done.
    """
    _train_side(as_json=as_json, given=given)


@click.command(context_settings={"default_map": ADASPLIT_DEFAULTS})
@side_options
@adasplit_options
@click.option("--json", "as_json", is_flag=True, help="one JSON line per epoch on stdout")
def adasplit(as_json: bool, **given: Any) -> None:
    """Train one network across a link on which no gradient returns, with clients that differ.

    Clients train their layers by a loss of their own: alone at first, and then with a share of
    their batches crossing to the server, which hears more of those that it is wrong about, and has
    a view of its layers for each. Sides, folders and resuming are those of `train deprune`.
    """
    _train_side(as_json=as_json, given=given)


def _train_side(*, as_json: bool, given: dict[str, Any]) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "--role: each side of split training is one process, and torchrun has started several; "
            "run the command itself, and add clients to share the work"
        )
    side, trained = side_of(given)
    config, settings = config_of(trained)
    side.check()
    train_as_side(config, settings, side, as_json=as_json)


def train_as_side(
    config: PruneConfig,
    settings: DepruneSettings,
    side: Side,
    *,
    as_json: bool,
    dealt: Dealt | None = None,
) -> Path | None:
    """Train as this side, and return the run's folder, which a client has none of.

    `dealt` says of clients' names which pictures are whose.
    """
    if side.role == "client":
        _train_as_client(config, settings, side, dealt=dealt)
        return None
    _train_with_a_run(config, settings, side, as_json=as_json, dealt=dealt)
    return side.run_folder


def _train_as_client(
    config: PruneConfig, settings: DepruneSettings, side: Side, *, dealt: Dealt | None
) -> None:
    from headgate.train.run.interruptions import telling_how_to_go_on
    from headgate.train.split_training.deprune import deprune_as_client

    options = side.client_options()
    click.echo(f"{options.name}: connecting to {side.server}", err=True)
    with telling_how_to_go_on(lambda: _clients_way_on(side)):
        done = deprune_as_client(
            config,
            settings,
            options,
            endpoint=side.server,
            security=side.security,
            epoch_ended=lambda epoch, pictures: click.echo(
                f"{options.name}: epoch {epoch} done, maps of {pictures:,} pictures sent",
                err=True,
            ),
            say=lambda text: click.echo(f"{options.name}: {text}", err=True),
            dealt=dealt,
        )
    click.echo(json.dumps({"client": done.name, "num_pictures": done.num_pictures_done}))


def _train_with_a_run(
    config: PruneConfig,
    settings: DepruneSettings,
    side: Side,
    *,
    as_json: bool,
    dealt: Dealt | None,
) -> None:
    """Train as the server, or with all sides here: the run is written by this process."""
    from headgate.train.commands.tables import guessing, say_if_begun_anew, say_run
    from headgate.train.folder.work_folder import NETWORKS
    from headgate.train.run.interruptions import telling_how_to_go_on, way_on
    from headgate.train.split_training.deprune import deprune_as_server, deprune_locally

    out = side.run_folder
    epoch_done = _line if as_json else partial(_told, adasplit=settings.adasplit)
    say_if_begun_anew(out, resume=side.resume and not side.force)
    with telling_how_to_go_on(lambda: way_on(out)):
        if side.role == "local":
            run = deprune_locally(
                config,
                settings,
                out,
                num_clients=side.clients,
                keeps_checkpoints=side.keeps_checkpoints,
                resume=side.resume,
                force=side.force,
                epoch_done=epoch_done,
                dealt=dealt,
            )
        else:
            run = deprune_as_server(
                config,
                settings,
                out,
                bind=side.bind,
                security=side.security,
                options=side.server_options(),
                epoch_done=epoch_done,
                listening=_listening,
                attended=_attended,
            )
    if not as_json:
        guessed = guessing(run.record.members[-1].accuracy, record=run.record)
        if guessed:
            remedy = "train for longer (--schedule), or with a smaller --batch-size"
            click.echo(f"{guessed}; {remedy}", err=True)
        say_run(out)
        networks = out / NETWORKS
        if networks.is_dir():
            click.echo(f"each client's own network: {networks}", err=True)


def _clients_way_on(side: Side) -> str | None:
    """Say how a client goes on from its folder; one without a folder begins as a new one."""
    from headgate.train.run.interruptions import way_on_from

    return None if side.state is None else way_on_from(side.state, checkpoints=side.state)


def _line(record: DepruneEpoch) -> None:
    from headgate.profiles.parse import unparse

    click.echo(json.dumps(unparse(record), allow_nan=False))


def _told(record: DepruneEpoch, *, adasplit: AdaSplitSettings | None) -> None:
    if adasplit is not None and not adasplit.crosses_in(record.epoch - 1):
        text = f"epoch {record.epoch}/{record.num_epochs}: clients train alone, no maps cross"
        click.echo(f"{text}; their layers at its end: {record.bytes_up / 1e6:.1f} MB up", err=True)
        return
    loss = f"loss {record.loss:.3f}" if record.num_batches else "no batch was trained"
    text = (
        f"epoch {record.epoch}/{record.num_epochs}, {_counted(record.budget, 'map')}: {loss}, "
        f"accuracy {100 * record.accuracy:.1f} %, {record.bytes_up / 1e6:.1f} MB up, "
        f"{record.bytes_down / 1e6:.1f} MB down, {record.train_s:.1f} s"
    )
    for name, client in record.clients.items() if len(record.clients) > 1 else ():
        text += (
            f"\n  {name}: {_counted(client.num_batches, 'batch', 'es')}, "
            f"{client.bytes_up / 1e6:.1f} MB up, {client.bytes_down / 1e6:.1f} MB down"
        )
    click.echo(text, err=True)


def _counted(num: int, noun: str, plural: str = "s") -> str:
    """Return so many of them, in words."""
    return f"{num:,} {noun}{'' if num == 1 else plural}"


def _listening(endpoint: str) -> None:
    click.echo(json.dumps({"event": "listening", "endpoint": endpoint}), err=True)


def _attended(client: Attendance) -> None:
    with contextlib.suppress(OSError):  # a log that nobody takes must not end the serving
        click.echo(f"client {client.name}: {client.text}", err=True)
