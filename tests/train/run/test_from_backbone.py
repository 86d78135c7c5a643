"""Claims about what a run takes over from the run its backbone comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.train.run.from_backbone import with_network_of_backbone
from train.tiny_runs import train_tiny, write_pictures

ASKED = {"model": "resnet18", "width": None, "split": None, "input_px": None, "seed": 3}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backbone")
    write_pictures(folder / "tiny.npz")
    return train_tiny(folder / "tiny.npz", folder / "run", budgets=(2,)).path


def test_what_was_not_asked_for_comes_from_the_run(run: Path) -> None:
    asked = {**ASKED, "backbone": str(run)}
    found = with_network_of_backbone(asked, given={"backbone", "seed"})
    assert (found["model"], found["split"]) == ("lenet", "features.2")
    assert found["seed"] == 3
    assert asked["model"] == "resnet18"  # the caller's settings are left alone


def test_what_was_asked_for_stays(run: Path) -> None:
    asked = {**ASKED, "backbone": str(run), "model": "lenet", "split": "features.5"}
    found = with_network_of_backbone(asked, given={"backbone", "model", "split"})
    assert (found["model"], found["split"]) == ("lenet", "features.5")
    assert found["width"] == 1.0


def test_another_network_takes_nothing_over(run: Path) -> None:
    asked = {**ASKED, "backbone": str(run)}
    assert with_network_of_backbone(asked, given={"model"}) == asked


@pytest.mark.parametrize("backbone", [None, "weights.safetensors", "."])
def test_without_a_run_nothing_changes(backbone: str | None) -> None:
    asked = {**ASKED, "backbone": backbone}
    assert with_network_of_backbone(asked, given=set()) == asked
