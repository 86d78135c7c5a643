"""Trains a slim head by distillation, so that it can stand in for the trained one in all members.

It learns three things from the plain network, which stays as it is: the features at the split (mean
squared error, in units of each map's variance), the answers that the frozen tail makes of them, and
the labels.

Shapes: B batch, C colours, P maps of H x W at the split, K classes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from headgate.train.learning.loop import StepResult
from headgate.train.learning.losses import Losses, distill_loss, hint_loss
from headgate.train.learning.material import Lesson, Pictures
from headgate.train.learning.objectives import Evaluation, evaluate_backbone, share_right
from headgate.train.networks.backbones import Normalise
from headgate.train.networks.layout import lay_channels_last
from headgate.train.networks.slim_head import SlimHead
from headgate.train.networks.split_model import can_be_negative
from headgate.train.networks.splits import find_and_cut
from headgate.train.run.setting import Setting
from headgate.train.run.side_stage import SideStage
from headgate.train.run.stage_models import trained_network
from headgate.train.run.stage_work import Teaching
from headgate.train.stages import Stage

TEMPERATURE = 1.0  # as of the members' teacher, and for the same reason


class SlimNetwork(nn.Module):
    """What the stage trains: pictures in 0..1 to features; its names are a member's own."""

    def __init__(self, normalise: Normalise, head: SlimHead) -> None:
        super().__init__()
        self.normalise = normalise
        self.head = head

    def forward(self, x_BCHW: Tensor) -> Tensor:
        features_BPHW: Tensor = self.head(self.normalise(x_BCHW))
        return features_BPHW


@dataclass(frozen=True, slots=True)
class SlimObjective:
    """Imitate the features, the answers by `distill` of the task, and learn the labels."""

    teacher: nn.Module  # pictures to features, as trained
    tail: nn.Module  # features to logits, as trained
    distill: float
    autocast: Callable[[], AbstractContextManager[None]]

    def __call__(self, model: nn.Module, lesson: Lesson, choices: random.Random) -> StepResult:
        features_BPHW = model(lesson.x_BCHW)
        with self.autocast():
            logits_BK = self.tail(features_BPHW).float()
            with torch.no_grad():
                wanted_BPHW = self.teacher(lesson.x_BCHW)
                taught_BK = self.tail(wanted_BPHW).float()
        task = functional.cross_entropy(logits_BK, lesson.labels_B)
        distill = distill_loss(logits_BK, taught_BK, temperature=TEMPERATURE)
        hint = hint_loss(features_BPHW.float(), wanted_BPHW.float())
        total = (1 - self.distill) * task + self.distill * distill + hint
        nothing = torch.zeros_like(task)
        losses = Losses(total, task, nothing, nothing, nothing, distill)
        return StepResult(losses, share_right(logits_BK, lesson.labels_B))


class SlimStage(SideStage):
    """The stage `slim`."""

    def __init__(self, stage: Stage, setting: Setting) -> None:
        """Cut the plain network, and begin with the first channels of its head."""
        plan, device = setting.plan, setting.fabric.device
        plain = trained_network(setting)
        blueprint = plan.blueprint
        example_BCHW = blueprint.example()
        whole, whole_head, tail = find_and_cut(plain.network, blueprint.split, example_BCHW)
        signed = can_be_negative(whole_head, example_BCHW)
        slim, slim_macs = blueprint.build_slim_head(whole, signed=signed)
        slim.start_from(whole_head)
        super().__init__(stage, setting, SlimNetwork(blueprint.build_normalise(), slim).to(device))
        self._macs = (slim_macs, whole.head_macs)
        # The halves too: a buffer that the network's own code reads is one of their own.
        for part in (plain, whole_head, tail):
            part.to(device)
            lay_channels_last(part)
        self._plain = plain.eval()
        self._plain.requires_grad_(False)
        self._tail = tail.eval()
        self._objective = SlimObjective(
            teacher=nn.Sequential(plain.normalise, whole_head).eval(),
            tail=self._tail,
            distill=plan.config.distill_share,
            autocast=setting.fabric.autocast,
        )

    @property
    def macs(self) -> tuple[int, int]:
        return self._macs

    def prepare(self) -> Teaching:
        """Return pictures, and what the plain network says of them to be learnt."""
        plan = self._setting.plan
        return Teaching(Pictures(plan.data, plan.augmentation), self._objective)

    def evaluate(self) -> Evaluation:
        """Measure the slim head with the plain network's tail behind it."""
        whole = nn.Sequential(self.model, self._tail)
        return evaluate_backbone(self._setting.fabric, whole, self._setting.plan.data)

    def evaluate_plain(self) -> Evaluation:
        """Measure the plain network."""
        return evaluate_backbone(self._setting.fabric, self._plain, self._setting.plan.data)
