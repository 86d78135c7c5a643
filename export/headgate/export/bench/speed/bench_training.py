"""How much a training step of a whole member costs beside the same network without a bottleneck."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from headgate.export.bench.bench_table import BenchResult, Goal, median, milliseconds
from headgate.train.learning.loop import Objective
from headgate.train.learning.losses import LossWeights
from headgate.train.learning.material import Lesson
from headgate.train.learning.objectives import BackboneObjective, MemberObjective
from headgate.train.networks.backbones import Normalise, PlainModel, build_backbone
from headgate.train.networks.split_model import SplitModel, build_split_model, cut_network
from headgate.train.pictures.batches import as_floats
from headgate.train.recipe import DEFAULT_SPLITS

# Shapes: B batch, C = 3 colours, H height, W width

MAX_RATIO = 1.15
LEVELS = (256, 64, 16, 8, 4)
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


@dataclass(frozen=True, slots=True)
class TrainingStepOptions:
    """What to time; the defaults are those of the goal."""

    model: str = "vgg11"
    input_px: int = 32
    batch_size: int = 128
    budgets: tuple[int, ...] = (128, 32, 4)
    rounds: int = 12
    warm_ups: int = 2
    num_classes: int = 10


Step = Callable[[], None]


def bench_training_step(options: TrainingStepOptions) -> BenchResult:
    """Time steps of the plain network and of members in turns: what else runs here hits all."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    stream = torch.Generator().manual_seed(0)
    size = (options.batch_size, 3, options.input_px, options.input_px)
    pictures_BCHW = torch.randint(256, size, generator=stream, dtype=torch.uint8)
    x_BCHW = as_floats(pictures_BCHW.to(device))
    labels_B = torch.randint(options.num_classes, size[:1], generator=stream).to(device)
    names = ["plain backbone", *(f"member, budget {budget}" for budget in options.budgets)]
    steps = [
        _plain_step(options, x_BCHW, labels_B),
        *(_member_step(options, budget, x_BCHW, labels_B) for budget in options.budgets),
    ]
    medians_s = [median(times_s) for times_s in time_in_turns(steps, options, device=device)]
    rows = [
        (name, milliseconds(step_s), f"{step_s / medians_s[0]:.3f}")
        for name, step_s in zip(names, medians_s, strict=True)
    ]
    worst = max(medians_s[1:]) / medians_s[0]
    return BenchResult(
        name="Training step",
        columns=("network", "median step, ms", "ratio"),
        rows=tuple(rows),
        goals=(Goal(f"ratio at most {MAX_RATIO}", worst, worst <= MAX_RATIO),),
        notes=(
            f"{options.model}, {options.input_px} px, batch {options.batch_size}, {device.type}, "
            f"{torch.get_num_threads()} threads; forward, losses, backward, SGD; "
            f"{options.rounds} rounds in turns",
        ),
    )


def time_in_turns(
    steps: Sequence[Step], options: TrainingStepOptions, *, device: torch.device
) -> list[list[float]]:
    """Run every step once a round and return the seconds of each, without the warm-ups."""
    times_s: list[list[float]] = [[] for _ in steps]
    for turn in range(options.warm_ups + options.rounds):
        for step, kept in zip(steps, times_s, strict=True):
            _wait_for(device)
            started_s = time.perf_counter()
            step()
            _wait_for(device)
            if turn >= options.warm_ups:
                kept.append(time.perf_counter() - started_s)
    return times_s


def _plain_step(options: TrainingStepOptions, x_BCHW: Tensor, labels_B: Tensor) -> Step:
    network = build_backbone(
        options.model, num_classes=options.num_classes, input_px=options.input_px
    )
    model = PlainModel(Normalise(MEAN, STD), network)
    return _step(model, BackboneObjective(), x_BCHW, labels_B)


def _member_step(
    options: TrainingStepOptions, budget: int, x_BCHW: Tensor, labels_B: Tensor
) -> Step:
    network = build_backbone(
        options.model, num_classes=options.num_classes, input_px=options.input_px
    )
    parts = cut_network(
        network,
        split=DEFAULT_SPLITS[options.model],
        example_BCHW=torch.zeros(1, 3, options.input_px, options.input_px),
        num_classes=options.num_classes,
        mean=MEAN,
        std=STD,
    )
    member: SplitModel = build_split_model(parts, budget=budget)
    member.freeze_selection()
    # With a rate term: its prior and its gradient are part of the cost.
    objective = MemberObjective(member, LossWeights(rate=1e-6), LEVELS)
    return _step(member, objective, x_BCHW, labels_B)


def _step(model: nn.Module, objective: Objective, x_BCHW: Tensor, labels_B: Tensor) -> Step:
    # Channels last, as training has it; `as_floats` lays the pictures out likewise.
    model.to(x_BCHW.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9, weight_decay=5e-4)
    choices = random.Random(0)
    lesson = Lesson(x_BCHW, labels_B)

    def step() -> None:
        result = objective(model, lesson, choices)
        optimizer.zero_grad()
        result.losses.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
