"""The one training loop: an epoch of steps, the same in one process and in many.

Every random choice is a function of the seed and its place (stage, epoch, step, process): the
generators are seeded anew for each step. So a run that was stopped anywhere goes on with the
very choices it would have made, and a checkpoint holds no random state. (A model that draws
from a generator of its own, other than torch's, is outside of this promise.)

With several processes each batch is shared out among them. DDP averages the gradients and hands
the first process's running statistics to the others before each step; `share_buffers` does so
after the last, which leaves all processes the same.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from headgate.profiles.errors import TrainingError, UsageError
from headgate.train.learning.losses import Losses
from headgate.train.learning.material import Deal, Lesson, Material
from headgate.train.pictures.batches import num_batches
from headgate.train.seeds import derive_seed

# Shapes: S sums


@dataclass(frozen=True, slots=True)
class StepResult:
    """One batch's losses and its share of right answers: all scalars on the training device."""

    losses: Losses
    accuracy: Tensor

    def parts_S(self) -> Tensor:
        """Return what is summed over an epoch, in the order of EpochMeans."""
        loss = self.losses
        parts = (loss.total, loss.task, loss.exit, loss.prune, loss.distill, loss.rate_bits)
        return torch.stack([part.detach().float() for part in (*parts, self.accuracy)])


# Takes the model, a batch, and choices that all processes share.
Objective = Callable[[nn.Module, Lesson, random.Random], StepResult]


@dataclass(frozen=True, slots=True)
class EpochMeans:
    """Means over an epoch's batches; see EpochRecord for the units."""

    loss: float
    task: float
    exit: float
    prune: float
    distill: float
    rate_bits: float
    accuracy: float


ReadSums = Callable[[], tuple[float, ...]]
NO_SUMS = (0.0,) * 7  # of an epoch that has not begun; in the order of EpochMeans


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a run an epoch is: what the random choices are made of, besides the step."""

    seed: int
    stage: str
    epoch: int


@dataclass(frozen=True, slots=True)
class EpochPlan:
    """One epoch of steps, from `first_step` on."""

    place: Place
    batch_size: int  # over all processes
    steps: int
    first_step: int
    rate: Callable[[int], float]  # step of this epoch -> learning rate


def steps_per_epoch(fabric: Fabric, num_pictures: int, *, batch_size: int) -> int:
    """Return the steps of an epoch; pictures that do not fill a last batch wait for the next."""
    return num_batches(
        num_pictures,
        batch_size=batch_size // fabric.world_size,
        world_size=fabric.world_size,
    )


def check_batch_size(batch_size: int, *, num_processes: int) -> None:
    """Refuse a batch that does not divide evenly: the average gradient would be another one."""
    if batch_size % num_processes or batch_size // num_processes < 2:
        raise UsageError(
            f"--batch-size: {batch_size} cannot be shared by {num_processes} processes; give a "
            f"multiple of {num_processes} with at least 2 pictures for each"
        )


def train_epoch(
    fabric: Fabric,
    model: nn.Module,
    optimizer: Optimizer,
    *,
    objective: Objective,
    material: Material,
    plan: EpochPlan,
    sums: tuple[float, ...],
    after_step: Callable[[int, ReadSums], None],
) -> tuple[float, ...]:
    """Train from `plan.first_step` to the epoch's end; return sums over its steps and processes.

    `sums` are those of the steps before `first_step`. `after_step(steps_done, read_sums)` is called
    after every step. Reading the sums waits for the device and for the other processes, so all
    must read them at the same steps, and seldom.
    """
    model.train()
    shared = [value / fabric.world_size for value in sums]
    sums_S = torch.tensor(shared, dtype=_wide(fabric.device), device=fabric.device)

    def read_sums() -> tuple[float, ...]:
        return tuple(float(value) for value in sum_over_processes(fabric, sums_S).tolist())

    dealt = material.deal(
        Deal(
            seed=derive_seed(plan.place.seed, plan.place.stage),
            epoch=plan.place.epoch,
            batch_size=plan.batch_size // fabric.world_size,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
            first_step=plan.first_step,
        )
    )
    for step, lesson in enumerate(dealt, start=plan.first_step):
        choices = _seed_step(plan.place, step=step, process=fabric.global_rank)
        rate = plan.rate(step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        result = objective(model, lesson, choices)
        optimizer.zero_grad()
        fabric.backward(result.losses.total)
        optimizer.step()
        sums_S += result.parts_S()
        after_step(step + 1, read_sums)
    return read_sums()


def epoch_means(sums: tuple[float, ...], *, plan: EpochPlan, num_processes: int) -> EpochMeans:
    """Turn the sums of an epoch into means."""
    return EpochMeans(*(value / (plan.steps * num_processes) for value in sums))


def check_finite(sums: tuple[float, ...], *, place: Place) -> None:
    """Say so if training has diverged: nothing good would come of going on."""
    if not all(math.isfinite(value) for value in sums):
        raise TrainingError(
            f"{place.stage}, epoch {place.epoch + 1}: the loss is no longer a finite number; "
            "start over (--force) with lower learning rates (--lr, --member-lr, --gamma) or a "
            "lower --rate-weight"
        )


def share_buffers(fabric: Fabric, model: nn.Module) -> None:
    """Give all processes the running statistics of the first."""
    if fabric.world_size > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, src=0)


def sum_over_processes(fabric: Fabric, values: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes."""
    if fabric.world_size == 1:
        return values
    values = values.to(fabric.device, _wide(fabric.device))
    total = fabric.all_reduce(values.clone(), reduce_op="sum")
    assert isinstance(total, Tensor)
    return total.cpu()


def _seed_step(place: Place, *, step: int, process: int) -> random.Random:
    """Seed torch for one step of one process; return choices that all processes share."""
    key = (place.seed, place.stage, place.epoch, step)
    torch.manual_seed(derive_seed(*key, process))
    return random.Random(derive_seed(*key, "shared"))


def _wide(device: torch.device) -> torch.dtype:
    """Return the widest float of a device: Apple's has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64
