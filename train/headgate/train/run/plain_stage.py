"""The stage that trains the plain network, or takes the weights that a user brings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from headgate.train.folder.checkpoints import Checkpoint
from headgate.train.folder.run_record import BackboneEntry
from headgate.train.learning.material import Pictures
from headgate.train.learning.objectives import BackboneObjective, Evaluation, evaluate_backbone
from headgate.train.run.given_backbone import load_backbone, taken_note
from headgate.train.run.setting import Setting
from headgate.train.run.stage_work import StageWork, Teaching, WeightsFile
from headgate.train.stages import Stage


class PlainStage(StageWork):
    """The stage `backbone`; of no epochs where brought weights are taken as they are."""

    def __init__(self, stage: Stage, setting: Setting) -> None:
        plan = setting.plan
        plain = plan.blueprint.build_backbone()
        if plan.config.backbone is not None:
            load_backbone(plain, Path(plan.config.backbone))
        super().__init__(stage, setting, plain.to(setting.fabric.device))

    def prepare(self) -> Teaching:
        """Return pictures and cross entropy."""
        plan = self._setting.plan
        return Teaching(Pictures(plan.data, plan.augmentation), BackboneObjective())

    def evaluate(self) -> Evaluation:
        """Measure the plain network."""
        return evaluate_backbone(self._setting.fabric, self.model, self._setting.plan.data)

    def entered(self, state: Checkpoint, weights: WeightsFile) -> Checkpoint:
        """Return the state with the plain network; say how good it is, if it was brought."""
        accuracy, epochs = self.evaluate().accuracy, self.stage.epochs
        if not epochs:
            self._setting.noted(taken_note(self._setting.plan.config, accuracy=accuracy))
        entry = BackboneEntry(weights.file, weights.sha256, accuracy=accuracy, epochs=epochs)
        return replace(state, backbone=entry)
