"""The stages of a training run in their order, and the learning rate at each moment.

Algorithm 3 of the prune paper (arXiv 2311.05739): train the plain network fully; put a bottleneck
with B = phi into it and train that; then for each smaller B start from the member before, reset
the filter so that maps can fall again, raise the learning rate for the first epochs, train a few
epochs, keep the member.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

from headgate.profiles.errors import UsageError
from headgate.train.progressive import ProgressiveConfig
from headgate.train.recipe import PruneConfig

BACKBONE = "backbone"  # id of the stage that trains the plain network
SLIM = "slim"  # id of the stage that trains a slim head
PICTURES = "pictures"  # id of the stage that tunes a network for offloaded pictures
WARM_UP = 0.05  # share of the backbone's steps; a random network diverges at full rate
STEP_DROPS = ((0.5, 0.1), (0.75, 0.01))  # schedule "step": from this progress on, this factor


class StageKind(Enum):
    """What a stage trains."""

    BACKBONE = "backbone"
    BASE = "base"  # B = phi, from the backbone
    MEMBER = "member"  # B < phi, from the member before
    TWIN = "twin"  # any B, from fresh weights
    SLIM = "slim"  # a narrower head in the place of the backbone's own
    PROGRESSIVE = "progressive"  # a member in layers, from a member or from the backbone
    PICTURES = "pictures"  # a copy of the backbone, for offloaded pictures


FRESH = (StageKind.BACKBONE, StageKind.TWIN, StageKind.SLIM)  # their weights, or most of them


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of a run: train something for some epochs, from the weights of another stage."""

    id: str  # "backbone", "slim", "pictures", or the member's id
    kind: StageKind
    epochs: int
    lr: float
    budget: int | None = None
    start_from: str | None = None  # id of the stage whose weights it begins with
    kept: bool = True  # False: only a step on the way to smaller members
    gamma: float = 1.0
    raise_epochs: int = 0


def member_id(budget: int, resolution_factor: int) -> str:
    """Return the id that a member has everywhere: in the run, the family and the points."""
    return f"b{budget}r{resolution_factor}"


def resolve_budgets(config: PruneConfig, *, num_maps: int) -> tuple[int, ...]:
    """Return the budgets in falling order, or say which one is impossible."""
    budgets = config.budgets
    option = "--budgets" if config.progressive is None else "--maps"
    if not budgets:
        return tuple(
            sorted({num_maps, max(1, num_maps // 4), max(1, num_maps // 32)}, reverse=True)
        )
    for budget in budgets:
        if not 1 <= budget <= num_maps:
            raise UsageError(
                f"{option}: {budget} is impossible, {num_maps} maps leave the split; "
                f"give numbers from 1 to {num_maps}"
            )
    if len(set(budgets)) != len(budgets):
        twice = sorted({b for b in budgets if budgets.count(b) > 1})
        raise UsageError(f"--budgets: {twice[0]} is given more than once; name each budget once")
    return tuple(sorted(budgets, reverse=True))


def plan_stages(config: PruneConfig, *, num_maps: int) -> tuple[Stage, ...]:
    """Lay out the stages of a run in the order they are trained."""
    if config.progressive is not None and not config.budgets:
        config = replace(config, budgets=(num_maps,))
    budgets = resolve_budgets(config, num_maps=num_maps)
    if config.from_scratch:
        return tuple(_twin(config, budget) for budget in budgets)
    stages = [Stage(BACKBONE, StageKind.BACKBONE, config.backbone_epochs, config.lr)]
    if config.slim_head is not None:
        slim = Stage(SLIM, StageKind.SLIM, config.slim_epochs, config.lr, start_from=BACKBONE)
        stages.append(slim)
    if not config.plain_cut:
        stages += _members(config, budgets, num_maps=num_maps)
    if config.progressive is not None:
        stages = [replace(stage, kept=False) for stage in stages]
        stages.append(_progressive(config.progressive, config, budgets[-1], after=stages[-1]))
    if config.picture_epochs:
        epochs, rate = config.picture_epochs, config.member_lr
        stages.append(Stage(PICTURES, StageKind.PICTURES, epochs, rate, start_from=BACKBONE))
    return tuple(stages)


def _twin(config: PruneConfig, budget: int) -> Stage:
    return Stage(
        id=member_id(budget, config.resolution_factor),
        kind=StageKind.TWIN,
        epochs=config.backbone_epochs,
        lr=config.lr,
        budget=budget,
    )


def _members(config: PruneConfig, budgets: tuple[int, ...], *, num_maps: int) -> list[Stage]:
    """Return the stage of all maps, whether it was asked for or not, and one for each budget."""
    stages = [
        Stage(
            id=member_id(num_maps, config.resolution_factor),
            kind=StageKind.BASE,
            epochs=config.base_epochs,
            lr=config.member_lr,
            budget=num_maps,
            start_from=BACKBONE,
            kept=num_maps in budgets,
        )
    ]
    for budget in budgets:
        if budget == num_maps:
            continue
        stages.append(
            Stage(
                id=member_id(budget, config.resolution_factor),
                kind=StageKind.MEMBER,
                epochs=config.member_epochs,
                lr=config.member_lr,
                budget=budget,
                start_from=stages[-1].id,
                gamma=config.raised,
                raise_epochs=min(config.raise_epochs, config.member_epochs),
            )
        )
    return stages


def _progressive(
    progressive: ProgressiveConfig, config: PruneConfig, budget: int, *, after: Stage
) -> Stage:
    return Stage(
        id=f"{progressive.method[0]}{budget}r{config.resolution_factor}",  # n8r1 for NAIR, c CLIO
        kind=StageKind.PROGRESSIVE,
        epochs=progressive.epochs,
        lr=config.member_lr,
        budget=budget,
        start_from=after.id,
    )


def learning_rate(stage: Stage, *, step: int, steps_per_epoch: int, schedule: str) -> float:
    """Return the rate of one step, which depends on nothing but its place in the stage.

    The first epochs of a smaller member are raised by gamma and not annealed; then the schedule
    runs over what is left. Stages from fresh weights warm up.
    """
    raised_steps = stage.raise_epochs * steps_per_epoch
    if step < raised_steps:
        return stage.lr * stage.gamma
    num_steps = stage.epochs * steps_per_epoch - raised_steps
    progress = (step - raised_steps) / num_steps
    if stage.kind in FRESH and progress < WARM_UP:
        return stage.lr * max(progress / WARM_UP, 1 / num_steps)
    if schedule == "cosine":
        return stage.lr * 0.5 * (1 + math.cos(math.pi * progress))
    factor = 1.0
    for begin, drop in STEP_DROPS if schedule == "step" else ():
        if progress >= begin:
            factor = drop
    return stage.lr * factor
