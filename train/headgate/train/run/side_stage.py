"""What a stage must offer that trains neither the plain network nor a member of the family."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lightning_fabric import Fabric
from torch import nn

from headgate.train.folder.run_record import FinishedStage
from headgate.train.learning.loop import Objective
from headgate.train.learning.material import Material
from headgate.train.learning.objectives import Evaluation
from headgate.train.run.plan import Plan


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a side stage takes place: the run's plan and folder, and the stages that are done."""

    fabric: Fabric
    plan: Plan  # with its data on the fabric's device
    folder: Path
    finished: dict[str, FinishedStage]  # by id


class SideStage(Protocol):
    """A stage beside the members': what it trains, on what, for what, and how good it is."""

    @property
    def model(self) -> nn.Module:
        """Return the network that is trained, with the weights that it begins with."""
        ...

    @property
    def material(self) -> Material:
        """Return what its epochs are dealt from."""
        ...

    @property
    def num_pictures(self) -> int:
        """Return how many training pictures an epoch has."""
        ...

    @property
    def objective(self) -> Objective:
        """Return what its steps minimise."""
        ...

    @property
    def macs(self) -> tuple[int, int]:
        """Return the multiply-adds of a head that it makes, and of the whole one; else zeros."""
        ...

    def evaluate(self) -> Evaluation:
        """Measure the network as it is now, on validation pictures."""
        ...

    def evaluate_plain(self) -> Evaluation:
        """Measure the plain network on the same pictures, to compare with."""
        ...
