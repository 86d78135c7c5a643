"""One way to answer a frame as the rates benchmark lists it, and what all of them were measured on.

Rows come from measurements (with what every single picture gave, so that two rows can be compared
in pairs) or from a manifest (sums only).

Shapes: N pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import sqrt
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from headgate.profiles.ladder import LADDER
from headgate.profiles.manifest import ByteStats, Manifest, OperatingPoint, PointKind, PointTime
from headgate.runtime.choice.pareto import worth_their_cost

PREDICTED_NOTE = (
    "predicted points send what changed: their bytes are those of the video they were exported "
    "with, so they are not compared with single pictures"
)
PICTURE_NAMES = {"jpeg": "JPEG", "webp": "WebP"}


class Series(Enum):
    """What is sent."""

    SPLIT = "split"  # quantised maps, as the family offers them
    JPEG = "jpeg"
    WEBP = "webp"
    PAPER = "paper"  # the prune paper's payload: the member's maps at uint8
    LOCAL = "local"  # nothing
    PREDICTED = "predicted"  # changes against an earlier frame; bytes are those of a video

    @property
    def is_picture(self) -> bool:
        return self in (Series.JPEG, Series.WEBP)


@dataclass(frozen=True, slots=True)
class Sample:
    """What each picture gave: was the answer right, and how many bytes were sent."""

    right_N: NDArray[np.bool_]
    sizes_N: NDArray[np.int64]
    exit_accuracy: float | None = None  # split: of the early exit that rides along


@dataclass(frozen=True, slots=True)
class Row:
    """One point, of the family (`own`) or measured beside it."""

    id: str
    series: Series
    group: str  # rows of one group are one line of the plot
    accuracy: float  # 0 to 1
    error: float | None  # standard error of `accuracy`
    bytes: ByteStats
    own: bool
    time: PointTime | None = None
    sample: Sample | None = None

    @property
    def mean_bytes(self) -> float:
        return self.bytes.mean

    @property
    def compute_s(self) -> float | None:
        """Seconds on device and edge together, encoding and decoding included."""
        return None if self.time is None else self.time.device_s + self.time.edge_s


@dataclass(frozen=True, slots=True)
class Full:
    """The whole network on pictures that lost nothing: what every other answer is held against."""

    accuracy: float
    error: float | None
    right_N: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """All rows of one family. `full` is None where a manifest does not say."""

    rows: tuple[Row, ...]
    full: Full | None
    num_pictures: int | None
    notes: tuple[str, ...] = ()

    def of(self, *series: Series) -> list[Row]:
        """Return the rows of these series by rising bytes."""
        found = [row for row in self.rows if row.series in series]
        return sorted(found, key=lambda row: (row.mean_bytes, row.id))

    @property
    def groups(self) -> dict[str, list[Row]]:
        """The rows by group, in the order in which groups first appear."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.group, []).append(row)
        return {name: sorted(rows, key=lambda row: row.mean_bytes) for name, rows in found.items()}


def standard_error(accuracy: float, num_pictures: int) -> float:
    """Return the standard error of a share that was measured on so many pictures."""
    return sqrt(max(0.0, accuracy * (1 - accuracy)) / num_pictures)


def rates_of_manifest(manifest: Manifest) -> Rates:
    """Return what the family's own export measured; nothing is run."""
    num = _num_validated(manifest)
    is_ladder = LADDER in manifest.provenance  # whose local points need not be the whole network
    times = manifest.times[min(manifest.times)] if manifest.times else {}
    rows = []
    full = None
    for point in manifest.points:
        accuracy = point.metrics[manifest.primary_metric]
        error = None if num is None else standard_error(accuracy, num)
        row = Row(
            id=point.id,
            series=series_of(point),
            group=group_of(point, manifest),
            accuracy=accuracy,
            error=error,
            bytes=point.bytes,
            own=True,
            time=times.get(point.id),
        )
        rows.append(row)
        whole = point.kind is PointKind.LOCAL and point.graph == manifest.full_graph
        if whole and not is_ladder:
            full = Full(accuracy, error)
    notes = [
        "accuracy, bytes and times as the ladder gives them"
        if is_ladder
        else "accuracy and bytes as they were measured when the family was exported"
    ]
    if num is not None:
        notes.append(f"{num} validation pictures")
    if any(row.series is Series.PREDICTED for row in rows):
        notes.append(PREDICTED_NOTE)
    return Rates(tuple(rows), full, num, tuple(notes))


def series_of(point: OperatingPoint) -> Series:
    if point.kind is PointKind.OFFLOAD:
        return Series(point.picture_format)
    if point.twin is not None:
        return Series.PREDICTED
    return Series.SPLIT if point.kind is PointKind.SPLIT else Series.LOCAL


def group_of(point: OperatingPoint, manifest: Manifest) -> str:
    """Return the name of the line that the point lies on."""
    if point.kind is PointKind.OFFLOAD:
        assert point.picture_format is not None
        assert point.graph is not None
        return picture_group(point.picture_format, point.graph, manifest)
    if point.kind is PointKind.LOCAL or point.member is None:
        return point.id
    member = manifest.member(point.member)
    if LADDER in manifest.provenance:  # how many maps and levels are made up
        whole = point.prefix is None
        return "of the ladder" if whole else f"{member.id} in {len(member.layers)} layers"
    maps = f"{member.budget} map{'s' if member.budget > 1 else ''}"
    if member.resolution_factor > 1:
        maps += f", r = {member.resolution_factor}"
    if point.prefix is not None:  # the prefixes of one series are a line
        maps += f" in {len(member.layers)} layers, {point.levels} levels"
    return maps if point.twin is None else f"{maps}, predicted"


def picture_group(
    picture_format: str, graph: str, manifest: Manifest, *, webp_method: int | None = None
) -> str:
    """Return the name of the line of one picture format into one whole network."""
    name = PICTURE_NAMES[picture_format]
    if webp_method is not None:
        name += f", method {webp_method}"
    return name if graph == manifest.full_graph else f"{name}, {graph_name(graph)} network"


def graph_name(path: str) -> str:
    """Return a short name of a graph: `tuned` for tuned/model.onnx as for full/tuned.onnx."""
    pure = PurePosixPath(path)
    parts = [part for part in (*pure.parent.parts, pure.stem) if part not in ("model", "1")]
    return parts[-1] if parts else path


def undominated(rows: Sequence[Row]) -> list[Row]:
    """Return, by rising bytes, the rows that no smaller one equals in accuracy."""
    return worth_their_cost(rows, cost=lambda row: row.mean_bytes, worth=lambda row: row.accuracy)


def _num_validated(manifest: Manifest) -> int | None:
    text = manifest.provenance.get("validation_pictures", "")
    return int(text) if text.isdecimal() and int(text) > 0 else None
