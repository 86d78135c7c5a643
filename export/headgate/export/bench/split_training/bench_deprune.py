"""What split training with changing budgets saves on the network, and what it costs in accuracy.

Ways to train one network across a link are compared: all maps from the first epoch on in float32
(no compression) or in fewer bits (all maps), few maps to the last (high compression), and few maps
first, or last (deprune). Every number of bytes was counted on the messages. A saving is the bytes
of no compression up to the same epoch, divided by a series' own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headgate.export.bench.bench_table import BenchResult, Goal, provenance
from headgate.export.bench.split_training.deprune_runs import (
    ADASPLIT,
    HIGH_COMPRESSION,
    NO_COMPRESSION,
    SAVING,
    Series,
    find_runs,
    series_of,
)
from headgate.export.bench.split_training.plot_deprune import draw_deprune
from headgate.export.figures import NARROW_IN, WIDE_IN
from headgate.export.page import bullets, facts, page, paragraphs, text_table, themed_picture
from headgate.profiles.storage import write_atomic
from headgate.train.recipe import PruneConfig
from headgate.train.split_training.deprune import prepare
from headgate.train.split_training.once import train_once
from headgate.train.split_training.settings import PLAIN_BITS, DepruneSettings, Phase

NAME = "deprune"
ADASPLIT_NAME = "adasplit"
TITLES = {
    NAME: "Split training with changing budgets",
    ADASPLIT_NAME: "Split training of clients that learn from their own loss",
}
MARGIN = 0.01  # below no compression that counts as equal


@dataclass(frozen=True, slots=True)
class DepruneOptions:
    """What to train for the comparison, and where."""

    config: PruneConfig
    settings: DepruneSettings
    num_clients: int
    seeds: tuple[int, ...]
    folder: Path


def train_ways(options: DepruneOptions, *, say: Callable[[str], None]) -> list[Path]:
    """Train all ways for each seed; a run that is there already is taken as it is.

    No compression sends whole maps in float32 whatever is asked for; where that is less, all maps
    train so too. See `train_each` for what it raises.
    """
    config, settings = options.config, options.settings
    num_maps = prepare(config, settings).blueprint.num_maps
    every = replace(settings, phases=(Phase(num_maps, settings.num_epochs),))
    fewest = min(phase.budget for phase in settings.phases)
    few = replace(settings, phases=(Phase(fewest, settings.num_epochs),))
    plain = replace(every, feature_bits=PLAIN_BITS, gradient_bits=PLAIN_BITS, compress=False)
    whole = replace(config, resolution_factor=1)
    ways = {"none": (whole, plain), "high": (config, few), "deprune": (config, settings)}
    if (whole, plain) != (config, every):
        ways["all"] = (config, every)
    return train_each(options, ways, say=say)


def train_each(
    options: DepruneOptions,
    ways: Mapping[str, tuple[PruneConfig, DepruneSettings]],
    *,
    say: Callable[[str], None],
) -> list[Path]:
    """Train each way for each seed, but for what is there already; return the runs.

    Raises UsageError where a run that is there was trained otherwise.
    """
    paths = []
    for seed in options.seeds:
        for name, (recipe, way) in ways.items():
            path = options.folder / f"{name}-s{seed}"
            paths.append(path)
            train_once(
                replace(recipe, seed=seed),
                way,
                path,
                num_clients=options.num_clients,
                said=f"seed {seed}, {name}",
                say=say,
            )
    return paths


def bench_deprune(paths: Sequence[Path], *, name: str = NAME) -> tuple[BenchResult, list[Series]]:
    """Compare runs of split training."""
    series = series_of(find_runs(paths))
    rows = [_row(each, series) for each in series]
    columns = (
        "series",
        "split",
        "seeds",
        "epochs",
        "accuracy, %",
        "exit alone, %",
        "MB",
        "saving",
        "MB to 1 point under no compression",
    )
    notes: tuple[str, ...] = (
        "bytes are those of all parts of all messages, both ways, counted as they were sent",
        "accuracy: mean and deviation over seeds, after the last epoch, of the validation pictures",
        "exit alone: what clients' layers answer by themselves, with nothing sent",
    )
    if any(each.kind == ADASPLIT for each in series):
        notes += ("adasplit S, N alone, then P %: no maps cross in N epochs, then P % of batches",)
    result = BenchResult(name, columns, tuple(rows), goals=tuple(_goals(series)), notes=notes)
    return result, series


def write_deprune_report(result: BenchResult, series: Sequence[Series], folder: Path) -> Path:
    """Write NAME.html and NAME.png, by the result's name; return the path of the report."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / f"{result.name}.png", draw_deprune(series, WIDE_IN))
    write_atomic(folder / f"{result.name}-narrow.png", draw_deprune(series, NARROW_IN))
    chart = themed_picture(
        lambda width_in, theme: draw_deprune(series, width_in, theme),
        alt="accuracy against epochs and bytes, throughput over time, one line per series",
    )
    goals = [
        f"{goal.text}: {goal.value:.3g}, {'met' if goal.met else 'not met'}"
        for goal in result.goals
    ]
    body = "\n".join(
        [
            f"<h1>{TITLES[result.name]}</h1>",
            paragraphs(_lead(series)),
            chart,
            text_table(result.columns, result.rows, caption="All series"),
            bullets(goals) if goals else "",
            bullets(result.notes),
            "<h2>How this was made</h2>",
            facts(provenance()),
        ]
    )
    path = folder / f"{result.name}.html"
    write_atomic(path, page("Headgate: split training", body))
    return path


