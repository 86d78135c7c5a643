"""A VGG11 family of three members for speed benchmarks: real graphs, weights that learnt nothing.

Speed does not depend on what the weights know, so one epoch over noise is enough. Accuracy figures
of this family mean nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from headgate.export.options import ExportOptions
from headgate.export.pipeline import export_family
from headgate.profiles.errors import FamilyError
from headgate.profiles.family import Family, open_family
from headgate.profiles.storage import naming
from headgate.train.recipe import PruneConfig
from headgate.train.run.prune import train_prune

SIDE_PX = 32
NUM_TRAIN, NUM_VAL, NUM_CLASSES = 128, 32, 10
BUDGETS = (128, 32, 4)


def opened_or_made(family: Path | None, *, out: Path) -> Family:
    """Return the family at a path; without one, ours below `out`."""
    return speed_family(out / "vgg11") if family is None else open_family(family)


def speed_family(folder: Path) -> Family:
    """Return the family in `folder`, made on the first call; that takes a minute."""
    family = folder / "family"
    try:
        return open_family(family)
    except FamilyError:
        folder.mkdir(parents=True, exist_ok=True)
    pictures = folder / "noise.npz"
    _write_noise(pictures)
    config = PruneConfig(
        data=f"npz:{pictures}",
        model="vgg11",
        budgets=BUDGETS,
        epochs=1,
        base_epochs=1,
        member_epochs=1,
    )
    train_prune(config, folder / "run", force=True)
    options = ExportOptions(
        levels=(16,), jpeg_qualities=(60,), webp_qualities=(50,), num_calibration=64, force=True
    )
    export_family(folder / "run", family, options, lambda _: None)
    return open_family(family)


def _write_noise(path: Path) -> None:
    stream = np.random.default_rng(0)
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for split, num in (("train", NUM_TRAIN), ("val", NUM_VAL)):
        size = (num, SIDE_PX, SIDE_PX, 3)
        arrays[f"{split}_pictures"] = stream.integers(0, 256, size, dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(num) % NUM_CLASSES
    with naming(path):
        np.savez(path, **arrays)  # type: ignore[arg-type]
