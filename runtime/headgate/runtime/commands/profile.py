"""`headgate profile`: list the presets, and show or switch the profile of a running device."""

import json
import shutil
import textwrap
from pathlib import Path
from typing import Any

import click

from headgate.profiles.errors import UsageError
from headgate.profiles.parse import unparse
from headgate.profiles.profile import (
    DEFAULT_PROFILE,
    Profile,
    list_presets,
    load_profile,
    profile_text,
)

AUTO = "auto"


@click.group()
def profile() -> None:
    """List and show profiles; show or switch a device's."""


def _device_options(command: Any) -> Any:
    """Add the options that say which device is meant."""
    for option in (
        click.option(
            "--device",
            metavar="ADDRESS",
            help="Control address the device printed.  [default: the only one running here]",
        ),
        click.option(
            "--keys",
            type=click.Path(path_type=Path),
            help="A copy of the device's keys folder, for tcp addresses.",
        ),
        click.option("--insecure", is_flag=True, help="Allow other machines without keys."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
    ):
        command = option(command)
    return command


@profile.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_profiles(as_json: bool) -> None:
    """List the profiles that ship with Headgate."""
    presets = list_presets()
    if as_json:
        rows = [{"name": each.name, "description": each.description} for each in presets]
        click.echo(json.dumps(rows))
        return
    lines = click.HelpFormatter()  # folds descriptions at the terminal's width
    lines.write_dl([(each.name, each.description) for each in presets])
    click.echo(lines.getvalue(), nl=False)


@profile.command()
@click.argument("name", required=False)
@_device_options
def show(
    name: str | None, device: str | None, keys: Path | None, insecure: bool, as_json: bool
) -> None:
    """Show a running device's profile, or that of NAME.

    NAME is a preset or a TOML file, and shown as TOML, to start one of your own from.
    """
    if name is not None:
        if device is not None or keys is not None or insecure:
            raise UsageError(
                f"profile show {name}: found a device's options too; leave them out, or leave out "
                "the name to ask a device"
            )
        text = json.dumps(unparse(load_profile(name))) if as_json else profile_text(name).rstrip()
        click.echo(text)
        return
    _ask(device, keys=keys, insecure=insecure, as_json=as_json, wanted=None)


@profile.command("set")
@click.argument("name", metavar="NAME|auto")
@_device_options
def set_profile(
    name: str, device: str | None, keys: Path | None, insecure: bool, as_json: bool
) -> None:
    """Switch a running device to NAME, a preset or a TOML file.

    `auto` is `balanced`, which holds where nothing else is said.

    Prints the number of the first frame that is chosen under it.
    """
    wanted = load_profile(DEFAULT_PROFILE if name == AUTO else name)
    _ask(device, keys=keys, insecure=insecure, as_json=as_json, wanted=wanted)


def _ask(
    device: str | None,
    *,
    keys: Path | None,
    insecure: bool,
    as_json: bool,
    wanted: Profile | None,
) -> None:
    from headgate.runtime.device import control
    from headgate.runtime.sockets.keys import check_endpoint, check_exposure, load_device_keys

    address = control.find_device() if device is None else device
    check_endpoint(address, option="--device")
    check_exposure(address, option="--device", has_keys=keys is not None, insecure=insecure)
    own = None if keys is None else load_device_keys(keys)
    state = control.ask_device(address, profile=wanted, keys=own)
    if as_json:
        click.echo(json.dumps(unparse(state)))
        return
    sla = "none" if state.profile.sla_ms is None else f"{state.profile.sla_ms:g} ms"
    click.echo(f"profile {state.profile.name} from frame {state.from_frame}")
    click.echo(f"SLA {sla}, edge {'connected' if state.has_edge else 'not connected'}")
    # One id is never broken: they hold hyphens.
    click.echo(
        textwrap.fill(
            f"points {', '.join(state.points)}",
            width=shutil.get_terminal_size().columns,
            subsequent_indent=" " * len("points "),
            break_on_hyphens=False,
        )
    )
