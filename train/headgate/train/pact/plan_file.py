"""A plan of a training, as a file that its sides are given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from headgate.profiles.errors import UsageError
from headgate.profiles.parse import parse, unparse
from headgate.profiles.storage import read_sealed_json, seal_json, write_atomic
from headgate.train.pact.nodes import Node
from headgate.train.pact.pilot_file import Pilot
from headgate.train.pact.planner import Solution
from headgate.train.recipe import PruneConfig
from headgate.train.split_training.settings import DepruneSettings, Phase
from headgate.train.split_training.timetable import Timetable

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class PlannedEpoch:
    """What one epoch is to be, and to cost."""

    budget: int
    nodes: tuple[str, ...]
    time_s: float
    energy_j: float
    num_bytes: float


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What to train, where, and what it is to come to; accuracies are 0..1."""

    schema: int
    config: PruneConfig
    settings: DepruneSettings  # with the schedule and the timetable of `epochs`
    nodes: tuple[Node, ...]  # also those that never train
    epochs: tuple[PlannedEpoch, ...]
    accuracy: float
    time_s: float
    energy_j: float
    num_bytes: float

    @property
    def names(self) -> set[str]:
        """Who trains at some time."""
        return {name for epoch in self.epochs for name in epoch.nodes}


def plan_of(pilot: Pilot, nodes: tuple[Node, ...], found: Solution) -> TrainingPlan:
    """Return a solution as what sides are told."""
    phases = tuple(
        Phase(budget, len(list(group)))
        for budget, group in groupby(choice.budget for choice in found.epochs)
    )
    timetable = Timetable(
        tuple(choice.names for choice in found.epochs),
        {node.name: node.pictures for node in nodes},
    )
    return TrainingPlan(
        SCHEMA,
        pilot.config,
        replace(pilot.settings, phases=phases, timetable=timetable),
        nodes,
        tuple(
            PlannedEpoch(
                choice.budget,
                choice.names,
                choice.cost.time_s,
                choice.cost.energy_j,
                choice.cost.num_bytes,
            )
            for choice in found.epochs
        ),
        accuracy=found.accuracy,
        time_s=found.time_s,
        energy_j=found.energy_j,
        num_bytes=found.num_bytes,
    )


def write_plan(path: Path, plan: TrainingPlan) -> None:
    """Write it at once or not at all."""
    write_atomic(path, seal_json(unparse(plan)))


def read_plan(path: Path) -> TrainingPlan:
    """Read what `write_plan` wrote; raises UsageError where it is no plan, or of another schema."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file; `headgate train pact plan` makes one")
    found = read_sealed_json(path)
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA or "epochs" not in found:
        raise UsageError(
            f"{path}: is no plan of schema {SCHEMA}, which this version reads; plan again"
        )
    plan = parse(TrainingPlan, found, where=str(path), error=UsageError)
    budgets = [budget for budget, num in _phases(plan) for _ in range(num)]
    timetable = plan.settings.timetable
    if (
        not plan.epochs
        or timetable is None
        or timetable.epochs != tuple(epoch.nodes for epoch in plan.epochs)
        or budgets != [epoch.budget for epoch in plan.epochs]
        or not plan.names <= {node.name for node in plan.nodes}
        or not all(budget > 0 for budget in budgets)
    ):
        raise UsageError(f"{path}: epochs, schedule and nodes do not fit each other; plan again")
    return plan


def _phases(plan: TrainingPlan) -> list[tuple[int, int]]:
    return [(phase.budget, phase.epochs) for phase in plan.settings.phases]


def check_place_of_plan(out: Path, *, not_on: Path) -> None:
    """Raise UsageError where a plan must not be written: on anything but an earlier plan."""
    if not out.name or out.is_dir() or not out.parent.is_dir():
        raise UsageError(f"--out: {str(out)!r} is a folder, or in none; name a file for the plan")
    if out.exists():
        if not_on.exists() and out.samefile(not_on):
            raise UsageError(f"--out: {out} is the file of nodes; name another file for the plan")
        read_plan(out)