def baseline_of(series: Series, others: Sequence[Series]) -> Series | None:
    """Return the plain run of all maps to compare with: same split and maps, as many epochs.

    Of several it is the best.
    """
    fitting = [
        other
        for other in others
        if other.kind == NO_COMPRESSION
        and other.num_epochs >= series.num_epochs
        and _cut_of(other) == _cut_of(series)
    ]
    return min(
        fitting,
        key=lambda other: (other.num_epochs, -other.accuracy(other.num_epochs)[0]),
        default=None,
    )


def _cut_of(series: Series) -> tuple[object, ...]:
    run = series.runs[0]
    blueprint, partition = run.record.blueprint, run.settings.partition
    return blueprint.model, blueprint.width, blueprint.split, run.record.dataset.spec, partition


def saving(series: Series, others: Sequence[Series]) -> float:
    """Return how many times fewer bytes it sent than no compression; NaN if nothing compares.

    Both are per picture: runs may have unlike numbers of seeds, but see the same pictures.
    """
    baseline = baseline_of(series, others)
    if baseline is None:
        return math.nan
    epochs = series.num_epochs
    return baseline.mean_bytes(epochs) / series.mean_bytes(epochs)


def _row(series: Series, others: Sequence[Series]) -> tuple[str, ...]:
    mean, deviation = series.accuracy(series.num_epochs)
    baseline = baseline_of(series, others)
    needed = None
    if baseline is not None:
        aim = baseline.accuracy(baseline.num_epochs)[0] - MARGIN
        needed = series.bytes_to_accuracy(aim)
    return (
        series.label,
        series.split,
        str(len(series.runs)),
        str(series.num_epochs),
        f"{100 * mean:.2f}" + (f" ± {100 * deviation:.2f}" if len(series.runs) > 1 else ""),
        f"{100 * series.exit_accuracy(series.num_epochs):.2f}",
        f"{series.mean_bytes(series.num_epochs) / 1e6:.1f}",
        "" if baseline is None else f"{saving(series, others):.2f}",
        "" if needed is None else f"{needed / 1e6:.1f}",
    )


def _goals(series: Sequence[Series]) -> list[Goal]:
    """Hold what saves bytes to within a point of no compression, and above high compression."""
    goals = []
    for each in series:
        baseline = baseline_of(each, series)
        if each.kind not in SAVING or baseline is None:
            continue
        accuracy = each.accuracy(each.num_epochs)[0]
        lost = 100 * (baseline.accuracy(baseline.num_epochs)[0] - accuracy)
        goals.append(Goal(f"{each.label}: points lost at most 1", lost, lost <= 100 * MARGIN))
        for high in series:
            if high.kind == HIGH_COMPRESSION and _cut_of(high) == _cut_of(each):
                won = 100 * (accuracy - high.accuracy(high.num_epochs)[0])
                goals.append(Goal(f"{each.label}: points above {high.label}", won, won > 0))
    return goals


def _lead(series: Sequence[Series]) -> list[str]:
    lines = []
    for each in series:
        if each.kind not in SAVING:
            continue
        text = f"{each.label} reached {_reached(each)}"
        baseline = baseline_of(each, series)
        if baseline is not None:
            text += (
                f" with {saving(each, series):.1f} times fewer bytes than no compression, which "
                f"reached {_reached(baseline)}"
            )
        exit_accuracy = 100 * each.exit_accuracy(each.num_epochs)
        lines.append(
            f"{text}. Its early exit alone, which sends nothing, reached {exit_accuracy:.1f} %."
        )
    none = "No run here lets its budget grow, or its clients learn from their own loss."
    return [*(lines or [none]), *_cheapest(series)]


def _reached(series: Series) -> str:
    return f"{100 * series.accuracy(series.num_epochs)[0]:.1f} %"


def _cheapest(series: Sequence[Series]) -> list[str]:
    """Say which way sent the fewest bytes of those that are as right as no compression."""
    equal, compared = [], False
    for each in series:
        baseline = baseline_of(each, series)
        if baseline is None or each.kind == NO_COMPRESSION:
            continue
        compared = True
        lost = baseline.accuracy(baseline.num_epochs)[0] - each.accuracy(each.num_epochs)[0]
        if lost <= MARGIN:
            equal.append((saving(each, series), each, lost))
    if not equal:
        return ["Nothing here comes within a point of no compression."] if compared else []
    factor, best, lost = max(equal, key=lambda found: found[0])
    place = f"{100 * abs(lost):.1f} points {'below' if lost > 0 else 'above'} it"
    return [
        f"Of all that is within a point of no compression, {best.label} sent the fewest bytes: "
        f"{factor:.1f} times fewer, {place}."
    ]
