"""Claims about headgate.train.run.plan: what a run's input is."""

from pathlib import Path

import pytest
from PIL import Image

from headgate.profiles.errors import UsageError
from headgate.train.recipe import PruneConfig
from headgate.train.run.plan import input_spec


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
