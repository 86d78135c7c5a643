"""Measure a family and its rivals on labelled pictures: every row of the rates benchmark.

The family's points go through the runtime's own engines and codec. Beside them stand pictures at
many qualities, JPEG with optimised Huffman tables and 4:2:0, WebP with the device's method and
with the best one, into every whole network that the family has; and the prune paper's payload, the
member's maps at uint8, raw and compressed. Accuracies are measured first; times afterwards, one
frame at a time and in turns, so that a machine that gets busy hits all rows alike.

Shapes: N pictures, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headgate.export.bench.rates.paper_points import paper_points
from headgate.export.bench.rates.rates_candidates import (
    Candidate,
    lossless_payload,
    lossless_point,
    offload_graphs,
    own_candidates,
    paper_candidates,
    rival_pictures,
)
from headgate.export.bench.rates.rates_pictures import LabelledPictures
from headgate.export.bench.rates.rates_rows import (
    PREDICTED_NOTE,
    Full,
    Rates,
    Row,
    Sample,
    Series,
    graph_name,
    group_of,
    standard_error,
)
from headgate.export.bench.rates.rates_times import frame_times
from headgate.export.points.measure import (
    Engines,
    Layers,
    edge_probabilities,
    measure_points,
    open_engines,
)
from headgate.export.points.points import Measured, byte_stats
from headgate.profiles.errors import UsageError
from headgate.profiles.family import Family
from headgate.profiles.manifest import Manifest
from headgate.runtime.networks.graphs import EngineOptions

QUALITIES = (1, 2, 3, 5, 8, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 95)

Say = Callable[[str], None]
Pictures = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class MeasureOptions:
    """What to measure beside the family's own points."""

    jpeg_qualities: tuple[int, ...] = QUALITIES
    webp_qualities: tuple[int, ...] = QUALITIES
    best_webp: bool = True  # WebP once more with the most effort that libwebp has
    paper: bool = True
    threads: int = 1  # of the engines

    def check(self) -> None:
        """Refuse numbers that make no row."""
        for option, qualities in (
            ("--jpeg-qualities", self.jpeg_qualities),
            ("--webp-qualities", self.webp_qualities),
        ):
            wrong = [quality for quality in qualities if not 1 <= quality <= 100]
            if wrong:
                raise UsageError(f"{option}: {wrong[0]} is impossible; give numbers from 1 to 100")
        if self.threads < 0:
            raise UsageError(f"--threads: found {self.threads}, expected 0 or more")


def measure_rates(
    family: Family, pictures: LabelledPictures, options: MeasureOptions, say: Say
) -> Rates:
    """Return every row, measured on `pictures`: the family's points first, in its order."""
    options.check()
    engine_options = EngineOptions(providers="cpu", threads=options.threads)
    notes = list(pictures.notes)
    paper = paper_points(family, pictures.pictures, options=engine_options) if options.paper else []
    if options.paper and not paper:
        notes.append("the family has no members, so the paper's payload is absent")
    manifest = replace(family.manifest, points=(*family.manifest.points, *paper))
    engines = open_engines(Family(family.path, manifest), threads=options.threads)
    candidates = [
        *own_candidates(family.manifest),
        *paper_candidates(family.manifest, paper),
        *rival_pictures(family.manifest, options.jpeg_qualities, options.webp_qualities,
                        best_webp=options.best_webp),
    ]  # fmt: skip
    samples = _samples(candidates, engines, pictures, say)
    say("timing, one frame at a time")
    times = frame_times(candidates, engines, pictures.pictures)
    rows = tuple(
        replace(_row(candidate, samples[candidate.id]), time=times[candidate.id])
        for candidate in candidates
    )
    full, more = _full(family, engines, pictures)
    predicted = predicted_rows(family.manifest, rows)
    if predicted:
        notes.append(PREDICTED_NOTE)
    return Rates((*rows, *predicted), full, len(pictures), (*notes, *more))


