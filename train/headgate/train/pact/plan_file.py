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
    timetable = Timetable(tuple(choice.names for choice in found.epochs))
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
    found = read_sealed_json(path)
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA:
        raise UsageError(f"{path}: schema {schema}, this version reads {SCHEMA}; plan again")
    return parse(TrainingPlan, found, where=str(path), error=UsageError)
