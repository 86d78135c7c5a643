"""Trains the stages of a run one after the other, and can begin in the middle of any of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from lightning_fabric import Fabric
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
from headgate.train.folder.run_record import FinishedStage
from headgate.train.folder.work_folder import CHECKPOINT, WEIGHTS
from headgate.train.learning.loop import (
    NO_SUMS,
    EpochPlan,
    Place,
    ReadSums,
    check_finite,
    epoch_means,
    share_buffers,
    steps_per_epoch,
    train_epoch,
)
from headgate.train.learning.optimizers import make_sgd
from headgate.train.run.plan import Plan
from headgate.train.run.progress import TrainingProgress
from headgate.train.run.setting import Setting
from headgate.train.run.shared_head import SharedHead
from headgate.train.run.stage_kinds import open_stage
from headgate.train.run.stage_work import StageWork, WeightsFile
from headgate.train.stages import Stage, learning_rate


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """The stage under way, the optimizer that holds its momentum, and the steps of an epoch."""

    work: StageWork
    optimizer: Optimizer
    steps: int


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
        self._shared_head = SharedHead()
        self.state = state

    def run(self) -> None:
        """Train what is left."""
        while self.state.position.stage < len(self._plan.stages):
            self._train_stage(self._plan.stages[self.state.position.stage])

    def _train_stage(self, stage: Stage) -> None:
        begin = self.state.position
        under_way = self._open(stage)
        model, steps = under_way.work.model, under_way.steps
        wrapped, wrapped_optimizer = self._fabric.setup(model, under_way.optimizer)
        if self.state.tensors is not None:
            unpack(read_tensors(self._folder / CHECKPOINT, self.state), model, under_way.optimizer)
        self._progress.stage_started(
            stage, num_steps=stage.epochs * steps, steps_done=begin.epoch * steps + begin.step
        )
        teaching = under_way.work.prepare()
        for _ in range(begin.epoch, stage.epochs):
            plan = self._epoch_plan(under_way)
            began_s = time.monotonic()
            sums = train_epoch(
                self._fabric,
                wrapped,
                wrapped_optimizer,
                objective=teaching.objective,
                material=teaching.material,
                plan=plan,
                sums=self.state.sums,
                after_step=self._after_step(under_way, plan),
            )
            share_buffers(self._fabric, model)
            self._end_epoch(under_way, plan, sums, train_s=time.monotonic() - began_s)
        self._end_stage(under_way.work)

    def _open(self, stage: Stage) -> _UnderWay:
        setting = Setting(
            self._fabric,
            self._plan,
            self._folder,
            finished={done.stage: done for done in self.state.finished},
            noted=self._progress.noted,
        )
        work = open_stage(
            stage, setting, selected=self.state.selected, shared_head=self._shared_head
        )
        config = self._plan.config
        return _UnderWay(
            work,
            make_sgd(work.model.parameters(), config),
            steps_per_epoch(self._fabric, work.num_pictures, batch_size=config.batch_size),
        )

    def _epoch_plan(self, under_way: _UnderWay) -> EpochPlan:
        config, stage = self._plan.config, under_way.work.stage
        position = self.state.position
        steps_before = position.epoch * under_way.steps

        def rate(step: int) -> float:
            return learning_rate(
                stage,
                step=steps_before + step,
                steps_per_epoch=under_way.steps,
                schedule=config.schedule,
            )

        return EpochPlan(
            place=Place(seed=config.seed, stage=stage.id, epoch=position.epoch),
            batch_size=min(config.batch_size, under_way.work.num_pictures),
            steps=under_way.steps,
            first_step=position.step,
            rate=rate,
        )

    def _after_step(self, under_way: _UnderWay, plan: EpochPlan) -> Callable[[int, ReadSums], None]:
        every = self._plan.config.checkpoint_steps

        def after_step(steps_done: int, read_sums: ReadSums) -> None:
            self._progress.steps_done(1)
            if every is None or steps_done % every or steps_done == plan.steps:
                return
            sums = read_sums()
            check_finite(sums, place=plan.place)
            state = replace(
                self.state,
                position=replace(self.state.position, step=steps_done),
                sums=sums,
                selected=under_way.work.selected,
            )
            self._checkpoint(state, under_way)

        return after_step

    def _end_epoch(
        self, under_way: _UnderWay, plan: EpochPlan, sums: tuple[float, ...], *, train_s: float
    ) -> None:
        """Measure, log, and write a checkpoint."""
        work, stage = under_way.work, under_way.work.stage
        check_finite(sums, place=plan.place)
        began_s = time.monotonic()
        found = work.end_epoch()
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
            selected=work.selected,
        )
        self._checkpoint(state, under_way)
        self._progress.epoch_done(record)

    def _end_stage(self, work: StageWork) -> None:
        """Write the stage's weights, measure what it made, and step to the next stage."""
        stage, shares = work.stage, work.shares_backbone
        file = f"{WEIGHTS}/{stage.id}.safetensors"
        path = self._folder / file
        if self._fabric.is_global_zero:
            path.parent.mkdir(exist_ok=True)
            write_tensors(path, work.own_weights())
        self._fabric.barrier()
        digest = sha256_file(path)
        state = work.entered(self.state, WeightsFile(file, digest, shares_backbone=shares))
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

    def _checkpoint(self, state: Checkpoint, under_way: _UnderWay | None) -> None:
        """Make `state` the current one, on disk and here; `under_way` is None between stages."""
        tensors = pack(under_way.work.model, under_way.optimizer) if under_way else {}
        if self._fabric.is_global_zero:
            write_checkpoint(self._folder / CHECKPOINT, state, tensors=tensors)
        self.state = replace(state, tensors=None, sha256=None)
        self._fabric.barrier()
