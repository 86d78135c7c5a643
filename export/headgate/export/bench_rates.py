"""Accuracy against bytes of a family beside JPEG and WebP, on pictures of a realistic size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headgate.export.bench_table import BenchResult
from headgate.export.options import ExportOptions
from headgate.export.pipeline import export_family
from headgate.export.plots import draw_points
from headgate.profiles.family import open_family
from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.profiles.storage import write_atomic
from headgate.train.progress import TrainingProgress
from headgate.train.prune import train_prune
from headgate.train.recipe import PruneConfig


@dataclass(frozen=True, slots=True)
class RatesOptions:
    """What to train; the runs and the family go to `folder` and are not made twice."""

    data: str
    folder: Path
    model: str = "resnet18"
    split: str = "stages.2"  # maps of 10 x 10 at 160 px: few bytes need few values
    budgets: tuple[int, ...] = (64, 12, 6)
    epochs: int = 60
    base_epochs: int = 8
    member_epochs: int = 8
    distill: float = 0.5
    rate_weight: float = 0.0
    width: float = 0.5
    input_px: int | None = None
    pictures: int | None = None
    precision: str = "auto"
    seed: int = 0

    def recipe(self) -> PruneConfig:
        """Return the training run."""
        return PruneConfig(
            data=self.data,
            model=self.model,
            width=self.width,
            split=self.split,
            budgets=self.budgets,
            epochs=self.epochs,
            base_epochs=self.base_epochs,
            member_epochs=self.member_epochs,
            distill=self.distill,
            rate_weight=self.rate_weight,
            input_px=self.input_px,
            limit=self.pictures,
            precision=self.precision,
            seed=self.seed,
        )


def bench_rates(
    options: RatesOptions, *, progress: TrainingProgress, say: Callable[[str], None]
) -> BenchResult:
    """Train and export what is not there yet; return the table and draw it as rates.png."""
    run, family = options.folder / "run", options.folder / "family"
    options.folder.mkdir(parents=True, exist_ok=True)
    train_prune(options.recipe(), run, resume=True, progress=progress)
    say("exporting and measuring every operating point")
    export_family(run, family, ExportOptions(force=True), say)
    manifest = open_family(family).manifest
    write_atomic(options.folder / "rates.png", draw_points(manifest))
    return rates_table(manifest, options)


def rates_table(manifest: Manifest, options: RatesOptions) -> BenchResult:
    """List all points by their bytes, each with the smallest picture that is as accurate."""
    rows = []
    for point in sorted(manifest.points, key=lambda point: (point.bytes.mean, point.id)):
        rival = smallest_picture(manifest, at_least=manifest.quality(point))
        rows.append(
            (
                point.id,
                f"{100 * point.metrics[manifest.primary_metric]:.1f}",
                f"{point.bytes.mean:.0f}",
                f"{point.bytes.p95:.0f}",
                _against(point, rival),
            )
        )
    size = f"{manifest.input.width_px} x {manifest.input.height_px} px"
    return BenchResult(
        name="Rates",
        columns=("point", "accuracy, %", "mean bytes", "95 % below", "smallest picture as good"),
        rows=tuple(rows),
        notes=(
            f"{options.data.partition(':')[0]} at {size}, {options.model} x {options.width:g} cut "
            f"after {options.split}, {options.epochs} epochs",
            "JPEG with optimised Huffman tables, 4:2:0; WebP method 4",
        ),
    )


def smallest_picture(manifest: Manifest, *, at_least: float) -> OperatingPoint | None:
    """Return the picture with the fewest bytes whose accuracy is no less, or None."""
    good = [
        point
        for point in manifest.points
        if point.kind is PointKind.OFFLOAD and manifest.quality(point) >= at_least
    ]
    return min(good, key=lambda point: point.bytes.mean, default=None)


def _against(point: OperatingPoint, rival: OperatingPoint | None) -> str:
    if point.kind is not PointKind.SPLIT:
        return ""
    if rival is None:
        return "none"
    return f"{rival.id}, {rival.bytes.mean / point.bytes.mean:.1f} x the bytes"
