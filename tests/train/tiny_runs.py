"""Small real training runs for tests: 32 pictures of 16 x 16 px, a LeNet, one thread, float32."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from headgate.train.folder.epoch_log import EpochRecord
from headgate.train.folder.run_folder import Run
from headgate.train.recipe import PruneConfig
from headgate.train.run.progress import Silent
from headgate.train.run.prune import train_prune


def write_pictures(path: Path, *, seed: int = 0, num_train: int = 32, num_val: int = 16) -> Path:
    """Write a data set of two classes, bright and dark noise, as .npz."""
    draw = np.random.default_rng(seed)
    arrays = {}
    for half, count in (("train", num_train), ("val", num_val)):
        labels = np.arange(count) % 2
        noise = draw.integers(0, 128, (count, 16, 16, 3))
        arrays[f"{half}_pictures"] = (noise + 127 * labels[:, None, None, None]).astype(np.uint8)
        arrays[f"{half}_labels"] = labels.astype(np.int64)
    np.savez(path, allow_pickle=False, **arrays)
    return path


def tiny_config(pictures: Path, **changes: object) -> PruneConfig:
    """Return settings for four stages of one or two epochs of four steps."""
    config = PruneConfig(
        data=f"npz:{pictures}",
        model="lenet",
        split="features.2",
        budgets=(6, 3, 1),
        epochs=2,
        base_epochs=1,
        member_epochs=2,
        batch_size=8,
        rate_weight=1e-5,
        levels=(256, 8),
        threads=1,
        device="cpu",
        precision="float32",
    )
    return replace(config, **changes)  # type: ignore[arg-type]


def own_network(num_classes: int) -> nn.Module:
    """Return what a user might bring: a network that knows of no width."""
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8, num_classes))


class StoppedOnPurposeError(Exception):
    """The run was stopped where a test wanted it to be."""


class StopAfter(Silent):
    """Stops a run after so many epochs, or so many steps."""

    def __init__(self, *, epochs: int | None = None, steps: int | None = None) -> None:
        self._epochs_left = epochs
        self._steps_left = steps

    def steps_done(self, num_steps: int) -> None:
        if self._steps_left is not None:
            self._steps_left -= num_steps
            if self._steps_left <= 0:
                raise StoppedOnPurposeError

    def epoch_done(self, record: EpochRecord) -> None:
        if self._epochs_left is not None:
            self._epochs_left -= 1
            if self._epochs_left <= 0:
                raise StoppedOnPurposeError


def digests(run: Run) -> list[str]:
    """Return what identifies all weights of a run."""
    assert run.record.backbone is not None
    return [run.record.backbone.sha256, *(member.sha256 for member in run.record.members)]


def train_tiny(pictures: Path, out: Path, **changes: object) -> Run:
    """Train a tiny run from beginning to end."""
    return train_prune(tiny_config(pictures, **changes), out)
