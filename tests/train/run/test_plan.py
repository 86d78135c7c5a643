"""Claims about headgate.train.run.plan: what a run's input is, what is said of its pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headgate.profiles.errors import UsageError
from headgate.train.recipe import PruneConfig
from headgate.train.run.plan import input_spec, make_plan


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
