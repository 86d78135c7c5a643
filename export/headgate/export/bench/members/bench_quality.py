"""What pruning keeps: each member's accuracy beside training its budget from scratch.

One run by the prune method, then the same budgets from fresh weights twice: with as few epochs as
a pruned member has had, and with as many as the plain network. The plain network's and the base
member's epochs are counted apart, since a family pays them once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from headgate.export.bench.bench_table import BenchResult, Goal
from headgate.train.folder.run_folder import Run
from headgate.train.folder.run_record import MemberEntry
from headgate.train.recipe import PruneConfig
from headgate.train.run.progress import TrainingProgress
from headgate.train.run.prune import train_prune

Twins = dict[str, MemberEntry]  # by the id that they share with the pruned member
MAX_LOSS = 0.01  # of accuracy, against the twin with all epochs
MIN_EPOCH_RATIO = 5.0


@dataclass(frozen=True, slots=True)
class QualityOptions:
    """The paper's case by default: CIFAR-10, VGG11, 128 maps of 8 x 8, budgets 128, 32, 4."""

    data: str
    folder: Path  # where the runs go; complete ones are not trained again
    epochs: int = 50
    base_epochs: int = 10
    member_epochs: int = 10
    budgets: tuple[int, ...] = (128, 32, 4)
    pictures: int | None = None  # of each half; None: all
    batch_size: int = 128
    precision: str = "auto"
    seed: int = 0

    def pruned(self) -> PruneConfig:
        """Return the run by the prune method."""
        return PruneConfig(
            data=self.data,
            model="vgg11",
            budgets=self.budgets,
            epochs=self.epochs,
            base_epochs=self.base_epochs,
            member_epochs=self.member_epochs,
            batch_size=self.batch_size,
            limit=self.pictures,
            precision=self.precision,
            seed=self.seed,
        )

    def twin(self, budget: int, *, epochs: int) -> PruneConfig:
        """Return one of the budgets, trained from fresh weights."""
        return replace(self.pruned(), budgets=(budget,), from_scratch=True, epochs=epochs)


def bench_quality(
    options: QualityOptions, *, progress: TrainingProgress, say: Callable[[str], None]
) -> BenchResult:
    """Train whatever is not in the folder yet and compare. Hours on a CPU without `pictures`.

    Every twin is a run of its own, so that several machines or processes can share the work.
    """
    say(
        f"pruning: {options.epochs} + {options.base_epochs} epochs, members {options.member_epochs}"
    )
    pruned = _train(options.pruned(), options.folder / "pruned", progress)
    short, full = (
        _train_twins(options, epochs, name, progress=progress, say=say)
        for name, epochs in (("short", options.member_epochs), ("full", options.epochs))
    )
    return quality_table(options, pruned=pruned, short=short, full=full)


def quality_table(
    options: QualityOptions, *, pruned: Run, short: Twins, full: Twins
) -> BenchResult:
    """Lay the runs side by side. Accuracies are those without quantisation."""
    rows, losses = [], []
    for member in pruned.record.members:
        twin, short_twin = full[member.id], short[member.id]
        losses.append(twin.accuracy - member.accuracy)
        rows.append(
            (
                member.id,
                f"{100 * member.accuracy:.2f} ({member.epochs})",
                f"{100 * short_twin.accuracy:.2f} ({short_twin.epochs})",
                f"{100 * twin.accuracy:.2f} ({twin.epochs})",
                f"{100 * (member.accuracy - twin.accuracy):+.2f}",
            )
        )
    ratio = options.epochs / options.member_epochs
    backbone = pruned.record.backbone
    assert backbone is not None
    data_set = pruned.record.dataset.spec.partition(":")[0]
    pictures = "all" if options.pictures is None else f"{options.pictures}"
    return BenchResult(
        name="Quality",
        columns=("member", "pruned (epochs)", "scratch, short", "scratch, full", "difference"),
        rows=tuple(rows),
        goals=(
            Goal("loss against the full twin at most 0.01", max(losses), max(losses) <= MAX_LOSS),
            Goal("full epochs per pruned epoch at least 5", ratio, ratio >= MIN_EPOCH_RATIO),
        ),
        notes=(
            f"test accuracy in percent, trained on {pictures} pictures of {data_set}",
            f"plain network {100 * backbone.accuracy:.2f} after {backbone.epochs} epochs; "
            "a family pays these, and the base member's, once",
        ),
    )


def _train_twins(
    options: QualityOptions,
    epochs: int,
    name: str,
    *,
    progress: TrainingProgress,
    say: Callable[[str], None],
) -> Twins:
    twins: Twins = {}
    for budget in options.budgets:
        say(f"from scratch, {budget} maps, {epochs} epochs")
        config = options.twin(budget, epochs=epochs)
        run = _train(config, options.folder / f"scratch-{name}-{budget}", progress)
        twins |= {member.id: member for member in run.record.members}
    return twins


def _train(config: PruneConfig, out: Path, progress: TrainingProgress) -> Run:
    out.parent.mkdir(parents=True, exist_ok=True)
    # `resume` goes on with an interrupted run and returns a complete one as it is.
    return train_prune(config, out, resume=True, progress=progress)
