"""Which work belongs to a stage of a run's recipe."""

import torch

from headgate.train.run.member_stage import MemberStage
from headgate.train.run.picture_stage import PictureStage
from headgate.train.run.plain_stage import PlainStage
from headgate.train.run.setting import Setting
from headgate.train.run.shared_head import SharedHead
from headgate.train.run.slim_stage import SlimStage
from headgate.train.run.stage_work import StageWork
from headgate.train.seeds import derive_seed
from headgate.train.stages import Stage, StageKind


def open_stage(
    stage: Stage,
    setting: Setting,
    *,
    selected: tuple[int, ...] | None,
    shared_head: SharedHead,
) -> StageWork:
    """Return the work of a stage as it begins, the same on every process.

    What it begins with is drawn from the run's seed, whatever was drawn before: a run that is
    resumed just here has drawn nothing. `selected` and `shared_head` are for members.
    """
    torch.manual_seed(derive_seed(setting.plan.config.seed, "fresh weights", stage.id))
    if stage.kind is StageKind.BACKBONE:
        return PlainStage(stage, setting)
    if stage.kind is StageKind.SLIM:
        return SlimStage(stage, setting)
    if stage.kind is StageKind.PICTURES:
        return PictureStage(stage, setting)
    return MemberStage(stage, setting, selected=selected, shared_head=shared_head)
