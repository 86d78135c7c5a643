"""Claims about finished runs on disk: they open as what they were, and damage is noticed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from headgate.profiles.errors import FamilyError
from headgate.profiles.storage import sha256_file
from headgate.train.folder.run_folder import Run, load_run
from train.tiny_runs import train_tiny, write_pictures


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("made")
    pictures = write_pictures(folder / "tiny.npz")
    return train_tiny(pictures, folder / "run", epochs=1, member_epochs=1, budgets=(6, 2))


@pytest.fixture
def copied(made: Run, tmp_path: Path) -> Path:
    return shutil.copytree(made.path, tmp_path / "run")


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads(path.read_text())
    data.pop("digest", None)  # as if written by hand
    change(data)
    path.write_text(json.dumps(data))


def test_a_run_holds_nothing_but_its_record_its_epochs_and_its_weights(made: Run) -> None:
    files = sorted(str(path.relative_to(made.path)) for path in made.path.rglob("*"))
    assert files == [
        "epochs.jsonl",
        "run.json",
        "weights",
        "weights/b2r1.safetensors",
        "weights/b6r1.safetensors",
        "weights/backbone.safetensors",
    ]


def test_networks_are_the_same_wherever_the_folder_lies(made: Run, copied: Path) -> None:
    torch.manual_seed(0)
    x_BCHW = torch.rand(2, 3, 16, 16)
    moved = load_run(copied)
    assert torch.equal(made.backbone()(x_BCHW), moved.backbone()(x_BCHW))
    for member_id in made.member_ids:
        ours = made.member(member_id)(x_BCHW, levels=8)
        theirs = moved.member(member_id)(x_BCHW, levels=8)
        assert torch.equal(ours.logits_BK, theirs.logits_BK)


def test_weights_that_are_not_finite_are_refused(copied: Path) -> None:
    (entry,) = (each for each in load_run(copied).record.members if each.budget == 2)
    weights = load_file(copied / entry.file)
    name = next(name for name, tensor in weights.items() if tensor.is_floating_point())
    weights[name].view(-1)[0] = torch.nan
    save_file(weights, copied / entry.file)
    digest = sha256_file(copied / entry.file)
    rewrite(
        copied / "run.json",
        lambda data: [m.update(sha256=digest) for m in data["members"] if m["budget"] == 2],
    )
    run = load_run(copied)
    assert run.member("b6r1")
    with pytest.raises(FamilyError, match=f"b2r1.*: {name} holds a number that is not finite"):
        run.member("b2r1")


def test_a_run_of_the_first_schema_is_read_as_it_was_trained(copied: Path) -> None:
    def age(data: dict[str, Any]) -> None:
        data["schema"] = 1
        for setting in ("share", "select", "hint", "cache_gb"):
            del data["settings"][setting]

    rewrite(copied / "run.json", age)
    settings = load_run(copied).record.settings
    assert (settings.share, settings.select, settings.hint) == ("nothing", "weights", 0.0)


def test_a_member_without_the_weights_it_shares_is_refused(copied: Path) -> None:
    rewrite(copied / "run.json", lambda data: data.update(backbone=None))
    with pytest.raises(FamilyError, match="shares the weights of a plain network that is not"):
        load_run(copied).member("b2r1")


def test_an_unknown_member_is_refused_naming_those_there_are(made: Run) -> None:
    with pytest.raises(FamilyError, match="no member 'b9r1'; it has b6r1, b2r1"):
        made.member("b9r1")


@pytest.mark.parametrize("place", [0, -1])
def test_a_flipped_byte_in_any_weights_is_noticed(place: int, copied: Path) -> None:
    for name in ("backbone", "b6r1", "b2r1"):
        path = copied / "weights" / f"{name}.safetensors"
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)
    run = load_run(copied)
    with pytest.raises(FamilyError, match=r"backbone.safetensors: sha256 is \w+, expected"):
        run.backbone()
    for member_id in run.member_ids:
        with pytest.raises(FamilyError, match=f"{member_id}.safetensors: sha256"):
            run.member(member_id)


def test_missing_weights_are_named(copied: Path) -> None:
    (copied / "weights" / "b2r1.safetensors").unlink()
    with pytest.raises(FamilyError, match=r"b2r1.safetensors: missing"):
        load_run(copied).member("b2r1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(status="training"), "status is 'training'"),
        (lambda data: data.update(schema=99), "schema 99, this version reads up to 2"),
        (lambda data: data.pop("schema"), "has no schema number"),
        (lambda data: data.update(colour="red"), r"unknown keys 'colour'"),
        (lambda data: data.pop("labels"), r"misses keys 'labels'; add"),
        (lambda data: data["members"][0].update(budget="six"), r"members\[0\].budget"),
        (
            lambda data: data["backbone"].update(file="../../secret"),
            r"'../../secret' leaves the folder",
        ),
    ],
)
def test_a_record_that_is_not_a_complete_run_is_refused(
    change: Callable[[dict[str, Any]], object], message: str, copied: Path
) -> None:
    rewrite(copied / "run.json", change)
    with pytest.raises(FamilyError, match=message):
        load_run(copied)


def test_a_record_cut_short_is_refused(copied: Path) -> None:
    path = copied / "run.json"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FamilyError, match=r"run.json: not JSON"):
        load_run(copied)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FamilyError, match=r"no run\.json in it"):
        load_run(tmp_path / "nothing")
    (tmp_path / "family.json").write_text("{}")
    with pytest.raises(FamilyError, match="is a family, no training run; give what it was"):
        load_run(tmp_path)


def test_a_swap_that_was_cut_short_is_repaired(copied: Path) -> None:
    copied.rename(copied.with_name(".run.old"))
    assert load_run(copied).member_ids == ("b6r1", "b2r1")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda record: record["members"].clear(), "expected one entry for each"),
        (lambda record: record["members"].append(record["members"][0]), "expected one entry"),
        (lambda record: record["blueprint"]["input"].update(height_px=0), "px, expected 1 px"),
    ],
)
def test_a_record_that_cannot_be_meant_is_refused(
    copied: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    rewrite(copied / "run.json", change)
    with pytest.raises(FamilyError, match=said):
        load_run(copied)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda record: record["blueprint"].update(model="vgg99"), "'vgg99' is not a built-in"),
        (lambda record: record["blueprint"].update(split="nowhere"), "no such layer"),
        (lambda record: record["members"][0].update(selected=[0, 99]), "selection"),
    ],
)
def test_a_network_that_cannot_be_built_again_is_blamed_on_the_run(
    copied: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    rewrite(copied / "run.json", change)
    with pytest.raises(FamilyError, match=f"run.json: its network cannot be built again: .*{said}"):
        load_run(copied).member("b6r1")


def test_an_altered_number_in_the_record_is_noticed(copied: Path) -> None:
    path = copied / "run.json"
    text = path.read_text()
    path.write_text(text.replace('"budget":6', '"budget":5', 1))
    assert path.read_text() != text
    with pytest.raises(FamilyError, match=r"run.json: digest is \w{12}, it says \w{12}"):
        load_run(copied)
