"""Which side stage belongs to a stage of a run's recipe."""

from headgate.train.run.picture_stage import PictureStage
from headgate.train.run.side_stage import Setting, SideStage
from headgate.train.run.slim_stage import SlimStage
from headgate.train.stages import Stage, StageKind


def open_side_stage(stage: Stage, setting: Setting) -> SideStage | None:
    """Return what trains the stage, or None for the plain network and for members."""
    if stage.kind is StageKind.PICTURES:
        return PictureStage(setting)
    if stage.kind is StageKind.SLIM:
        return SlimStage(setting)
    return None
