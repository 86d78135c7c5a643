"""What `--skip-confident` saves and costs: frames not sent, bytes, accuracy, on labelled pictures.

Every picture is sent at every split point, so that what a rule skips can be compared with what the
edge would have said of the very same pictures. The link plays no part: no frame is late here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from headgate.export.bench.bench_table import BenchResult
from headgate.export.bench.codecs.bench_predict import chosen_points
from headgate.export.bench.rates.rates_pictures import LabelledPictures, load_pictures
from headgate.export.points.exit_confidence import SplitAnswers, split_answers
from headgate.export.points.measure import open_engines
from headgate.profiles.errors import UsageError
from headgate.profiles.family import Family
from headgate.profiles.manifest import Manifest, OperatingPoint
from headgate.runtime.session.events import Answer
from headgate.runtime.session.skipping import AUTO, SkipRule, skip_rule, weigh

STANDARD_ERRORS = 2.0  # within so many, a difference may be chance
COLUMNS = (
    "point",
    "rule",
    "skipped, %",
    "bytes",
    "bytes with skipping",
    "saved, %",
    "top-1, all sent",
    "with skipping",
    "difference",
    "standard error",
    "of the skipped, right",
    "foretold",
)


@dataclass(frozen=True, slots=True)
class SkipOptions:
    """Which rules to try on which points, and on what pictures."""

    family: Family
    data: str
    rules: tuple[str, ...] = (AUTO, "0.9", "0.95")
    points: tuple[str, ...] = ()  # patterns; none: all split points
    limit: int | None = None  # pictures; None: all


@dataclass(frozen=True, slots=True)
class Skipped:
    """What one rule came to at one point. Accuracies are shares, 0 to 1."""

    share: float
    bytes_all: float  # mean payload where all is sent
    bytes_left: float
    accuracy_all: float
    accuracy: float
    error: float  # standard error of the difference of the two
    right: float | None  # of the skipped frames; None: there are none
    foretold: float | None


def bench_skip(options: SkipOptions, *, say: Callable[[str], None]) -> BenchResult:
    """Send every picture at every point, then look what each rule would have kept back."""
    manifest = options.family.manifest
    rules = {text: skip_rule(text, manifest) for text in options.rules}
    points = chosen_points(manifest, options.points)
    fitted_on = frozenset(manifest.confidence_pictures)
    pictures = load_pictures(manifest, options.data, limit=options.limit, leave_out=fitted_on)
    if not len(pictures):
        raise UsageError(
            f"--data: all {pictures.num_left_out} pictures were used to calibrate the exits; "
            "give others"
        )
    engines = open_engines(options.family, threads=1)
    rows, said = [], []
    for point in points:
        say(f"{point.id}: {len(pictures)} pictures")
        found = split_answers(
            point,
            engines,
            pictures_NHWC=pictures.pictures,
            labels_N=pictures.labels,
        )
        for text, rule in rules.items():
            came_to = try_rule(rule, manifest, point, found)
            rows.append((point.id, text, *_cells(came_to)))
            if text == AUTO:
                said.append(auto_line(point, came_to))
    notes = [*said, *pictures.notes, _left_out(pictures)]
    return BenchResult("Skip", COLUMNS, tuple(rows), notes=tuple(notes))


def try_rule(
    rule: SkipRule, manifest: Manifest, point: OperatingPoint, found: SplitAnswers
) -> Skipped:
    """Return what would have come of answering here whatever the rule keeps back."""
    weighed = [weigh(rule, manifest, point, Answer({}, 0, float(score))) for score in found.scores]
    chances = [each.exit if each is not None and each.enough else None for each in weighed]
    skipped_N = np.array([chance is not None for chance in chances])
    right_N = np.where(skipped_N, found.exit_right, found.edge_right)
    gain_N = right_N.astype(np.float64) - found.edge_right
    known = [chance for chance in chances if chance is not None]
    return Skipped(
        share=float(skipped_N.mean()),
        bytes_all=float(found.sizes.mean()),
        bytes_left=float(np.where(skipped_N, 0, found.sizes).mean()),
        accuracy_all=float(found.edge_right.mean()),
        accuracy=float(right_N.mean()),
        error=float(gain_N.std()) / sqrt(len(gain_N)),
        right=float(found.exit_right[skipped_N].mean()) if known else None,
        foretold=sum(known) / len(known) if known else None,
    )


def _cells(came_to: Skipped) -> Sequence[str]:
    saved = 1 - came_to.bytes_left / max(1e-9, came_to.bytes_all)
    return (
        f"{100 * came_to.share:.1f}",
        f"{came_to.bytes_all:.0f}",
        f"{came_to.bytes_left:.0f}",
        f"{100 * saved:.1f}",
        f"{came_to.accuracy_all:.4f}",
        f"{came_to.accuracy:.4f}",
        f"{came_to.accuracy - came_to.accuracy_all:+.4f}",
        f"{came_to.error:.4f}",
        "-" if came_to.right is None else f"{came_to.right:.3f}",
        "-" if came_to.foretold is None else f"{came_to.foretold:.3f}",
    )


def auto_line(point: OperatingPoint, came_to: Skipped) -> str:
    """Say whether frames that auto keeps back cost accuracy, beyond what chance explains."""
    change = came_to.accuracy - came_to.accuracy_all
    lost = change < -STANDARD_ERRORS * came_to.error
    told = "more than chance explains" if lost else "no loss beyond chance"
    return (
        f"{point.id}: {AUTO} keeps back {100 * came_to.share:.1f} % of the frames and changes the "
        f"accuracy by {100 * change:+.2f} ± {100 * came_to.error:.2f} points, {told}"
    )


def _left_out(pictures: LabelledPictures) -> str:
    return (
        f"{pictures.num_left_out} pictures left out, on which the exits were calibrated; "
        f"{len(pictures)} counted"
    )
