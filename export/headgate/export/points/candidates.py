"""Propose the operating points of a family: every way to answer a frame that is worth measuring."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from headgate.export.family_writer import FULL_GRAPH
from headgate.export.graphs.calibrate import calibrate
from headgate.export.graphs.deploy import Deployed, Divergence, codes
from headgate.export.points.choose_codec import choose_codec
from headgate.export.samples import spread
from headgate.profiles.manifest import Member, OperatingPoint, PointKind
from headgate.profiles.progressive import layer_bounds, maps_of_prefix

LOCAL_FULL = "local-full"
LOCAL_EXIT = "local-exit"
MAX_CODE_BYTES = 1 << 29  # of all calibration codes of one member, in memory


def split_point_id(member_id: str, levels: int) -> str:
    return f"{member_id}-l{levels}"


def offload_point_id(picture_format: str, quality: int) -> str:
    return f"{picture_format}-q{quality}"


def split_points(
    member: Member,
    deployed: Deployed,
    *,
    levels: Sequence[int],
    calibration_NHWC: NDArray[np.uint8],
    codec: str,
    rate_weight: float = 0.0,
) -> list[OperatingPoint]:
    """Return one point per number of levels, with the ranges and the codec that suit it.

    Of a progressive member it is one per prefix, the smallest first, and all prefixes share ranges
    and codec: a layer must mean the same whatever follows it. `rate_weight` is that of the
    member's training.
    """
    most = max(1, MAX_CODE_BYTES // (4 * member.features.nbytes))
    code_NCHW = codes(deployed.head, calibration_NHWC[spread(len(calibration_NHWC), most)])
    divergence = Divergence(deployed.tail, code_NCHW, num_maps=compared_maps(member))
    points = []
    for num_levels in levels:
        scales = calibrate(
            code_NCHW,
            levels=num_levels,
            trained=deployed.trained,
            divergence=divergence,
            rate_weight=rate_weight,
        )
        q_NCHW = scales.quantise(code_NCHW, levels=num_levels)
        chosen = choose_codec(
            q_NCHW, levels=num_levels, asked=codec, bounds=layer_bounds(member)[1:-1]
        )
        point = OperatingPoint(
            id=split_point_id(member.id, num_levels),
            kind=PointKind.SPLIT,
            metrics={},
            member=member.id,
            levels=num_levels,
            low=scales.low,
            span=scales.span,
            codec=chosen.name,
            table=chosen.table,
        )
        points += prefix_points(point, member)
    return points


def prefix_points(point: OperatingPoint, member: Member) -> list[OperatingPoint]:
    """Return the prefixes of a point that sends all layers, or the point of another member."""
    if not member.layers:
        return [point]
    return [
        replace(point, id=f"{point.id}-p{prefix}", prefix=prefix)
        for prefix in range(1, len(member.layers) + 1)
    ]


def compared_maps(member: Member) -> tuple[int, ...]:
    """Return how many maps are there when ranges are judged: of the first, middle, last prefix."""
    if not member.layers:
        return (member.features.shape[0],)
    prefixes = (1, (len(member.layers) + 1) // 2, len(member.layers))
    return tuple(dict.fromkeys(maps_of_prefix(member, prefix) for prefix in prefixes))


def offload_points(
    *, jpeg_qualities: Sequence[int], webp_qualities: Sequence[int]
) -> list[OperatingPoint]:
    """Return one point per picture format and quality, all into the whole network."""
    asked = [("jpeg", quality) for quality in jpeg_qualities]
    asked += [("webp", quality) for quality in webp_qualities]
    return [
        OperatingPoint(
            id=offload_point_id(picture_format, quality),
            kind=PointKind.OFFLOAD,
            metrics={},
            picture_format=picture_format,
            picture_quality=quality,
            graph=FULL_GRAPH,
        )
        for picture_format, quality in asked
    ]


def local_points(members: Sequence[Member]) -> list[OperatingPoint]:
    """Return the whole network on the device, and the early exit of the cheapest head."""
    cheapest = min(members, key=lambda member: member.head_macs)
    return [
        OperatingPoint(id=LOCAL_FULL, kind=PointKind.LOCAL, metrics={}, graph=FULL_GRAPH),
        OperatingPoint(id=LOCAL_EXIT, kind=PointKind.LOCAL, metrics={}, member=cheapest.id),
    ]
