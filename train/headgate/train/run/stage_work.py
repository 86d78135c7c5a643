"""What a stage is to the loop that trains it: a network, what it learns from, and what it makes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from headgate.train.folder.checkpoints import Checkpoint
from headgate.train.learning.loop import Objective
from headgate.train.learning.material import Material
from headgate.train.learning.objectives import Evaluation
from headgate.train.networks.layout import lay_channels_last
from headgate.train.run.setting import Setting
from headgate.train.stages import Stage


@dataclass(frozen=True, slots=True)
class Teaching:
    """What a stage learns from, and what its steps minimise."""

    material: Material
    objective: Objective


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """Where a stage's weights lie, relative to the run's folder."""

    file: str
    sha256: str
    shares_backbone: bool


class StageWork(ABC):
    """A stage under way. One that selects no maps and shares no weights keeps what is said here."""

    def __init__(self, stage: Stage, setting: Setting, model: nn.Module) -> None:
        """`model` has the weights that the stage begins with, and lies on the training device."""
        self.stage = stage
        self.model = model
        self._setting = setting
        lay_channels_last(model)

    @property
    def num_pictures(self) -> int:
        """Return how many training pictures an epoch has."""
        return len(self._setting.plan.data.train_labels_N)

    @property
    def selected(self) -> tuple[int, ...] | None:
        """Return the maps that cross, once no epoch changes them any more."""
        return None

    @property
    def shares_backbone(self) -> bool:
        """Say whether weights are left out of the stage's file, as the plain network has them."""
        return False

    @abstractmethod
    def prepare(self) -> Teaching:
        """Make what the steps need beside the model; that may take long."""

    def end_epoch(self) -> Evaluation:
        """Settle what the epoch has decided; then measure the network."""
        return self.evaluate()

    @abstractmethod
    def evaluate(self) -> Evaluation:
        """Measure the network as it is now, on validation pictures."""

    def own_weights(self) -> dict[str, Tensor]:
        """Return what the stage's file is to hold."""
        return self.model.state_dict()

    @abstractmethod
    def entered(self, state: Checkpoint, weights: WeightsFile) -> Checkpoint:
        """Return the state with what the stage made, measured: its entry in run.json."""