def predicted_rows(manifest: Manifest, rows: Sequence[Row]) -> list[Row]:
    """Return the predicted points: bytes of the manifest, all else of the points they predict."""
    by_id = {row.id: row for row in rows}
    found = []
    for point in manifest.points:
        if point.twin is not None:
            found.append(
                replace(
                    by_id[point.twin],
                    id=point.id,
                    series=Series.PREDICTED,
                    group=group_of(point, manifest),
                    bytes=point.bytes,
                    sample=None,
                )
            )
    return found


def _samples(
    candidates: list[Candidate], engines: Engines, pictures: LabelledPictures, say: Say
) -> dict[str, Sample]:
    """Return what every picture gave, per candidate. Pictures are encoded once for all networks."""
    found: dict[str, Sample] = {}
    encoded: tuple[object, list[Layers]] = (None, [])
    run = [each for each in candidates if not each.is_picture and each.raw_of is None]
    by_point = {candidate.point.id: candidate.id for candidate in run}

    def tell(candidate_id: str, sample: Sample) -> None:
        found[candidate_id] = sample
        accuracy, mean_bytes = sample.right_N.mean(), sample.sizes_N.mean()
        say(f"{candidate_id}: accuracy {accuracy:.4f}, {mean_bytes:.0f} bytes")

    for candidate in sorted(candidates, key=lambda each: each.encoding):
        if candidate.is_picture:
            if encoded[0] != candidate.encoding:
                encoded = (candidate.encoding, [])
                encoded[1].extend((candidate.encode(picture),) for picture in pictures.pictures)
            tell(candidate.id, _picture_sample(candidate, engines, encoded[1], pictures))
    points = [candidate.point for candidate in run]
    for item in measure_points(
        points, engines, pictures_NHWC=pictures.pictures, labels=pictures.labels
    ):
        tell(by_point[item.point.id], _point_sample(item))
    for candidate in candidates:
        if candidate.raw_of is not None:  # answers as its compressed form
            right_N = found[candidate.raw_of].right_N
            assert candidate.raw_bytes is not None
            sizes_N = np.full(len(right_N), candidate.raw_bytes, np.int64)
            tell(candidate.id, Sample(right_N, sizes_N))
    return found


def _picture_sample(
    candidate: Candidate, engines: Engines, sent: Sequence[Layers], pictures: LabelledPictures
) -> Sample:
    probabilities_NK = edge_probabilities(candidate.point, engines.tail, sent)
    right_N = probabilities_NK.argmax(axis=1) == pictures.labels
    return Sample(right_N, np.array([sum(map(len, each)) for each in sent], np.int64))


def _point_sample(item: Measured) -> Sample:
    """Return what pictures gave at a point of the family, or of the paper."""
    sizes_N = item.sizes if len(item.sizes) else np.zeros(len(item.right), np.int64)
    return Sample(item.right, sizes_N, item.exit_accuracy)


def _row(candidate: Candidate, sample: Sample) -> Row:
    accuracy = float(sample.right_N.mean())
    return Row(
        id=candidate.id,
        series=candidate.series,
        group=candidate.group,
        accuracy=accuracy,
        error=standard_error(accuracy, len(sample.right_N)),
        bytes=byte_stats(sample.sizes_N.tolist()),
        own=candidate.own,
        sample=sample,
    )


def _full(
    family: Family, engines: Engines, pictures: LabelledPictures
) -> tuple[Full, tuple[str, ...]]:
    """Run the whole network, and others the family has, on pictures that lost nothing."""
    sent = [(lossless_payload(picture),) for picture in pictures.pictures]
    manifest = family.manifest
    found: dict[str, Full] = {}
    for graph in offload_graphs(manifest):
        point = lossless_point(graph, manifest)
        probabilities_NK = edge_probabilities(point, engines.tail, sent)
        right_N = probabilities_NK.argmax(axis=1) == pictures.labels
        accuracy = float(right_N.mean())
        found[graph] = Full(accuracy, standard_error(accuracy, len(right_N)), right_N)
    notes = tuple(
        f"the {graph_name(graph)} network has {100 * full.accuracy:.1f} % on uncompressed pictures"
        for graph, full in found.items()
        if graph != manifest.full_graph
    )
    return found[manifest.full_graph], notes
