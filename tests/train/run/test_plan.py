"""Claims about headgate.train.run.plan: what a run's input is, what is said of its pictures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headgate.profiles.errors import UsageError
from headgate.train.pictures.batches import Augmentation
from headgate.train.recipe import PruneConfig
from headgate.train.run.plan import check_same_run, input_spec, make_plan
from train.tiny_runs import tiny_config, write_pictures


def write_folder(root: Path, *, width_px: int, height_px: int) -> str:
    """Write a folder of two pictures of a class, one for each half, and return its name."""
    for half in ("train", "val"):
        (root / half / "cat").mkdir(parents=True)
        Image.new("RGB", (width_px, height_px)).save(root / half / "cat" / "a.png")
    return f"folder:{root}"


def test_without_a_size_the_first_picture_gives_it(tmp_path: Path) -> None:
    spec = input_spec(PruneConfig(data=write_folder(tmp_path, width_px=40, height_px=30)))
    assert (spec.width_px, spec.height_px, spec.resize) == (40, 30, "crop")


def test_pictures_of_several_sizes_do_not_leave_the_input_to_chance(tmp_path: Path) -> None:
    data = write_folder(tmp_path, width_px=40, height_px=30)
    Image.new("RGB", (300, 200)).save(tmp_path / "train" / "cat" / "b.png")
    message = r"^--input-px: missing, .*, 40 x 30 to 300 x 200 px among 2 of them; .* such as 32$"
    with pytest.raises(UsageError, match=message):
        input_spec(PruneConfig(data=data))
    spec = input_spec(PruneConfig(data=data, input_px=48))
    assert (spec.width_px, spec.height_px, spec.resize) == (48, 48, "crop")


def test_photographs_of_a_camera_are_no_size_for_a_network_unless_it_is_asked_for(
    tmp_path: Path,
) -> None:
    data = write_folder(tmp_path, width_px=1200, height_px=900)
    with pytest.raises(UsageError, match=r"^--input-px: missing, .* has 1200 x 900 px, too many"):
        input_spec(PruneConfig(data=data))
    spec = input_spec(PruneConfig(data=data, input_px=1200))
    assert (spec.width_px, spec.height_px) == (1200, 1200)


@pytest.mark.parametrize(
    ("val_labels", "said"),
    [
        ([0, 1, 2], ""),
        ([0, 0, 0], "; none to validate with of class 'fox' and 1 more"),
    ],
)
def test_classes_that_a_half_does_not_show_are_named(
    tmp_path: Path, val_labels: list[int], said: str
) -> None:
    np.savez(
        tmp_path / "few.npz",
        train_pictures=np.zeros((3, 32, 32, 3), np.uint8),
        train_labels=np.arange(3),
        val_pictures=np.zeros((3, 32, 32, 3), np.uint8),
        val_labels=np.array(val_labels),
        label_names=np.array(["cat", "fox", "owl"]),
    )
    plan = make_plan(PruneConfig(data=f"npz:{tmp_path / 'few.npz'}", model="lenet", budgets=(4,)))
    assert plan.data_note().endswith(f"3 classes, at 32 x 32 px{said}")
    assert plan.record().dataset.num_val_commonest == max(map(val_labels.count, val_labels))


def test_a_single_class_leaves_nothing_to_tell_apart(tmp_path: Path) -> None:
    data = write_folder(tmp_path, width_px=32, height_px=32)
    Image.new("RGB", (32, 32)).save(tmp_path / "train" / "cat" / "b.png")
    with pytest.raises(UsageError, match=r"only class 'cat', expected two or more"):
        make_plan(PruneConfig(data=data, model="lenet", budgets=(4,)))


@pytest.mark.parametrize(("num_train", "num_val", "refused"), [(1, 4, True), (2, 1, False)])
def test_a_run_needs_two_pictures_to_train_on_and_one_to_validate_with(
    tmp_path: Path, num_train: int, num_val: int, refused: bool
) -> None:
    pictures = write_pictures(tmp_path / "few.npz", num_train=num_train, num_val=num_val)
    if not refused:
        assert len(make_plan(tiny_config(pictures)).data.train_labels_N) == num_train
        return
    message = f"{num_train} training and {num_val} validation pictures, expected at least 2 and 1"
    with pytest.raises(UsageError, match=message):
        make_plan(tiny_config(pictures))


def test_pictures_are_augmented_as_suits_them_unless_told_not_to(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "tiny.npz")
    plan = make_plan(tiny_config(pictures))
    assert plan.augmentation == Augmentation(shift_px=2)
    assert replace(plan, config=tiny_config(pictures, augment=False)).augmentation is None


def test_a_run_goes_on_with_the_pictures_and_network_that_it_began_with(tmp_path: Path) -> None:
    plan = make_plan(tiny_config(write_pictures(tmp_path / "tiny.npz")))
    began = plan.record()
    check_same_run(plan, began, where=tmp_path)
    other_pictures = replace(began, dataset=replace(began.dataset, digest="0" * 64))
    with pytest.raises(UsageError, match=r"the data set has changed .*, was 000000000000\)"):
        check_same_run(plan, other_pictures, where=tmp_path)
    other_network = replace(began, blueprint=replace(began.blueprint, split="features.0"))
    message = r"not the one this run began with \(split was features.0, is features.2\); put"
    with pytest.raises(UsageError, match=message):
        check_same_run(plan, other_network, where=tmp_path)
