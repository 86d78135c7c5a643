"""The options of who does what in split training: server, client, or all in one process."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headgate.profiles.errors import UsageError
from headgate.train.commands.run_options import options_in_order

if TYPE_CHECKING:
    from headgate.train.split_training.deprune import ClientOptions
    from headgate.train.split_training.server_run import ServerOptions
    from headgate.train.split_training.transport import Security

ROLES = ("local", "server", "client")
DEFAULT_ENDPOINT = "tcp://127.0.0.1:7710"

# `side_of` reads them.
side_options = options_in_order(
    click.option(
        "--role",
        type=click.Choice(ROLES),
        default="local",
        show_default=True,
        help="which side this is; local is all of them in one process",
    ),
    click.option(
        "--out", type=click.Path(path_type=Path), help="run folder; of the server, or local"
    ),
    click.option("--clients", default=1, show_default=True, help="clients to wait for, or to run"),
    click.option("--bind", default=DEFAULT_ENDPOINT, show_default=True, help="server: listen here"),
    click.option(
        "--server", default=DEFAULT_ENDPOINT, show_default=True, help="client: connect here"
    ),
    click.option("--keys", type=click.Path(path_type=Path), help="keys folder, see `keygen`"),
    click.option("--insecure", is_flag=True, help="allow other machines without keys"),
    click.option(
        "--client-timeout-s",
        default=60.0,
        show_default=True,
        help="then others go on without it, in s",
    ),
    click.option("--name", help="client: its name, unlike all others  [default: clientI]"),
    click.option(
        "--share", default="1/1", show_default=True, help="client: its part of the pictures"
    ),
    click.option(
        "--state", type=click.Path(path_type=Path), help="client: folder of its checkpoint"
    ),
    click.option(
        "--checkpoint/--no-checkpoint",
        "keeps_checkpoints",
        default=True,
        show_default=True,
        help="of the server, or local: keep one at the end of each epoch, for --resume",
    ),
    click.option("--checkpoint-steps", type=int, help="client: also keep one every so many steps"),
    click.option(
        "--give-up-s", default=300.0, show_default=True, help="client: without a connection"
    ),
    click.option(
        "--cpu-share",
        default=1.0,
        show_default=True,
        help="client: of a core, as if it were weaker",
    ),
    click.option(
        "--resume", is_flag=True, help="go on where a checkpoint is; with the same settings"
    ),
    click.option(
        "--force", is_flag=True, help="replace the run at --out; client: what is at --state"
    ),
)


@dataclass(frozen=True, slots=True)
class Side:
    """What one side is told of itself, by the names of the options; nothing of what it trains."""

    role: str
    out: Path | None
    clients: int
    bind: str
    server: str
    keys: Path | None
    insecure: bool
    client_timeout_s: float
    name: str | None
    share: str
    state: Path | None
    keeps_checkpoints: bool
    checkpoint_steps: int | None
    give_up_s: float
    cpu_share: float
    resume: bool
    force: bool

    def check(self) -> None:
        """Raise UsageError for a number that no side can do anything with."""
        above_0 = {
            "--clients": self.clients,
            "--client-timeout-s": self.client_timeout_s,
            "--give-up-s": self.give_up_s,
        }
        for option, value in above_0.items():
            if not value > 0:  # written so that NaN fails too
                raise UsageError(f"{option}: found {value:g}, expected more than 0")

    @property
    def run_folder(self) -> Path:
        """Where the run is written by a side that keeps one."""
        if self.out is None:
            raise UsageError(f"--out: missing; --role {self.role} writes the run there")
        return self.out

    @property
    def security(self) -> Security:
        """Who may talk to whom."""
        from headgate.train.split_training.transport import Security

        return Security(self.keys, self.insecure)

    def server_options(self) -> ServerOptions:
        """Return what the server is told."""
        from headgate.train.split_training.server_run import ServerOptions

        return ServerOptions(
            num_clients=self.clients,
            client_timeout_s=self.client_timeout_s,
            keeps_checkpoints=self.keeps_checkpoints,
            resume=self.resume,
            force=self.force,
        )

    def client_options(self) -> ClientOptions:
        """Return what a client is told, or raise UsageError."""
        from headgate.train.split_training.deprune import ClientOptions
        from headgate.train.split_training.greeting import MAX_NAME, is_name

        number, _ = part = _share_of(self.share)
        if not 0 < self.cpu_share <= 1:
            raise UsageError(
                f"--cpu-share: found {self.cpu_share:g}, expected above 0 and at most 1"
            )
        if self.resume and self.state is None:
            raise UsageError("--resume: a client goes on from its --state; name that folder")
        if self.resume and self.force:
            raise UsageError(
                "--force: cannot be given with --resume; resume the state or replace it"
            )
        if self.checkpoint_steps is not None and self.checkpoint_steps < 1:
            raise UsageError(
                f"--checkpoint-steps: found {self.checkpoint_steps}, expected 1 or more"
            )
        name = f"client{number}" if self.name is None else self.name
        if not is_name(name):
            raise UsageError(
                f"--name: found {name!r}, expected 1 to {MAX_NAME} printable characters"
            )
        return ClientOptions(
            name=name,
            share=part,
            folder=self.state,
            resume=self.resume,
            force=self.force,
            checkpoint_steps=self.checkpoint_steps,
            give_up_s=self.give_up_s,
            cpu_share=self.cpu_share,
        )


def side_of(given: dict[str, Any]) -> tuple[Side, dict[str, Any]]:
    """Return what the options say of this side, and all other options."""
    own = {field.name for field in fields(Side)}
    side = Side(**{name: value for name, value in given.items() if name in own})
    return side, {name: value for name, value in given.items() if name not in own}


def _share_of(text: str) -> tuple[int, int]:
    """Read I/N: this part, from 1, of so many."""
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise UsageError(f"--share: {text!r} is not I/N with 1 <= I <= N, such as 2/8")
    return int(number), int(of)
