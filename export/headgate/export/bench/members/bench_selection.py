"""Which way to make a member's maps is best: the same budgets, epochs and seeds for each."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from headgate.export.bench.bench_table import BenchResult
from headgate.train.folder.run_folder import Run
from headgate.train.recipe import PruneConfig
from headgate.train.run.progress import TrainingProgress
from headgate.train.run.prune import train_prune


@dataclass(frozen=True, slots=True)
class SelectionOptions:
    """What to train: for each seed one plain network, then a family by each method from it."""

    recipe: PruneConfig
    folder: Path  # runs that are complete there are not trained again
    seeds: tuple[int, ...] = (0, 1, 2)
    methods: tuple[str, ...] = ("filter", "importance", "nair", "principal")


def bench_selection(
    options: SelectionOptions, *, progress: TrainingProgress, say: Callable[[str], None]
) -> BenchResult:
    """Train what is not there yet and compare; the first method is what others are held against."""
    runs: dict[str, list[Run]] = {method: [] for method in options.methods}
    for seed in options.seeds:
        plain = options.folder / f"seed{seed}-plain"
        first = replace(options.recipe, seed=seed, budgets=(), base_epochs=1, member_epochs=1)
        say(f"seed {seed}: plain network")
        _train(replace(first, budgets=options.recipe.budgets[:1]), plain, progress)
        for method in options.methods:
            say(f"seed {seed}: {method}")
            config = replace(
                options.recipe, seed=seed, select=method, backbone=str(plain), epochs=None
            )
            out = options.folder / f"seed{seed}-{method}"
            runs[method].append(_train(config, out, progress))
    return selection_table(runs, options)


def selection_table(runs: dict[str, list[Run]], options: SelectionOptions) -> BenchResult:
    """Show means over the seeds, and how far each method is from the first one, seed by seed."""
    methods = list(runs)
    rows = []
    for member_id in runs[methods[0]][0].member_ids:
        accuracy = {
            method: [100 * run.entry(member_id).accuracy for run in runs[method]]
            for method in methods
        }
        cells = [f"{statistics.mean(accuracy[method]):.2f}" for method in methods]
        cells += [_difference(accuracy[method], accuracy[methods[0]]) for method in methods[1:]]
        rows.append((member_id, *cells))
    config = options.recipe
    return BenchResult(
        name="Selection",
        columns=(
            "member",
            *(f"{method}, %" for method in methods),
            *(f"{method} - {methods[0]}" for method in methods[1:]),
        ),
        rows=tuple(rows),
        notes=(
            f"means of {len(options.seeds)} seeds, not quantised; differences are pairs of equal "
            "seeds, with the standard error of their mean",
            f"{config.model} on {config.data.partition(':')[0]}; {config.backbone_epochs} epochs "
            f"of the plain network, {config.base_epochs} of the member with all maps, "
            f"{config.member_epochs} of each other",
        ),
    )


def _difference(values: list[float], against: list[float]) -> str:
    differences = [a - b for a, b in zip(values, against, strict=True)]
    mean = statistics.mean(differences)
    if len(differences) < 2:
        return f"{mean:+.2f}"
    error = statistics.stdev(differences) / len(differences) ** 0.5
    return f"{mean:+.2f} ± {error:.2f}"


def _train(config: PruneConfig, out: Path, progress: TrainingProgress) -> Run:
    out.parent.mkdir(parents=True, exist_ok=True)
    return train_prune(config, out, resume=True, progress=progress)
