"""What `--rate-weight` buys: bytes of the real codec, and of ideal tables, against accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from headgate.export.bench.bench_table import BenchResult
from headgate.export.options import ExportOptions
from headgate.export.pipeline import export_family
from headgate.profiles.family import open_family
from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.train.folder.run_folder import Run
from headgate.train.recipe import PruneConfig
from headgate.train.run.progress import TrainingProgress
from headgate.train.run.prune import train_prune


@dataclass(frozen=True, slots=True)
class RateWeightOptions:
    """Which family to train once for each weight, all from one plain network."""

    recipe: PruneConfig
    folder: Path  # runs that are complete there are not trained again
    weights: tuple[float, ...]


def bench_rate_weights(
    options: RateWeightOptions, *, progress: TrainingProgress, say: Callable[[str], None]
) -> BenchResult:
    """Train and export what is not there yet; one row for each point of each weight."""
    options.folder.mkdir(parents=True, exist_ok=True)
    recipe = options.recipe
    if recipe.backbone is None:
        plain = options.folder / "plain"
        say("plain network")
        first = replace(recipe, budgets=recipe.budgets[:1], base_epochs=1, member_epochs=1)
        train_prune(first, plain, resume=True, progress=progress)
        recipe = replace(recipe, backbone=str(plain), epochs=None)
    rows: list[tuple[str, ...]] = []
    for weight in options.weights:
        say(f"rate weight {weight:g}")
        config = replace(recipe, rate_weight=weight)
        run = train_prune(
            config, options.folder / f"run-{weight:g}", resume=True, progress=progress
        )
        family = options.folder / f"family-{weight:g}"
        levels = recipe.levels
        asked = ExportOptions(
            levels=levels, jpeg_qualities=(), webp_qualities=(), local_full=False, force=True
        )
        export_family(run.path, family, asked, say)
        rows += weight_rows(weight, run, open_family(family).manifest)
    return BenchResult(
        name="Rate weights",
        columns=("rate weight", "point", "accuracy, %", "mean bytes", "ideal static tables, B"),
        rows=tuple(sorted(rows, key=lambda row: (row[1], float(row[0])))),
        notes=(
            f"{recipe.model} x {recipe.width or 1:g} on {recipe.data.partition(':')[0]}, "
            f"{recipe.base_epochs} epochs of the member with all maps, {recipe.member_epochs} of "
            "each other, all from one plain network; bytes are those of the exported points",
            "ideal tables: one per map, counted while training, no header and no context",
        ),
    )


def weight_rows(weight: float, run: Run, manifest: Manifest) -> list[tuple[str, ...]]:
    """Return a row for each split point; export drops those that a cheaper one equals."""
    return [
        (
            f"{weight:g}",
            point.id,
            f"{100 * point.metrics[manifest.primary_metric]:.2f}",
            f"{point.bytes.mean:.0f}",
            f"{_ideal_bytes(run, point):.0f}",
        )
        for point in manifest.points
        if point.kind is PointKind.SPLIT
    ]


def _ideal_bytes(run: Run, point: OperatingPoint) -> float:
    assert point.member is not None
    quantised = run.entry(point.member).quantised
    return next(q.rate_bits / 8 for q in quantised if q.levels == point.levels)
