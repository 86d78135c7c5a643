"""Claims about the stage that tunes a copy of the plain network on compressed pictures."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from headgate.profiles.errors import UsageError
from headgate.train.folder.run_folder import Run, load_run
from headgate.train.learning.material import Deal
from headgate.train.pictures.batches import Augmentation, as_floats
from headgate.train.pictures.data import load_training_data
from headgate.train.run.picture_stage import CompressedPictures, held_out_pictures
from headgate.train.run.prune import train_prune
from train.tiny_runs import (
    StopAfter,
    StoppedOnPurposeError,
    digests,
    tiny_config,
    train_tiny,
    write_pictures,
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("tuned") / "tiny.npz")


@pytest.fixture(scope="module")
def tuned(pictures: Path) -> Run:
    return train_tiny(pictures, pictures.parent / "run", budgets=(2,), picture_epochs=2)


def test_the_plain_network_stays_as_it_is_and_a_second_one_appears(
    tuned: Run, pictures: Path
) -> None:
    plain = train_tiny(pictures, pictures.parent / "without", budgets=(2,))
    assert digests(tuned) == digests(plain)
    network = tuned.picture_network()
    assert network is not None
    assert plain.picture_network() is None
    differs = [
        not torch.equal(a, b)
        for a, b in zip(network.parameters(), tuned.backbone().parameters(), strict=True)
    ]
    assert all(differs)
    entry = tuned.record.sides["pictures"]
    assert 0 <= entry.plain_accuracy <= 1
    assert 0 <= entry.accuracy <= 1
    assert entry.draws_held_out
    lines = [json.loads(x) for x in (tuned.path / "epochs.jsonl").read_text().splitlines()]
    assert [x["stage"] for x in lines][-2:] == ["pictures", "pictures"]
    assert lines[-1]["kind"] == "pictures"


def test_a_stopped_tuning_goes_on_to_the_same_weights(tuned: Run, pictures: Path) -> None:
    config = tiny_config(pictures, budgets=(2,), picture_epochs=2)
    out = pictures.parent / "stopped"
    with pytest.raises(StoppedOnPurposeError):
        train_prune(config, out, progress=StopAfter(epochs=6))
    resumed = train_prune(config, out, resume=True)
    assert resumed.record.sides == tuned.record.sides


def test_a_run_without_a_tuned_network_says_nothing_of_it(pictures: Path) -> None:
    run = load_run(train_tiny(pictures, pictures.parent / "plain", budgets=(2,)).path)
    assert "sides" not in json.loads((run.path / "run.json").read_text())


DEAL = Deal(seed=5, epoch=0, batch_size=8, rank=0, world_size=1, first_step=0)


def test_held_out_pictures_are_spread_and_few() -> None:
    assert held_out_pictures(3).tolist() == []
    assert len(held_out_pictures(32)) == 3
    places = held_out_pictures(50_000)
    assert len(set(places.tolist())) == 1000
    assert np.histogram(places, bins=5, range=(0, 50_000))[0].min() > 150


@pytest.mark.parametrize("num_classes", [10, 100])
def test_each_class_of_a_data_set_whose_classes_take_turns_is_tuned_on(num_classes: int) -> None:
    held_out = np.bincount(held_out_pictures(6000) % num_classes, minlength=num_classes)
    assert held_out.max() < 0.5 * 6000 / num_classes


def test_what_an_earlier_version_held_out_is_found_again() -> None:
    assert held_out_pictures(32, drawn=False).tolist() == [9, 19, 29]


def test_held_out_pictures_are_never_dealt(pictures: Path) -> None:
    data = load_training_data(f"npz:{pictures}")
    data = replace(data, train_labels_N=torch.arange(32))  # each picture has a name
    material = CompressedPictures(data, augmentation=None, seed=1)
    assert material.num_pictures == 29
    (lesson,) = material.deal(replace(DEAL, batch_size=29))
    assert set(lesson.labels_B.tolist()) == set(range(32)) - set(held_out_pictures(32).tolist())
    for seen_CHW, name in zip(lesson.x_BCHW, lesson.labels_B, strict=True):
        clean_CHW = as_floats(data.train_pictures_NCHW[name][None])[0]
        assert float((seen_CHW - clean_CHW).mean().abs()) < 0.1  # it is that picture


def test_an_epoch_can_begin_in_its_middle(pictures: Path) -> None:
    data = load_training_data(f"npz:{pictures}")
    material = CompressedPictures(data, augmentation=Augmentation(shift_px=2), seed=1)
    lessons = list(material.deal(DEAL))
    assert [len(lesson.labels_B) for lesson in lessons] == [8, 8, 8]
    (second, third) = material.deal(replace(DEAL, first_step=1))
    assert torch.equal(second.x_BCHW, lessons[1].x_BCHW)
    assert torch.equal(third.x_BCHW, lessons[2].x_BCHW)


def test_epochs_see_other_qualities(pictures: Path) -> None:
    data = load_training_data(f"npz:{pictures}")
    material = CompressedPictures(data, augmentation=None, seed=1)
    means = []
    for epoch in range(2):
        lessons = list(material.deal(replace(DEAL, epoch=epoch, batch_size=29)))
        order = np.argsort(lessons[0].x_BCHW.mean((1, 2, 3)).numpy())
        means.append(lessons[0].x_BCHW.std((1, 2, 3)).numpy()[order])
    assert not np.allclose(means[0], means[1], atol=1e-3)


def test_what_has_no_plain_network_has_none_to_tune(pictures: Path, tmp_path: Path) -> None:
    config = tiny_config(pictures, from_scratch=True, picture_epochs=1)
    with pytest.raises(UsageError, match="--picture-epochs: a run from scratch"):
        train_prune(config, tmp_path / "run")
