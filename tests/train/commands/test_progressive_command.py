"""Claims about `headgate train nair` and `headgate train clio`: options, output, refusals."""

import json
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from headgate.runtime.cli import main
from headgate.train.commands.command import train as train_group
from headgate.train.commands.progressive_command import DEFAULTS
from headgate.train.commands.run_options import OF_SEVERAL_MEMBERS
from headgate.train.folder.run_folder import load_run
from headgate.train.progressive import PENALTY, ProgressiveConfig, WeightSource
from headgate.train.recipe import PruneConfig
from train.tiny_runs import write_pictures

TINY = ["--model", "lenet", "--split", "features.2", "--epochs", "1", "--base-epochs", "1"]
TINY += ["--member-epochs", "1", "--nair-epochs", "1", "--batch-size", "8", "--threads", "1"]
TINY += ["--device", "cpu", "--levels", "16"]


def run(folder: Path, method: str, *options: str) -> Result:
    pictures = folder / "tiny.npz"
    if not pictures.exists():
        write_pictures(pictures)
    arguments = ["train", method, "--data", f"npz:{pictures}", "--out", str(folder / "run")]
    return CliRunner().invoke(main, [*arguments, *TINY, *options])


def test_nair_prints_a_row_for_every_prefix(tmp_path: Path) -> None:
    result = run(tmp_path, "nair", "--maps", "4", "--slice", "1", "--resolution", "2")
    assert result.exit_code == 0, result.output
    assert "n4r2: lenet on" in result.stdout
    assert sum(line.count("%") == 2 for line in result.stdout.splitlines()) >= 4
    (entry,) = load_run(tmp_path / "run").record.members
    assert (entry.id, entry.layers) == ("n4r2", (1, 1, 1, 1))


def test_nair_as_json_prints_the_lines_of_the_epochs_and_nothing_else_on_stdout(
    tmp_path: Path,
) -> None:
    result = run(tmp_path, "nair", "--no-bottleneck", "--json")
    assert result.exit_code == 0, result.output
    assert [json.loads(line)["stage"] for line in result.stdout.splitlines()] == [
        "backbone",
        "n6r1",
    ]
    assert "n6r1: epoch 1 of 1, loss " in result.stderr


def test_a_progressive_run_tunes_a_network_on_pictures_when_asked(tmp_path: Path) -> None:
    result = run(tmp_path, "nair", "--no-bottleneck", "--picture-epochs", "1")
    assert result.exit_code == 0, result.output
    assert load_run(tmp_path / "run").picture_network() is not None


def test_a_run_as_backbone_brings_its_network_with_it(tmp_path: Path) -> None:
    result = run(tmp_path, "nair", "--no-bottleneck", "--width", "0.5")
    assert result.exit_code == 0, result.output
    taken = ["--data", f"npz:{tmp_path / 'tiny.npz'}", "--backbone", str(tmp_path / "run")]
    short = ["--nair-epochs", "1", "--slice", "1", "--batch-size", "8", "--device", "cpu"]
    nair = ["train", "nair", *taken, *short, "--no-bottleneck"]
    result = CliRunner().invoke(main, [*nair, "--out", str(tmp_path / "second")])
    assert result.exit_code == 0, result.output
    blueprint = load_run(tmp_path / "second").blueprint
    assert (blueprint.model, blueprint.width, blueprint.split) == ("lenet", 0.5, "features.2")
    result = CliRunner().invoke(main, [*nair, "--width", "1", "--out", str(tmp_path / "third")])
    assert result.exit_code == 2
    assert "give the same --model, --width" in result.stderr


def test_clio_takes_its_weights_from_the_link(tmp_path: Path) -> None:
    # A slice is 288 bytes of float32; in a second these rates carry none, one, two and three.
    rates = "--bandwidth-kbps", "1,3,5,9"
    result = run(tmp_path, "clio", "--no-bottleneck", "--many-tails", *rates)
    assert result.exit_code == 0, result.output
    record = load_run(tmp_path / "run").record
    assert record.settings.progressive is not None
    assert record.settings.progressive.prefix_weights == (0.25, 0.25, 0.25)
    assert record.settings.progressive.order == "natural"
    assert record.members[0].num_extra_tails == 2


