"""What the stages beside the members have in common: a second network, held against the plain."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

from headgate.train.folder.checkpoints import Checkpoint
from headgate.train.folder.run_record import SideEntry
from headgate.train.learning.objectives import Evaluation
from headgate.train.run.stage_work import StageWork, WeightsFile


class SideStage(StageWork):
    """A stage that trains neither the plain network nor a member of the family."""

    @property
    def macs(self) -> tuple[int, int]:
        """Return the multiply-adds of a head that it makes, and of the whole one; else zeros."""
        return (0, 0)

    @abstractmethod
    def evaluate_plain(self) -> Evaluation:
        """Measure the plain network on the same pictures, to compare with."""

    def entered(self, state: Checkpoint, weights: WeightsFile) -> Checkpoint:
        """Return the state with the network's accuracy beside the plain one's."""
        head_macs, whole_head_macs = self.macs
        side = SideEntry(
            weights.file,
            weights.sha256,
            accuracy=self.evaluate().accuracy,
            plain_accuracy=self.evaluate_plain().accuracy,
            epochs=self.stage.epochs,
            head_macs=head_macs,
            whole_head_macs=whole_head_macs,
        )
        return replace(state, sides=state.sides | {self.stage.id: side})
