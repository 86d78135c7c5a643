"""Train and export a family whose rates are worth measuring, on pictures of a realistic size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headgate.export.options import ExportOptions
from headgate.export.pipeline import export_family
from headgate.profiles.family import Family, open_family
from headgate.train.recipe import PruneConfig
from headgate.train.run.progress import TrainingProgress
from headgate.train.run.prune import train_prune


@dataclass(frozen=True, slots=True)
class TrainRatesOptions:
    """What to train; the run and the family go to `folder` and are not made twice."""

    data: str
    folder: Path
    model: str = "resnet18"
    # Cut one stage later the early exit does the work alone, and there is nothing left to send for.
    split: str = "stages.1.1"
    resolution_factor: int = 2
    budgets: tuple[int, ...] = (64, 16, 6)
    epochs: int = 60
    base_epochs: int = 8
    member_epochs: int = 8
    picture_epochs: int = 6  # an honest rival: its network has seen such pictures
    distill: float = 0.5
    rate_weight: float = 0.0
    width: float = 0.5
    input_px: int | None = None
    pictures: int | None = None
    precision: str = "auto"
    seed: int = 0

    def recipe(self) -> PruneConfig:
        """Return the training run."""
        return PruneConfig(
            data=self.data,
            model=self.model,
            width=self.width,
            split=self.split,
            resolution_factor=self.resolution_factor,
            budgets=self.budgets,
            epochs=self.epochs,
            base_epochs=self.base_epochs,
            member_epochs=self.member_epochs,
            picture_epochs=self.picture_epochs,
            distill=self.distill,
            rate_weight=self.rate_weight,
            input_px=self.input_px,
            limit=self.pictures,
            precision=self.precision,
            seed=self.seed,
        )


def train_rates(
    options: TrainRatesOptions, *, progress: TrainingProgress, say: Callable[[str], None]
) -> Family:
    """Train what is not there yet, export it, and return the family in `folder`/family."""
    run, family = options.folder / "run", options.folder / "family"
    options.folder.mkdir(parents=True, exist_ok=True)
    train_prune(options.recipe(), run, resume=True, progress=progress)
    say("exporting and measuring every operating point")
    export_family(run, family, ExportOptions(force=True), say)
    return open_family(family)
