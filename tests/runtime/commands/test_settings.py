"""Options that are settings: what they set, and what their help says is the default."""

from pathlib import Path

import click
import pytest

from headgate.runtime.commands.device import device
from headgate.runtime.commands.edge import edge
from headgate.runtime.commands.settings import load_settings
from headgate.runtime.config import DeviceConfig, EdgeConfig

COMMANDS = [(device, DeviceConfig), (edge, EdgeConfig)]


def options(command: click.Command) -> dict[str, click.Option]:
    """Return the options that are settings, by their keys."""
    found = [p for p in command.params if isinstance(p, click.Option) and p.name and "__" in p.name]
    return {str(option.name).replace("__", "."): option for option in found}


@pytest.mark.parametrize(("command", "kind"), COMMANDS)
def test_every_setting_of_a_side_has_one_option_that_is_unset_by_default(
    command: click.Command, kind: type[DeviceConfig | EdgeConfig]
) -> None:
    config = kind()
    keys = {
        f"{section}.{name}"
        for section in config.__dataclass_fields__
        for name in getattr(config, section).__dataclass_fields__
    }
    assert options(command).keys() == keys
    given = command.make_context("command", ["family", "input"]).params
    assert {given[name] for name in given if "__" in name} == {None}


def test_help_ends_in_the_default_where_there_is_one() -> None:
    shown = {key: option.help or "" for key, option in options(device).items()}
    assert shown["device.sla_ms"].endswith("[default: 100]")
    assert shown["source.max_open"].endswith("[default: 4]")
    assert shown["source.fps"].endswith("[default: a video's own; else one by one]")
    assert "default" not in shown["source.loop"]


def test_what_is_given_goes_before_the_file_and_what_is_not_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    path.write_text("[engine]\nthreads = 3\n[edge]\nmax_batch = 2\n")
    arguments = ["family", "--max-batch", "5", "--insecure", "--config", str(path)]
    given = edge.make_context("edge", arguments).params
    config = load_settings(
        EdgeConfig, {key: given[key] for key in given if "__" in key}, path=given["config"]
    )
    assert (config.edge.max_batch, config.engine.threads) == (5, 3)
    assert config.security.insecure
