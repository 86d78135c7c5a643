"""What a whole family costs to train beside its plain network, and what its members are worth.

Wall-clock time is what a user waits; processor time is what is left of it when other work runs on
the same cores. Both are taken in the same run, stage by stage, evaluations and files included.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from headgate.export.bench.bench_table import BenchResult, Goal
from headgate.profiles.parse import unparse
from headgate.profiles.storage import write_atomic
from headgate.train.folder.epoch_log import EpochRecord
from headgate.train.folder.run_folder import Run
from headgate.train.recipe import PruneConfig
from headgate.train.run.progress import TrainingProgress
from headgate.train.run.prune import train_prune
from headgate.train.stages import BACKBONE, Stage

MAX_RATIO = 1.6
MAX_LOSS = 0.005  # of accuracy, against a twin from scratch
COSTS_FILE = "costs.json"


@dataclass(frozen=True, slots=True)
class StageCost:
    """The time of one stage, from its beginning to that of the next."""

    stage: str
    wall_s: float
    cpu_s: float  # of this process, all threads


class Stopwatch:
    """Takes the time of each stage and passes on what it hears."""

    def __init__(self, shown: TrainingProgress) -> None:
        self._shown = shown
        self._begun: tuple[str, float, float] | None = None
        self.costs: tuple[StageCost, ...] = ()

    def stage_started(self, stage: Stage, *, num_steps: int, steps_done: int) -> None:
        self._end()
        self._begun = (stage.id, time.monotonic(), time.process_time())
        self._shown.stage_started(stage, num_steps=num_steps, steps_done=steps_done)

    def steps_done(self, num_steps: int) -> None:
        self._shown.steps_done(num_steps)

    def epoch_done(self, record: EpochRecord) -> None:
        self._shown.epoch_done(record)

    def noted(self, text: str) -> None:
        self._shown.noted(text)

    def run_ended(self) -> None:
        self._end()
        self._shown.run_ended()

    def _end(self) -> None:
        if self._begun is not None:
            stage, wall_s, cpu_s = self._begun
            taken = (time.monotonic() - wall_s, time.process_time() - cpu_s)
            self.costs = (*self.costs, StageCost(stage, *(round(t_s, 3) for t_s in taken)))
            self._begun = None


@dataclass(frozen=True, slots=True)
class CostOptions:
    """Which family to train, and which of its budgets to train again from fresh weights."""

    recipe: PruneConfig  # trains its plain network itself
    folder: Path  # a family that is complete there is not trained again
    twins: tuple[int, ...] = ()


def bench_costs(
    options: CostOptions, *, progress: TrainingProgress, say: Callable[[str], None]
) -> BenchResult:
    """Train the family and its twins and lay their costs and accuracies side by side."""
    say("training the family")
    family, costs = train_and_time(options.recipe, options.folder / "family", progress)
    twins: Run | None = None
    twin_costs: tuple[StageCost, ...] = ()
    if options.twins:
        say(f"training {len(options.twins)} members from fresh weights")
        config = replace(
            options.recipe, from_scratch=True, distill=None, hint=None, budgets=options.twins
        )
        twins, twin_costs = train_and_time(config, options.folder / "twins", progress)
    return cost_table(family, costs, twins=twins, twin_costs=twin_costs)


def train_and_time(
    config: PruneConfig, out: Path, progress: TrainingProgress
) -> tuple[Run, tuple[StageCost, ...]]:
    """Train a run without a break, or read one that was, with what its stages cost.

    An unfinished run is begun again, since the time of its first part is not known.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    costs_path = out.with_name(f"{out.name}-{COSTS_FILE}")
    if (out / "run.json").is_file() and costs_path.is_file():
        run = train_prune(config, out, resume=True, progress=progress)
        stored = json.loads(costs_path.read_text(encoding="utf-8"))
        return run, tuple(StageCost(**cost) for cost in stored)
    watch = Stopwatch(progress)
    run = train_prune(config, out, force=True, progress=watch)
    write_atomic(costs_path, json.dumps([unparse(cost) for cost in watch.costs]) + "\n")
    return run, watch.costs


def cost_table(
    family: Run,
    costs: tuple[StageCost, ...],
    *,
    twins: Run | None = None,
    twin_costs: tuple[StageCost, ...] = (),
) -> BenchResult:
    """Lay out stage by stage what it took and, for members, what came of it."""
    plain = next(cost for cost in costs if cost.stage == BACKBONE)
    entries = {member.id: member for member in family.record.members}
    twin_of = {member.id: member for member in twins.record.members} if twins else {}
    twin_cost = {cost.stage: cost for cost in twin_costs}
    rows, losses = [], []
    for cost in costs:
        entry, twin = entries.get(cost.stage), twin_of.get(cost.stage)
        backbone = family.record.backbone
        accuracy = entry.accuracy if entry else None
        if cost.stage == BACKBONE and backbone is not None:
            accuracy = backbone.accuracy
        if entry and twin:
            losses.append(twin.accuracy - entry.accuracy)
        rows.append(
            (
                cost.stage,
                _percent(accuracy),
                _percent(twin.accuracy if twin else None),
                f"{cost.wall_s:.0f}",
                f"{cost.cpu_s:.0f}",
                f"{cost.cpu_s / plain.cpu_s:.3f}",
                f"{twin_cost[cost.stage].cpu_s / plain.cpu_s:.2f}" if twin else "",
            )
        )
    wall = sum(cost.wall_s for cost in costs) / plain.wall_s
    cpu = sum(cost.cpu_s for cost in costs) / plain.cpu_s
    goals = [
        Goal(f"wall-clock of all / plain network at most {MAX_RATIO}", wall, wall <= MAX_RATIO),
        Goal(f"processor time of all / plain network at most {MAX_RATIO}", cpu, cpu <= MAX_RATIO),
    ]
    if losses:
        goals.append(
            Goal("loss against a twin at most 0.005", max(losses), max(losses) <= MAX_LOSS)
        )
    return BenchResult(
        name="Family cost",
        columns=("stage", "accuracy, %", "twin, %", "wall, s", "cpu, s", "/ plain", "twin / plain"),
        rows=tuple(rows),
        goals=tuple(goals),
        notes=_notes(family, twins),
    )


def _notes(family: Run, twins: Run | None) -> tuple[str, ...]:
    record, config = family.record, family.record.settings
    weights = [record.backbone.file] if record.backbone else []
    weights += [member.file for member in record.members]
    stored = sum((family.path / file).stat().st_size for file in weights)
    notes = [
        f"{record.blueprint.model} x {record.blueprint.width:g} cut after "
        f"{record.blueprint.split}, r = {record.blueprint.resolution_factor}, "
        f"{record.dataset.num_train} pictures of {record.dataset.spec.partition(':')[0]}; "
        f"{config.backbone_epochs} epochs of the plain network, {config.base_epochs} of the "
        f"member with all maps, {config.member_epochs} of each other",
        f"shares {config.share}; the run's weights take {stored / 1e6:.1f} MB",
    ]
    if twins is not None:
        notes.append(
            f"twins: all of it from fresh weights, {twins.record.settings.backbone_epochs} epochs"
        )
    return tuple(notes)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"
