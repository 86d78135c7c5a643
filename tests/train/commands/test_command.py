"""Claims about `headgate train`: what it prints, and how it refuses."""

import json
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from headgate.runtime.cli import main
from headgate.train.commands.command import prune as prune_command
from headgate.train.folder.run_folder import load_run
from headgate.train.recipe import DEFAULT_SPLITS, PruneConfig
from train.tiny_runs import write_pictures

TINY = ["--model", "lenet", "--split", "features.2", "--epochs", "1", "--base-epochs", "1"]
TINY += ["--member-epochs", "1", "--batch-size", "8", "--threads", "1", "--device", "cpu"]


def headgate(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def prune(folder: Path, *options: str) -> Result:
    pictures = folder / "tiny.npz"
    if not pictures.exists():
        write_pictures(pictures)
    return headgate(
        "train", "prune", "--data", f"npz:{pictures}", "--out", str(folder / "run"), *TINY, *options
    )


def test_prune_prints_a_json_line_per_epoch_and_nothing_else_on_stdout(tmp_path: Path) -> None:
    result = prune(tmp_path, "--budgets", "2,6", "--json")
    assert result.exit_code == 0
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["stage"] for line in lines] == ["backbone", "b6r1", "b2r1"]
    stored = (tmp_path / "run" / "epochs.jsonl").read_text()
    assert result.stdout == stored
    assert "b2r1: epoch 1 of 1, loss " in result.stderr


def test_prune_prints_a_table_of_members_and_tells_of_each_epoch_on_stderr(tmp_path: Path) -> None:
    result = prune(tmp_path, "--budgets", "6,2")
    assert result.exit_code == 0
    assert "backbone" in result.stdout
    assert "b2r1" in result.stdout
    assert result.stderr.startswith("data: ")
    epochs = [line for line in result.stderr.splitlines() if " epoch 1 of 1, loss " in line]
    assert [line.partition(":")[0] for line in epochs] == ["backbone", "b6r1", "b2r1"]
    assert load_run(tmp_path / "run").member_ids == ("b6r1", "b2r1")


def test_budgets_may_be_shares_of_the_maps_at_the_split_and_resume_as_such(tmp_path: Path) -> None:
    budgets = ["--budgets", "phi,phi/3,1,phi/6,phi/32"]  # the last two are 1 as well
    assert prune(tmp_path, *budgets).exit_code == 0
    assert load_run(tmp_path / "run").member_ids == ("b6r1", "b2r1", "b1r1")
    assert prune(tmp_path, *budgets, "--resume").exit_code == 0


@pytest.mark.parametrize(
    ("budgets", "said"),
    [
        ("phi/0,4", "'phi/0,4' is not a list such as 128,32,4 or phi,phi/4,2"),
        ("phj", "'phj' is not a list such as 128,32,4 or phi,phi/4,2"),
        ("phi,7", "--budgets: 7 is impossible, 6 maps leave the split"),
        ("phi,4,4", "--budgets: 4 is given more than once"),
    ],
)
def test_budgets_that_are_none_are_refused(tmp_path: Path, budgets: str, said: str) -> None:
    result = prune(tmp_path, "--budgets", budgets)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("group", ["train", "bench", "profile"])
def test_no_group_cuts_what_it_says_of_its_commands(group: str) -> None:
    result = headgate(group, "--help")
    commands = result.stdout.partition("Commands:")[2]
    assert commands
    assert "..." not in commands


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budgets", "7"], "--budgets: 7 is impossible, 6 maps leave the split"),
        (["--budgets", "0"], "--budgets: 0 is impossible"),
        (["--budgets", "2,2"], "--budgets: 2 is given more than once"),
        (["--split", "nowhere"], "the model has no such layer; valid splits: 0, features.0"),
        (["--model", "vgg99"], "'vgg99' is not a built-in model"),
        (["--data", "npz:nowhere.npz"], "nowhere.npz"),
        (["--data", "magic:here"], "'magic' is not one of embedded, cifar10, folder, npz"),
        (["--lambda", "2"], "--lambda: found 2.0, expected 0 to 1"),
        (["--resume", "--force"], "--force: cannot be given with --resume"),
        (["--resolution", "99"], "--resolution: found 99, but the maps"),
        (["--threads", "100000"], "--threads: found 100000, expected at most 1024"),
    ],
)
def test_bad_options_end_with_one_sentence_and_exit_code_2(
    options: list[str], message: str, tmp_path: Path
) -> None:
    result = prune(tmp_path, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.startswith("headgate: error: ")
    assert len(result.stderr.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.npz"]


@pytest.mark.parametrize(
    "options", [["--budgets", "six"], ["--epochs", "many"], ["--frobnicate"], ["--levels", ""]]
)
def test_unreadable_options_are_refused_by_name(options: list[str], tmp_path: Path) -> None:
    result = prune(tmp_path, *options)
    assert result.exit_code == 2
    assert options[0] in result.stderr


def test_options_default_to_what_the_settings_default_to() -> None:
    settings = {field.name: field.default for field in fields(PruneConfig)}
    del settings["progressive"]  # other commands have that
    options = prune_command.make_context("prune", ["--out", "run"]).params
    assert {name: options[name] for name in settings} == settings


def test_splits_prints_a_row_per_layer_with_shares_that_add_up() -> None:
    result = headgate("train", "splits", "vgg11", "--input-px", "32", "--width", "0.125")
    assert result.exit_code == 0
    row = next(line for line in result.stdout.splitlines() if "features.7" in line)
    assert "16 x 8 x 8" in row
    assert row.count("%") == 2


def test_splits_as_json_starts_with_the_picture_and_says_why_a_layer_is_no_split() -> None:
    result = headgate(
        "train", "splits", "resnet18", "--input-px", "32", "--width", "0.125", "--json"
    )
    assert result.exit_code == 0
    points = [json.loads(line) for line in result.stdout.splitlines()]
    assert points[0]["name"] == "0"
    assert points[0]["shape"] == [3, 32, 32]
    assert points[0]["head_share"] == 0
    refused = [point for point in points if not point["valid"]]
    assert refused
    assert all(point["reason"] for point in refused)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vgg99"], "'vgg99' is not a built-in model"),
        (["vgg11", "--input-px", "8"], "expected at least 32 px"),
        (["lenet", "--input-px", "8"], "a side; give a larger --input-px\n"),
        (["vgg11", "--input-px", "16"], "a side; give a larger --input-px or use lenet\n"),
        (["vgg11", "--num-classes", "0"], "--num-classes: found 0"),
        (["nowhere:made"], "module 'nowhere' cannot be imported"),
    ],
)
def test_splits_refuses_what_it_cannot_build(arguments: list[str], message: str) -> None:
    result = headgate("train", "splits", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "--model" not in result.stderr  # an option that this command does not have


def test_splits_shows_valid_ones_and_counts_the_others_unless_asked_for_all() -> None:
    model = ["resnet18", "--input-px", "32", "--width", "0.125"]
    short, long = headgate("train", "splits", *model), headgate("train", "splits", *model, "--all")
    assert "why not" not in short.stdout
    assert f"without --split, trainings cut after {DEFAULT_SPLITS['resnet18']}" in short.stdout
    assert f"│ {DEFAULT_SPLITS['resnet18']} " in short.stdout  # the name that its row has
    assert "stages.1.0.main.0" not in short.stdout
    assert "more layers cannot be split after; --all says why" in short.stdout
    assert "why not" in long.stdout
    row = next(line for line in long.stdout.splitlines() if "stages.1.0.main.0" in line)
    assert "more than one tensor crosses it" in row
    assert "--all" not in long.stdout
