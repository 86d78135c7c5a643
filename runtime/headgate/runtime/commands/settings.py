"""Options that are settings: each names the key of the configuration that it sets.

The key goes by the name that it has in the environment, `device__sla_ms` as HEADGATE_DEVICE__SLA_MS
does, so a command takes all of them as `**given` and need not say them a second and a third time.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from headgate.runtime.config import DeviceConfig, EdgeConfig, load_config

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T", DeviceConfig, EdgeConfig)


def setting(
    defaults: DeviceConfig | EdgeConfig, key: str, flag: str, *, help: str, **how: Any
) -> Callable[[F], F]:
    """Return an option that sets `key` ("section.name"); `how` goes to click.

    The help ends in the default that the configuration has, where that says anything.
    """
    section, _, name = key.partition(".")
    default = getattr(getattr(defaults, section), name)
    if isinstance(default, bool):
        how = {"is_flag": True, "default": None, **how}
    elif default is not None:
        shown = f"{default:g}" if isinstance(default, float) else default
        help += f"  [default: {shown}]"
    return click.option(flag, key.replace(".", "__"), help=help, **how)


def settings_of_both_sides(
    defaults: DeviceConfig | EdgeConfig, *, side: str, graph: str
) -> Callable[[F], F]:
    """Return the options that device and edge share; `side` runs `graph`s: head or tail."""
    options = (
        setting(
            defaults,
            "security.keys",
            "--keys",
            metavar="DIR",
            help=f"The {side}'s keys folder (see keygen).",
        ),
        setting(
            defaults,
            "security.insecure",
            "--insecure",
            help="Allow other machines without keys.",
        ),
        setting(
            defaults,
            "engine.threads",
            "--threads",
            type=click.IntRange(0),
            help=f"Per {graph} run; 0 is every core.",
        ),
        setting(
            defaults,
            "engine.providers",
            "--providers",
            metavar="auto|cpu|cuda|tensorrt",
            help=f"What runs the {graph}s.",
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            help=f"TOML file, see examples/{side}.toml.",
        ),
    )

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def load_settings(kind: type[T], given: Mapping[str, Any], *, path: Path | None) -> T:
    """Return the configuration by the settings that were given, the environment and the file."""
    flags = {name.replace("__", "."): value for name, value in given.items()}
    return load_config(kind, flags=flags, environment=os.environ, path=path)
