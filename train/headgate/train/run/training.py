"""Trains the stages of a run one after the other, and can begin in the middle of any of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from headgate.profiles.storage import sha256_file
from headgate.train.folder.checkpoints import (
    Checkpoint,
    Position,
    pack,
    read_tensors,
    unpack,
    write_checkpoint,
    write_tensors,
)
from headgate.train.folder.epoch_log import EPOCH_SCHEMA, EpochRecord, append_epoch
from headgate.train.folder.run_folder import read_weights
from headgate.train.folder.run_record import (
    BackboneEntry,
    FinishedStage,
    SideEntry,
)
from headgate.train.folder.weights import without_shared
from headgate.train.folder.work_folder import CHECKPOINT, WEIGHTS
from headgate.train.learning.feature_cache import FeatureCache
from headgate.train.learning.loop import (
    NO_SUMS,
    EpochPlan,
    Objective,
    Place,
    ReadSums,
    check_finite,
    epoch_means,
    share_buffers,
    steps_per_epoch,
    train_epoch,
)
from headgate.train.learning.material import Material, Pictures
from headgate.train.learning.objectives import Evaluation, evaluate_backbone, evaluate_member
from headgate.train.networks.split_model import SplitModel
from headgate.train.run.given_backbone import taken_note
from headgate.train.run.member_measure import WeightsFile, measured_member
from headgate.train.run.plan import Plan
from headgate.train.run.progress import TrainingProgress
from headgate.train.run.shared_head import augmentation_of, cached_features
from headgate.train.run.side_stage import Setting, SideStage
from headgate.train.run.side_stages import open_side_stage
from headgate.train.run.stage_models import make_optimizer, stage_objective, starting_model
from headgate.train.stages import Stage, learning_rate


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a stage trains: the bare network, and the optimizer that holds its momentum."""

    stage: Stage
    model: nn.Module
    optimizer: Optimizer


