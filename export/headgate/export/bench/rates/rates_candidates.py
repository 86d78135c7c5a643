"""What the rates benchmark lists: the family's points, the paper's payload, pictures as rivals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headgate.export.bench.rates.rates_rows import (
    Series,
    graph_name,
    group_of,
    picture_group,
    series_of,
)
from headgate.export.points.candidates import offload_point_id
from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.profiles.pictures import WEBP_METHOD, encode_picture

BEST_WEBP_METHOD = 6

Pictures = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row before it is measured; `id` is the row's, `point` is how engines are to answer it."""

    id: str
    point: OperatingPoint
    series: Series
    group: str
    own: bool
    webp_method: int = WEBP_METHOD
    raw_of: str | None = None  # sends the same integers as this row, without a codec
    raw_bytes: int | None = None

    @property
    def is_picture(self) -> bool:
        return self.point.kind is PointKind.OFFLOAD

    @property
    def encoding(self) -> tuple[str, int, int]:
        """A key that sorts: equal for pictures that are the same bytes."""
        if self.is_picture:
            point = self.point
            return f"picture {point.picture_format}", self.webp_method, _quality(point)
        return "point", 0, 0

    def encode(self, picture_HWC: Pictures) -> bytes:
        """Return the picture as this candidate sends it."""
        assert self.point.picture_format is not None
        return encode_picture(
            picture_HWC,
            self.point.picture_format,  # type: ignore[arg-type]
            _quality(self.point),
            webp_method=self.webp_method,
        )


def own_candidates(manifest: Manifest) -> list[Candidate]:
    """Return the family's own points that single pictures can show, in its order."""
    return [
        Candidate(point.id, point, series_of(point), group_of(point, manifest), own=True)
        for point in manifest.points
        if point.twin is None
    ]


def paper_candidates(manifest: Manifest, points: Sequence[OperatingPoint]) -> list[Candidate]:
    """Return the paper's payload twice per member: through zstd, and as it is."""
    found = []
    for point in points:
        assert point.member is not None
        zstd_id = f"{point.id}-zstd"
        num_bytes = manifest.member(point.member).features.nbytes
        found.append(Candidate(zstd_id, point, Series.PAPER, "paper: uint8, zstd", own=False))
        raw = Candidate(point.id, point, Series.PAPER, "paper: uint8", own=False)
        found.append(replace(raw, raw_of=zstd_id, raw_bytes=num_bytes))
    return found


def rival_pictures(
    manifest: Manifest,
    jpeg_qualities: Sequence[int],
    webp_qualities: Sequence[int],
    *,
    best_webp: bool,
) -> list[Candidate]:
    """Return pictures at every quality into every whole network, without the family's own."""
    asked = [("jpeg", WEBP_METHOD, quality) for quality in jpeg_qualities]
    asked += [("webp", WEBP_METHOD, quality) for quality in webp_qualities]
    if best_webp:
        asked += [("webp", BEST_WEBP_METHOD, quality) for quality in webp_qualities]
    own = {(p.picture_format, p.picture_quality, p.graph) for p in manifest.points}
    own_ids = {point.id for point in manifest.points}
    found = []
    for graph in offload_graphs(manifest):
        for picture_format, method, quality in dict.fromkeys(asked):
            if method == WEBP_METHOD and (picture_format, quality, graph) in own:
                continue
            rival = _picture(manifest, graph, picture_format, quality, webp_method=method)
            if rival.id in own_ids:  # the family's own point sends it into another network
                rival = replace(rival, id=f"{rival.id}-{graph_name(graph)}")
            found.append(rival)
    return found


def offload_graphs(manifest: Manifest) -> list[str]:
    """Return the whole networks that pictures can be sent into, the plain one first."""
    graphs = [point.graph for point in manifest.points if point.kind is PointKind.OFFLOAD]
    return list(dict.fromkeys([manifest.full_graph, *(g for g in graphs if g is not None)]))


def lossless_point(graph: str, manifest: Manifest) -> OperatingPoint:
    """Return a point whose payload is a picture that lost nothing."""
    return _offload(f"lossless-{graph}", "webp", 100, graph, manifest)


def lossless_payload(picture_HWC: Pictures) -> bytes:
    """Return the picture without loss, quickly: its size is not to be compared with anything."""
    out = BytesIO()
    image = Image.fromarray(np.ascontiguousarray(picture_HWC))
    image.save(out, "WEBP", lossless=True, quality=0, method=0, exact=True)
    return out.getvalue()


def _picture(
    manifest: Manifest, graph: str, picture_format: str, quality: int, *, webp_method: int
) -> Candidate:
    point_id = offload_point_id(picture_format, quality)
    best = picture_format == "webp" and webp_method == BEST_WEBP_METHOD
    if best:
        point_id += f"-m{webp_method}"
    if graph != manifest.full_graph:
        point_id += f"-{graph_name(graph)}"
    group = picture_group(
        picture_format, graph, manifest, webp_method=webp_method if best else None
    )
    return Candidate(
        id=point_id,
        point=_offload(point_id, picture_format, quality, graph, manifest),
        series=Series(picture_format),
        group=group,
        own=False,
        webp_method=webp_method,
    )


def _offload(
    point_id: str, picture_format: str, quality: int, graph: str, manifest: Manifest
) -> OperatingPoint:
    return OperatingPoint(
        id=point_id,
        kind=PointKind.OFFLOAD,
        metrics={manifest.primary_metric: 0.0},
        picture_format=picture_format,
        picture_quality=quality,
        graph=graph,
    )


def _quality(point: OperatingPoint) -> int:
    assert point.picture_quality is not None
    return point.picture_quality
