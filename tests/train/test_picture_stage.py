"""Claims about the stage that tunes a copy of the plain network on compressed pictures."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from headgate.profiles.errors import UsageError
from headgate.train.data import Augmentation, as_floats, load_training_data
from headgate.train.material import Deal
from headgate.train.picture_stage import CompressedPictures, held_out_pictures
from headgate.train.prune import train_prune
from headgate.train.run_folder import Run, load_run
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
    lines = [json.loads(x) for x in (tuned.path / "epochs.jsonl").read_text().splitlines()]
    assert [x["stage"] for x in lines][-2:] == ["pictures", "pictures"]
    assert lines[-1]["distill_loss"] > 0


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


def noting(seen: list[torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a teacher that keeps the pictures it was shown."""

    def teach(x_BCHW: torch.Tensor) -> torch.Tensor:
        seen.append(x_BCHW)
        return x_BCHW.mean((2, 3))

    return teach


def test_held_out_pictures_are_spread_and_few() -> None:
    assert held_out_pictures(3).tolist() == []
    assert held_out_pictures(32).tolist() == [9, 19, 29]
    assert len(held_out_pictures(50_000)) == 1000


def test_held_out_pictures_are_never_dealt(pictures: Path) -> None:
    data = load_training_data(f"npz:{pictures}")
    dealt: list[torch.Tensor] = []
    material = CompressedPictures(data, augmentation=None, seed=1, teach=noting(dealt))
    assert material.num_pictures == 29
    lessons = list(material.deal(DEAL))
    assert [len(lesson.labels_B) for lesson in lessons] == [8, 8, 8]
    held_out = as_floats(data.train_pictures_NCHW[held_out_pictures(32)])
    for batch_BCHW in dealt:
        for own in batch_BCHW:
            assert not any(torch.equal(own, other) for other in held_out)


def test_clean_and_compressed_pictures_are_moved_alike(pictures: Path) -> None:
    data = load_training_data(f"npz:{pictures}")
    smooth = 128 + 60 * torch.sin(torch.arange(16) * 0.8)
    smooth_NCHW = smooth.expand(32, 3, 16, 16).to(torch.uint8).contiguous()
    data = replace(data, train_pictures_NCHW=smooth_NCHW)
    clean: list[torch.Tensor] = []
    moves = Augmentation(shift_px=4)
    material = CompressedPictures(data, augmentation=moves, seed=1, teach=noting(clean))
    lessons = list(material.deal(DEAL))
    for lesson, clean_BCHW in zip(lessons, clean, strict=True):
        assert lesson.taught_BK is not None
        gap_B = (lesson.x_BCHW - clean_BCHW).abs().mean((1, 2, 3))
        assert float(gap_B.max()) < 0.1
        assert float((lesson.x_BCHW - clean_BCHW.roll(1, 0)).abs().mean((1, 2, 3)).max()) > 0.1
    (second, third) = material.deal(replace(DEAL, first_step=1))
    assert torch.equal(second.x_BCHW, lessons[1].x_BCHW)
    assert torch.equal(third.x_BCHW, lessons[2].x_BCHW)


def test_epochs_see_other_qualities(pictures: Path) -> None:
    data = load_training_data(f"npz:{pictures}")
    material = CompressedPictures(data, augmentation=None, seed=1, teach=None)
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
