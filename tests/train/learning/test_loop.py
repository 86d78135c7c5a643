"""Claims about an epoch's sums: over all of its steps, those before a stop too."""

import random
from collections.abc import Iterator

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from headgate.train.learning.loop import (
    NO_SUMS,
    EpochMeans,
    EpochPlan,
    Place,
    StepResult,
    epoch_means,
    train_epoch,
)
from headgate.train.learning.losses import Losses
from headgate.train.learning.material import Deal, Lesson


class Numbers:
    """Deals a lesson for each step, which holds the step's number."""

    def deal(self, deal: Deal) -> Iterator[Lesson]:
        for step in range(deal.first_step, 4):
            yield Lesson(torch.full((1, 1), float(step)), torch.zeros(1, dtype=torch.int64))


def objective(model: nn.Module, lesson: Lesson, choices: random.Random) -> StepResult:
    """Return losses that are multiples of the step's number, none of which moves a weight."""
    step = 0.0 * model(lesson.x_BCHW).sum() + lesson.x_BCHW.sum()
    losses = Losses(
        total=step,
        task=2 * step,
        prune=3 * step,
        rate_bits=4 * step,
        exit=5 * step,
        distill=6 * step,
    )
    return StepResult(losses, accuracy=step / 4)


def plan(*, first_step: int) -> EpochPlan:
    place = Place(seed=0, stage="backbone", epoch=0)
    return EpochPlan(place, batch_size=1, steps=4, first_step=first_step, rate=lambda _: 0.1)


def sums_of(*, first_step: int, sums: tuple[float, ...]) -> tuple[tuple[float, ...], list[float]]:
    """Return an epoch's sums, and the first of them as it was after each step."""
    model = nn.Linear(1, 1)
    fabric = Fabric(accelerator="cpu", devices=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapped, wrapped_optimizer = fabric.setup(model, optimizer)
    totals: list[float] = []
    found = train_epoch(
        fabric,
        wrapped,
        wrapped_optimizer,
        objective=objective,
        material=Numbers(),
        plan=plan(first_step=first_step),
        sums=sums,
        after_step=lambda _, read_sums: totals.append(read_sums()[0]),
    )
    return found, totals


def test_means_are_those_of_all_steps() -> None:
    sums, totals = sums_of(first_step=0, sums=NO_SUMS)
    assert totals == [0.0, 1.0, 3.0, 6.0]
    assert epoch_means(sums, plan=plan(first_step=0), num_processes=1) == EpochMeans(
        loss=1.5, task=3.0, prune=4.5, rate_bits=6.0, exit=7.5, distill=9.0, accuracy=0.375
    )


def test_an_epoch_that_goes_on_adds_to_the_sums_of_the_steps_before() -> None:
    whole, _ = sums_of(first_step=0, sums=NO_SUMS)
    half = (1.0, *(float(place) for place in (2, 5, 3, 6, 4)), 0.25)  # of the steps 0 and 1
    rest, totals = sums_of(first_step=2, sums=half)
    assert totals == [3.0, 6.0]
    assert rest == pytest.approx(whole)
