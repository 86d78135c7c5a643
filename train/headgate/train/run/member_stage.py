"""The stages that train the members of the family, with and without a plain network before them."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from headgate.train.folder.checkpoints import Checkpoint
from headgate.train.folder.weights import without_shared
from headgate.train.learning.feature_cache import FeatureCache
from headgate.train.learning.loop import Objective
from headgate.train.learning.losses import LossWeights
from headgate.train.learning.material import Pictures
from headgate.train.learning.objectives import Evaluation, MemberObjective, evaluate_member
from headgate.train.learning.progressive_objective import progressive_objective
from headgate.train.networks.backbones import PlainModel
from headgate.train.networks.progressive_model import ProgressiveModel
from headgate.train.networks.split_model import SplitModel
from headgate.train.recipe import PruneConfig
from headgate.train.run.member_measure import measured_member
from headgate.train.run.setting import Setting
from headgate.train.run.shared_head import SharedHead
from headgate.train.run.stage_models import plain_weights, starting_member, trained_network
from headgate.train.run.stage_work import StageWork, Teaching, WeightsFile
from headgate.train.stages import Stage


class MemberStage(StageWork):
    """A stage of any kind that trains a member."""

    def __init__(
        self,
        stage: Stage,
        setting: Setting,
        *,
        selected: tuple[int, ...] | None,
        shared_head: SharedHead,
    ) -> None:
        """Build the member; `selected` are its maps if the stage goes on after they were frozen."""
        self._member: SplitModel = starting_member(stage, setting)
        if selected is not None:
            self._member.freeze_selection(selected)
        self._shared_head = shared_head
        self._cache: FeatureCache | None = None
        super().__init__(stage, setting, self._member)

    @property
    def selected(self) -> tuple[int, ...] | None:
        return self._member.selected

    @property
    def shares_backbone(self) -> bool:
        return self._member.head_is_frozen

    def prepare(self) -> Teaching:
        """Return pictures and all losses; or what a frozen head makes of them, if that pays."""
        plan = self._setting.plan
        if self._member.head_is_frozen:
            self._cache = self._shared_head.outputs(self._setting)
        material = self._cache or Pictures(plan.data, plan.augmentation)
        return Teaching(material, self._objective())

    def end_epoch(self) -> Evaluation:
        """Freeze the selection after the first epoch, and measure the member."""
        if self._member.selected is None:
            self._member.freeze_selection()
        return self.evaluate()

    def evaluate(self) -> Evaluation:
        """Measure the member without quantising."""
        fabric, data = self._setting.fabric, self._setting.plan.data
        (found,) = evaluate_member(fabric, self._member, data, levels=(None,), cache=self._cache)
        return found

    def own_weights(self) -> dict[str, Tensor]:
        """Return the weights; of a member with a frozen head those that the plain one has not."""
        weights = self._member.state_dict()
        if not self.shares_backbone:
            return weights
        return without_shared(weights, plain_weights(self._setting))

    def entered(self, state: Checkpoint, weights: WeightsFile) -> Checkpoint:
        """Return the state with the member; the same if it is only a step on the way."""
        if not self.stage.kept:
            return state
        member = measured_member(
            self._setting, self.stage, self._member, weights=weights, cache=self._cache
        )
        return replace(state, members=(*state.members, member))

    def _objective(self) -> Objective:
        config = self._setting.plan.config
        weights, teacher = _loss_weights(config), self._teacher()
        if isinstance(self._member, ProgressiveModel):
            assert config.progressive is not None
            return progressive_objective(
                self._member,
                config.progressive,
                weights=weights,
                levels=config.levels,
                teacher=teacher,
            )
        return MemberObjective(self._member, weights, levels=config.levels, teacher=teacher)

    def _teacher(self) -> PlainModel | None:
        """Return the plain network, unless nothing is learnt from it or its answers are cached."""
        setting = self._setting
        if setting.plan.config.distill_share == 0 or self._cache is not None:
            return None
        teacher = trained_network(setting).to(setting.fabric.device).eval()
        teacher.requires_grad_(False)
        return teacher


def _loss_weights(config: PruneConfig) -> LossWeights:
    return LossWeights(
        prune=config.epsilon,
        delta=config.delta,
        symmetry=config.lambda_,
        rate=config.rate_weight,
        distill=config.distill_share,
        hint=config.hint_weight,
    )