def test_clio_takes_its_weights_from_recorded_links_and_says_which(tmp_path: Path) -> None:
    links = tmp_path / "links"
    links.mkdir()
    # Within 1 s the first carries none or two slices of 288 bytes, nearly half of the time each.
    (links / "on-off.csv").write_text("t_s,mbps\n0,0\n100,0.005\n")
    (links / "good.csv").write_text("t_s,mbps\n0,8\n")
    (links / "broken.csv").write_text("hello\n")
    options = "--no-bottleneck", "--traces", str(links), "--deadline-ms", "1000"
    result = run(tmp_path, "clio", *options)
    assert result.exit_code == 0, result.output
    assert "--traces: left out: broken.csv" in result.stderr
    assert "at 32 bits a number, on good, on-off" in " ".join(result.stdout.split())
    assert all(weight in result.stdout for weight in ("0.002", "0.248", "0.500"))
    config = load_run(tmp_path / "run").record.settings.progressive
    assert config is not None
    assert config.weights_of_link == WeightSource(("good", "on-off"), 1.0, 32)
    assert config.prefix_weights == pytest.approx((0.002304, 0.247892, 0.5))

    again = run(tmp_path, "clio", *options, "--resume")
    assert again.exit_code == 0, again.output
    (links / "on-off.csv").write_text("t_s,mbps\n0,0\n100,9\n")
    changed = run(tmp_path, "clio", *options, "--resume")
    assert changed.exit_code == 2
    assert "prefix_weights" in changed.stderr


def test_a_run_that_knows_of_no_recorded_link_writes_what_earlier_versions_wrote(
    tmp_path: Path,
) -> None:
    assert run(tmp_path, "clio", "--no-bottleneck", "--bandwidth-kbps", "9").exit_code == 0
    assert "weights_of_link" not in (tmp_path / "run" / "run.json").read_text()


@pytest.mark.parametrize("method", ["nair", "clio"])
def test_options_default_to_what_the_settings_default_to(method: str) -> None:
    command = train_group.commands[method]
    options = command.make_context(method, ["--out", "run"]).params
    others = OF_SEVERAL_MEMBERS | {"progressive"}
    shared = {each.name: each.default for each in fields(PruneConfig) if each.name not in others}
    assert {name: options[name] for name in shared} == shared | DEFAULTS
    for each in fields(ProgressiveConfig):
        name, default = each.name, each.default
        if name in options and name not in ("epochs", "prefix_weights", "order", "penalty"):
            assert options[name] == default, name
    assert options["nair_epochs"] == ProgressiveConfig().epochs


@pytest.mark.parametrize(
    ("options", "order", "penalty"),
    [
        ([], "principal", 0.0),
        (["--no-bottleneck"], "importance", PENALTY),
        (["--order", "importance"], "importance", PENALTY),
        (["--order", "natural", "--penalty", "0.1"], "natural", 0.1),
    ],
)
def test_the_order_is_by_mixtures_where_a_bottleneck_makes_them(
    tmp_path: Path, options: list[str], order: str, penalty: float
) -> None:
    assert run(tmp_path, "nair", *options).exit_code == 0
    settings = load_run(tmp_path / "run").record.settings.progressive
    assert settings is not None
    assert (settings.order, settings.penalty) == (order, penalty)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("nair", ["--slice", "4"], "6 maps cannot be cut into slices of 4; give one of 1, 2, 3, 6"),
        ("nair", ["--no-bottleneck", "--split", "0", "--slice", "1"], "cannot be computed"),
        ("nair", ["--no-bottleneck", "--maps", "4"], "--maps: without a bottleneck all maps"),
        ("nair", ["--maps", "7"], "--maps: 7 is impossible, 6 maps leave the split"),
        ("nair", ["--prefixes-per-step", "3"], "beside the whole there are 2 prefixes"),
        ("clio", ["--prefix-weights", "a,b"], "--prefix-weights: 'a,b' is not a list of numbers"),
        ("clio", ["--prefix-weights", "1,2"], "expected one for each of the 3 prefixes"),
        ("clio", ["--prefix-weights", "1,1,1", "--bandwidth-kbps", "9"], "cannot be given with"),
        (
            "clio",
            ["--traces", "steady:1", "--bandwidth-kbps", "9"],
            "cannot be given with --traces",
        ),
        ("clio", ["--traces", "steady:1", "--prefix-weights", "1,1,1"], "with --traces; each sets"),
        ("clio", ["--traces", "steady:0.0001"], "--traces: none of the 1 ever carries even the"),
        ("clio", ["--traces", "steady:1", "--deadline-ms", "-1"], "--deadline-ms: found -1"),
        ("clio", ["--traces", "nowhere"], "trace 'nowhere': is neither built in"),
        ("clio", ["--bandwidth-kbps", "0.1"], "no rate carries even the first"),
        ("clio", ["--value-bits", "0"], "--value-bits: found 0"),
        ("clio", ["--link-loss", "2"], "--link-loss: found 2.0, expected a share of 0 to 1"),
    ],
)
def test_impossible_options_are_refused_and_nothing_is_written(
    method: str, options: list[str], message: str, tmp_path: Path
) -> None:
    result = run(tmp_path, method, *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "run.partial").exists()
