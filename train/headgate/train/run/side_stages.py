"""Which side stage belongs to a stage of a run's recipe."""

import torch

from headgate.train.run.picture_stage import PictureStage
from headgate.train.run.side_stage import Setting, SideStage
from headgate.train.run.slim_stage import SlimStage
from headgate.train.seeds import derive_seed
from headgate.train.stages import Stage, StageKind


def open_side_stage(stage: Stage, setting: Setting) -> SideStage | None:
    """Return what trains the stage, or None for the plain network and for members.

    What it begins with is drawn from the run's seed, whatever was drawn before: a run that is
    resumed just here has drawn nothing.
    """
    torch.manual_seed(derive_seed(setting.plan.config.seed, "fresh weights", stage.id))
    if stage.kind is StageKind.PICTURES:
        return PictureStage(setting)
    if stage.kind is StageKind.SLIM:
        return SlimStage(setting)
    return None
