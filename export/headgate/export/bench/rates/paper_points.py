"""The prune paper's payload as points: a member's maps at uint8, with nothing clipped.

Families rarely keep such a point (fewer levels do as well in fewer bytes), so its ranges are found
here: the head is run with ranges that are surely too wide, and what it emits says how wide they
have to be. They come from the very pictures that are measured, which can only favour the paper.

Shapes: N pictures, C sent feature maps, h w their size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headgate.export.graphs.calibrate import MIN_SPAN
from headgate.export.samples import spread
from headgate.profiles.errors import FamilyError
from headgate.profiles.family import Family
from headgate.profiles.manifest import Manifest, Member, OperatingPoint, PointKind
from headgate.profiles.quantise import MAX_LEVELS
from headgate.runtime.networks.family_graphs import HEAD_OUTPUTS
from headgate.runtime.networks.graphs import EngineOptions, Graph
from headgate.runtime.networks.scales import Scales

PAPER_LEVELS = 256
PAPER_CODEC = "zstd"
NUM_CALIBRATION = 256
BATCH = 16
MAX_WIDENINGS = 8  # by four each: more than any float32 activation needs after a sigmoid

assert PAPER_LEVELS <= MAX_LEVELS


@dataclass(frozen=True, slots=True)
class Range:
    """Per channel, [C]: values lie within low and high."""

    low_C: NDArray[np.float64]
    high_C: NDArray[np.float64]

    @property
    def step_C(self) -> NDArray[np.float64]:
        """What one of the 256 levels is worth."""
        return (self.high_C - self.low_C) / (PAPER_LEVELS - 1)


def paper_points(
    family: Family, pictures_NHWC: NDArray[np.uint8], *, options: EngineOptions
) -> list[OperatingPoint]:
    """Return one point with 256 levels per member; none for a family without members."""
    points = []
    seen_NHWC = pictures_NHWC[spread(len(pictures_NHWC), NUM_CALIBRATION)]
    for member in family.manifest.members:
        graph = Graph(family.file(member.head), options=options)
        start = known_range(family.manifest, member)
        found = observed_range(member, graph, seen_NHWC, start=start)
        points.append(
            OperatingPoint(
                id=f"{member.id}-uint8",
                kind=PointKind.SPLIT,
                metrics={family.manifest.primary_metric: 0.0},
                member=member.id,
                levels=PAPER_LEVELS,
                low=tuple(map(float, found.low_C)),
                span=tuple(map(float, found.high_C - found.low_C)),
                codec=PAPER_CODEC,
            )
        )
    return points


def known_range(manifest: Manifest, member: Member) -> Range:
    """Return the widest range over the member's points, or 0 to 1 where it has none."""
    points = [p for p in manifest.points if p.member == member.id and p.kind is PointKind.SPLIT]
    num_channels = member.features.shape[0]
    if not points:
        return Range(np.zeros(num_channels), np.ones(num_channels))
    low_PC = np.array([point.low for point in points], np.float64)
    span_PC = np.array([point.span for point in points], np.float64)
    return Range(low_PC.min(axis=0), (low_PC + span_PC).max(axis=0))


def observed_range(
    member: Member, graph: Graph, pictures_NHWC: NDArray[np.uint8], *, start: Range
) -> Range:
    """Return the range of the head's values on these pictures, to one step of 256.

    Starts from three times `start`, and widens further while values are cut off.
    """
    wide = _widened(start, by=1.0)
    for _ in range(MAX_WIDENINGS):
        least_C, most_C = _extremes(graph, wide, pictures_NHWC)
        if np.all(least_C > 0) and np.all(most_C < PAPER_LEVELS - 1):
            low_C = wide.low_C + (least_C - 0.5) * wide.step_C
            high_C = wide.low_C + (most_C + 0.5) * wide.step_C
            return Range(low_C, np.maximum(high_C, low_C + MIN_SPAN))
        wide = _widened(wide, by=1.5)
    raise FamilyError(
        f"member {member.id}: its head's values do not end within {MAX_WIDENINGS} widenings of "
        "its ranges; export the family again"
    )


def _widened(given: Range, *, by: float) -> Range:
    """Return the range with `by` times its width more on each side."""
    margin_C = by * np.maximum(given.high_C - given.low_C, MIN_SPAN)
    return Range(given.low_C - margin_C, given.high_C + margin_C)


def _extremes(
    graph: Graph, wide: Range, pictures_NHWC: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the smallest and the largest integer of each channel."""
    scales = Scales(
        low=wide.low_C[None].astype(np.float32),
        span=(wide.high_C - wide.low_C)[None].astype(np.float32),
        levels=np.array([[PAPER_LEVELS]], dtype=np.float32),
    )
    least, most = [], []
    for start in range(0, len(pictures_NHWC), BATCH):
        batch_NHWC = pictures_NHWC[start : start + BATCH]
        feeds = scales.feeds(len(batch_NHWC)) | {"picture": batch_NHWC}
        q_NCHW = graph.run(HEAD_OUTPUTS, feeds)[0]
        least.append(q_NCHW.min(axis=(0, 2, 3)))
        most.append(q_NCHW.max(axis=(0, 2, 3)))
    return np.min(least, axis=0).astype(np.int64), np.max(most, axis=0).astype(np.int64)
