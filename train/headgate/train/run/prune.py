"""Trains a family of members by the prune method (Algorithm 3), stage by stage, resumably.

The plain network is trained first, then the member with B = phi around it, then each
smaller member from the one before; `recipe` lays the stages out. A checkpoint is written at the end
of every epoch and of every stage. A run that goes on from one reaches the same weights, bit for
bit, as one that was never stopped (in one process, on a CPU, with equally many threads).
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from lightning_fabric import Fabric

from headgate.profiles.errors import UsageError
from headgate.train.folder.checkpoints import (
    CHECKPOINT_SCHEMA,
    Checkpoint,
    Position,
    read_checkpoint,
)
from headgate.train.folder.epoch_log import keep_epochs
from headgate.train.folder.run_folder import Run, load_run, partial_folder
from headgate.train.folder.run_record import COMPLETE
from headgate.train.folder.work_folder import (
    CHECKPOINT,
    check_output,
    publish,
    replacement_rule,
    work_folder,
    write_record,
)
from headgate.train.learning.loop import NO_SUMS, check_batch_size
from headgate.train.processes import start_fabric
from headgate.train.recipe import PruneConfig
from headgate.train.run.plan import Plan, check_same_run, make_plan
from headgate.train.run.progress import Silent, TrainingProgress
from headgate.train.run.recipe_checks import check_config
from headgate.train.run.training import Training


def train_prune(
    config: PruneConfig,
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    progress: TrainingProgress | None = None,
) -> Run:
    """Train a family into the folder `out` and return it; every process of torchrun calls this.

    An existing run is neither replaced nor continued unless `force` or `resume` says so. All
    processes must see the same file system. Seeds torch's generator.
    """
    check_config(config)
    out = Path(os.path.realpath(out))
    record = check_output(out, config, resume=resume, force=force)
    if record is not None and record.status == COMPLETE:
        return load_run(out)
    may_replace = replacement_rule(out, resume=resume, force=force)
    fabric = start_fabric(config)
    check_batch_size(config.batch_size, num_processes=fabric.world_size)
    fabric.barrier()  # all have looked at `out` before the first changes it
    threads_before = torch.get_num_threads()
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    shown = progress if progress is not None and fabric.is_global_zero else Silent()
    try:
        plan = make_plan(config)
        if record is not None:
            check_same_run(plan, record, where=out)
        shown.noted(plan.data_note())
        _train(fabric, plan, out, fresh=record is None, may_replace=may_replace, progress=shown)
    finally:
        shown.run_ended()
        torch.set_num_threads(threads_before)
    fabric.barrier()
    return load_run(out)


def _train(
    fabric: Fabric,
    plan: Plan,
    out: Path,
    *,
    fresh: bool,
    may_replace: Callable[[Path], None],
    progress: TrainingProgress,
) -> None:
    with ExitStack() as held:
        if fabric.is_global_zero:
            held.enter_context(work_folder(out, fresh=fresh))
            if fresh:
                write_record(partial_folder(out), plan.record())
        fabric.barrier()
        folder = partial_folder(out)
        state = read_checkpoint(folder / CHECKPOINT) or beginning(fabric)
        if state.num_processes != fabric.world_size:
            raise UsageError(
                f"{out}: was begun by {state.num_processes} processes and cannot be resumed by "
                f"{fabric.world_size}; start as many, or start over with --force"
            )
        if fabric.is_global_zero:
            keep_epochs(folder, state.num_epoch_lines)
        training = Training(fabric, plan, folder=folder, state=state, progress=progress)
        training.run()
        done = training.state
        if fabric.is_global_zero:
            publish(
                folder,
                out,
                replace(
                    plan.record(),
                    backbone=done.backbone,
                    members=done.members,
                    sides=done.sides,
                ),
                may_replace=may_replace,
            )


def beginning(fabric: Fabric) -> Checkpoint:
    """Return the state of a run of which nothing is done."""
    return Checkpoint(
        schema=CHECKPOINT_SCHEMA,
        position=Position(),
        num_processes=fabric.world_size,
        num_epoch_lines=0,
        sums=NO_SUMS,
        selected=None,
        backbone=None,
        members=(),
        finished=(),
    )
