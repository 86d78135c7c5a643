"""Claims about `headgate profile show` of a preset or a file, which no device is asked for."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from headgate.profiles.profile import list_presets, load_profile
from headgate.runtime.cli import main


def show(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["profile", "show", *map(str, arguments)])


def test_what_is_shown_of_a_preset_is_a_profile_like_it(tmp_path: Path) -> None:
    for preset in list_presets():
        result = show(preset.name)
        assert result.exit_code == 0, result.output
        mine = tmp_path / "mine.toml"
        mine.write_text(result.stdout)
        assert load_profile(str(mine)) == preset


def test_a_file_is_shown_as_it_is(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('# for the yard\nname = "mine"\nsla_ms = 80.0\n')
    assert show(mine).stdout == mine.read_text()
    assert json.loads(show(mine, "--json").stdout)["sla_ms"] == 80.0


def test_what_is_no_profile_is_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("sla = 3")
    for name, words in (("balance", "neither a preset"), (mine, "unknown keys")):
        result = show(name)
        assert result.exit_code == 2
        assert words in result.output


def test_a_name_and_a_device_are_not_shown_at_once() -> None:
    result = show("balanced", "--device", "ipc:///nowhere")
    assert result.exit_code == 2
    assert "leave out the name to ask a device" in result.output