class Training:
    """A run under way. `state` is the checkpoint it would write at this moment."""

    def __init__(
        self,
        fabric: Fabric,
        plan: Plan,
        *,
        folder: Path,
        state: Checkpoint,
        progress: TrainingProgress,
    ) -> None:
        self._fabric = fabric
        self._plan = replace(plan, data=plan.data.to(fabric.device))
        self._folder = folder
        self._progress = progress
        self._side: SideStage | None = None  # of the stage under way
        self._cache: FeatureCache | None = None
        self.state = state

    def run(self) -> None:
        """Train what is left."""
        while self.state.position.stage < len(self._plan.stages):
            self._train_stage(self._plan.stages[self.state.position.stage])

    def _train_stage(self, stage: Stage) -> None:
        begin = self.state.position
        before = {done.stage: done for done in self.state.finished}
        self._side = open_side_stage(stage, Setting(self._fabric, self._plan, self._folder, before))
        model = self._model(stage, before)
        subject = _Subject(stage, model, make_optimizer(model, self._plan.config))
        wrapped, wrapped_optimizer = self._fabric.setup(model, subject.optimizer)
        if self.state.tensors is not None:
            stored = read_tensors(self._folder / CHECKPOINT, self.state)
            unpack(stored, model, subject.optimizer)
        self._progress.stage_started(
            stage,
            num_steps=stage.epochs * self._steps,
            steps_done=begin.epoch * self._steps + begin.step,
        )
        material = self._material(model)
        objective = self._objective(stage, model, material, before)
        for _ in range(begin.epoch, stage.epochs):
            plan = self._epoch_plan(stage)
            began_s = time.monotonic()
            sums = train_epoch(
                self._fabric,
                wrapped,
                wrapped_optimizer,
                objective=objective,
                material=material,
                plan=plan,
                sums=self.state.sums,
                after_step=self._after_step(subject, plan),
            )
            share_buffers(self._fabric, model)
            self._end_epoch(subject, plan, sums, train_s=time.monotonic() - began_s)
        self._end_stage(stage, model)

    def _model(self, stage: Stage, before: dict[str, FinishedStage]) -> nn.Module:
        """Return what the stage trains, as it begins; `before` are the finished stages by id."""
        if self._side is not None:
            model = self._side.model
        else:
            model = starting_model(
                stage, self._plan, folder=self._folder, finished=before, device=self._fabric.device
            )
        if isinstance(model, SplitModel) and self.state.selected is not None:
            model.freeze_selection(self.state.selected)
        # As pictures are, see `as_floats`; torch's stubs do not know the argument.
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model

    def _objective(
        self,
        stage: Stage,
        model: nn.Module,
        material: Material,
        before: dict[str, FinishedStage],
    ) -> Objective:
        if self._side is not None:
            return self._side.objective
        return stage_objective(
            stage,
            model,
            self._plan,
            folder=self._folder,
            finished=before,
            has_answers=isinstance(material, FeatureCache),
        )

    def _epoch_plan(self, stage: Stage) -> EpochPlan:
        config = self._plan.config
        position = self.state.position
        steps_before = position.epoch * self._steps

        def rate(step: int) -> float:
            return learning_rate(
                stage,
                step=steps_before + step,
                steps_per_epoch=self._steps,
                schedule=config.schedule,
            )

        return EpochPlan(
            place=Place(seed=config.seed, stage=stage.id, epoch=position.epoch),
            batch_size=min(config.batch_size, self._num_pictures),
            steps=self._steps,
            first_step=position.step,
            rate=rate,
        )

    @property
    def _num_pictures(self) -> int:
        """How many training pictures an epoch of the stage under way has."""
        side = self._side
        return side.num_pictures if side else len(self._plan.data.train_labels_N)

    @property
    def _steps(self) -> int:
        return steps_per_epoch(
            self._fabric, self._num_pictures, batch_size=self._plan.config.batch_size
        )

    def _material(self, model: nn.Module) -> Material:
        """Return what a stage is dealt: pictures, unless a frozen head makes a cache pay."""
        if self._side is not None:
            return self._side.material
        if isinstance(model, SplitModel) and model.head_is_frozen:
            if self._cache is None:
                self._cache = cached_features(
                    self._fabric,
                    self._plan,
                    folder=self._folder,
                    finished={done.stage: done for done in self.state.finished},
                )
            if self._cache is not None:
                return self._cache
        return Pictures(self._plan.data, augmentation_of(self._plan))

    def _after_step(self, subject: _Subject, plan: EpochPlan) -> Callable[[int, ReadSums], None]:
        every = self._plan.config.checkpoint_steps

        def after_step(steps_done: int, read_sums: ReadSums) -> None:
            self._progress.steps_done(1)
            if every is None or steps_done % every or steps_done == plan.steps:
                return
            sums = read_sums()
            check_finite(sums, place=plan.place)
            position = replace(self.state.position, step=steps_done)
            self._checkpoint(replace(self.state, position=position, sums=sums), subject)

        return after_step

    def _end_epoch(
        self, subject: _Subject, plan: EpochPlan, sums: tuple[float, ...], *, train_s: float
    ) -> None:
        """Freeze the selection if it is time, measure, log, and write a checkpoint."""
        stage, model = subject.stage, subject.model
        check_finite(sums, place=plan.place)
        selected = None
        if isinstance(model, SplitModel):
            if model.selected is None:
                model.freeze_selection()
            selected = model.selected
        began_s = time.monotonic()
        found = self._evaluate(model)
        means = epoch_means(sums, plan=plan, num_processes=self._fabric.world_size)
        record = EpochRecord(
            schema=EPOCH_SCHEMA,
            stage=stage.id,
            kind=stage.kind.value,
            epoch=plan.place.epoch + 1,
            num_epochs=stage.epochs,
            learning_rate=plan.rate(plan.steps - 1),
            loss=means.loss,
            task_loss=means.task,
            exit_loss=means.exit,
            prune_loss=means.prune,
            distill_loss=means.distill,
            rate_bits=means.rate_bits,
            train_accuracy=means.accuracy,
            accuracy=found.accuracy,
            exit_accuracy=found.exit_accuracy,
            num_steps=plan.steps,
            num_pictures=plan.steps * plan.batch_size,
            train_s=round(train_s, 3),
            evaluate_s=round(time.monotonic() - began_s, 3),
        )
        if self._fabric.is_global_zero:
            append_epoch(self._folder, record)
        state = replace(
            self.state,
            position=replace(self.state.position, epoch=plan.place.epoch + 1, step=0),
            num_epoch_lines=self.state.num_epoch_lines + 1,
            sums=NO_SUMS,
            selected=selected,
        )
        self._checkpoint(state, subject)
        self._progress.epoch_done(record)

    def _end_stage(self, stage: Stage, model: nn.Module) -> None:
        """Write the stage's weights, measure what it made, and step to the next stage."""
        file = f"{WEIGHTS}/{stage.id}.safetensors"
        path = self._folder / file
        shares = isinstance(model, SplitModel) and model.head_is_frozen
        if self._fabric.is_global_zero:
            path.parent.mkdir(exist_ok=True)
            write_tensors(path, self._own_weights(model) if shares else model.state_dict())
        self._fabric.barrier()
        digest = sha256_file(path)
        state = self._with_entry(stage, model, WeightsFile(file, digest, shares_backbone=shares))
        done = FinishedStage(
            stage.id,
            file,
            stage.budget,
            selected=state.selected,
            sha256=digest,
            shares_backbone=shares,
        )
        state = replace(
            state,
            position=Position(stage=state.position.stage + 1),
            selected=None,
            finished=(*state.finished, done),
        )
        self._checkpoint(state, None)

    def _with_entry(self, stage: Stage, model: nn.Module, weights: WeightsFile) -> Checkpoint:
        """Return the state with what a stage made, measured: its entry in run.json."""
        state, file, digest = self.state, weights.file, weights.sha256
        if isinstance(model, SplitModel):
            assert model.selected is not None
            if not stage.kept:
                return state
            member = measured_member(
                self._fabric, self._plan, stage, model, file=weights, cache=self._cache
            )
            return replace(state, members=(*state.members, member))
        if self._side is not None:
            head_macs, whole_head_macs = self._side.macs
            side = SideEntry(
                file,
                digest,
                accuracy=self._side.evaluate().accuracy,
                plain_accuracy=self._side.evaluate_plain().accuracy,
                epochs=stage.epochs,
                head_macs=head_macs,
                whole_head_macs=whole_head_macs,
            )
            return replace(state, sides=state.sides | {stage.id: side})
        accuracy = self._evaluate(model).accuracy
        if not stage.epochs:
            self._progress.noted(taken_note(self._plan.config, accuracy=accuracy))
        entry = BackboneEntry(file, digest, accuracy=accuracy, epochs=stage.epochs)
        return replace(state, backbone=entry)

    def _own_weights(self, model: nn.Module) -> dict[str, Tensor]:
        backbone = self.state.finished[0]
        shared = read_weights(self._folder / backbone.file, sha256=backbone.sha256)
        return without_shared(model.state_dict(), shared)

    def _evaluate(self, model: nn.Module) -> Evaluation:
        if self._side is not None:
            return self._side.evaluate()
        if isinstance(model, SplitModel):
            return evaluate_member(
                self._fabric, model, self._plan.data, levels=(None,), cache=self._cache
            )[0]
        return evaluate_backbone(self._fabric, model, self._plan.data)

    def _checkpoint(self, state: Checkpoint, subject: _Subject | None) -> None:
        """Make `state` the current one, on disk and here; `subject` is None between stages."""
        tensors = pack(subject.model, subject.optimizer) if subject else {}
        if self._fabric.is_global_zero:
            write_checkpoint(self._folder / CHECKPOINT, state, tensors=tensors)
        self.state = replace(state, tensors=None, sha256=None)
        self._fabric.barrier()
