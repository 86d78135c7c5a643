"""`headgate train deprune`: split training across a network, or in one process."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headgate.profiles.errors import UsageError
from headgate.train.commands.deprune_options import config_of, share_of, training_options

if TYPE_CHECKING:
    from headgate.train.split_training.deprune import ClientOptions
    from headgate.train.split_training.epoch_record import DepruneEpoch
    from headgate.train.split_training.server_effects import Attendance

ROLES = ("local", "server", "client")
DEFAULT_ENDPOINT = "tcp://127.0.0.1:7710"


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
@click.option("--force", is_flag=True, help="replace the run at --out; client: what is at --state")
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
    from headgate.train.run.interruptions import telling_how_to_go_on, way_on
    from headgate.train.split_training.deprune import (
        deprune_as_client,
        deprune_as_server,
        deprune_locally,
    )
    from headgate.train.split_training.server_run import ServerOptions
    from headgate.train.split_training.transport import Security

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "--role: each side of split training is one process, and torchrun has started several; "
            "run the command itself, and add clients to share the work"
        )
    config, settings = config_of(trained)
    security = Security(keys, insecure)
    above_0 = {
        "--clients": clients,
        "--client-timeout-s": client_timeout_s,
        "--give-up-s": give_up_s,
    }
    for option, value in above_0.items():
        if not value > 0:  # written so that NaN fails too
            raise UsageError(f"{option}: found {value:g}, expected more than 0")
    if role == "client":
        options = _client_options(
            name, share, state, resume, force, checkpoint_steps, give_up_s, cpu_share
        )
        click.echo(f"{options.name}: connecting to {server}", err=True)
        with telling_how_to_go_on(lambda: _clients_way_on(state)):
            done = deprune_as_client(
                config,
                settings,
                options,
                endpoint=server,
                security=security,
                force=force,
                epoch_ended=lambda epoch, pictures: click.echo(
                    f"{options.name}: epoch {epoch} done, {pictures:,} pictures sent", err=True
                ),
            )
        click.echo(json.dumps({"client": done.name, "num_pictures": done.num_pictures_done}))
        return
    if out is None:
        raise UsageError(f"--out: missing; --role {role} writes the run there")
    common: dict[str, Any] = {
        "resume": resume,
        "force": force,
        "epoch_done": _line if as_json else _told,
    }
    with telling_how_to_go_on(lambda: way_on(out)):
        if role == "local":
            common |= {"num_clients": clients, "keeps_checkpoints": keeps_checkpoints}
            deprune_locally(config, settings, out, **common)
        else:
            common |= {"bind": bind, "security": security}
            common |= {"listening": _listening, "attended": _attended}
            options_of_server = ServerOptions(clients, client_timeout_s, keeps_checkpoints)
            deprune_as_server(config, settings, out, options=options_of_server, **common)
    if not as_json:
        click.echo(f"run: {out}")


def _client_options(
    name: str | None,
    share: str,
    state: Path | None,
    resume: bool,
    force: bool,
    checkpoint_steps: int | None,
    give_up_s: float,
    cpu_share: float,
) -> ClientOptions:
    from headgate.train.split_training.deprune import ClientOptions
    from headgate.train.split_training.settings import MAX_NAME, is_name

    number, _ = part = share_of(share)
    if not 0 < cpu_share <= 1:
        raise UsageError(f"--cpu-share: found {cpu_share:g}, expected above 0 and at most 1")
    if resume and state is None:
        raise UsageError("--resume: a client goes on from its --state; name that folder")
    if resume and force:
        raise UsageError("--force: cannot be given with --resume; resume the state or replace it")
    if checkpoint_steps is not None and checkpoint_steps < 1:
        raise UsageError(f"--checkpoint-steps: found {checkpoint_steps}, expected 1 or more")
    name = f"client{number}" if name is None else name
    if not is_name(name):
        raise UsageError(f"--name: found {name!r}, expected 1 to {MAX_NAME} printable characters")
    return ClientOptions(
        name=name,
        share=part,
        folder=state,
        resume=resume,
        checkpoint_steps=checkpoint_steps,
        give_up_s=give_up_s,
        cpu_share=cpu_share,
    )


def _clients_way_on(state: Path | None) -> str | None:
    """Say how a client goes on from its folder; one without a folder begins as a new one."""
    from headgate.train.run.interruptions import way_on_from

    return None if state is None else way_on_from(state, checkpoints=state)


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


def _attended(client: Attendance) -> None:
    with contextlib.suppress(OSError):  # a log that nobody takes must not end the serving
        click.echo(f"client {client.name}: {client.text}", err=True)
