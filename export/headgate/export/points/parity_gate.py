"""Run trained member and exported pair side by side through the runtime's engine and codec.

Of a progressive member the first, the middle and the last prefix of every series are compared; its
reference has zeros where maps are absent.

Shapes: N pictures, C feature maps (S of them sent), h w their size, K classes.
"""

import numpy as np
from numpy.typing import NDArray

from headgate.export.graphs.deploy import MemberReference, PlainReference
from headgate.export.graphs.parity import Outputs, Parity, check_parity, compare, worst
from headgate.export.points.measure import (
    Engines,
    Layers,
    edge_probabilities,
    probabilities_of,
    sent_by,
)
from headgate.profiles.manifest import Manifest, Member, OperatingPoint, PointKind
from headgate.runtime.codec.features import decode_features


def check_member(
    manifest: Manifest,
    reference: MemberReference,
    engines: Engines,
    *,
    member_id: str,
    pictures_NHWC: NDArray[np.uint8],
) -> Parity:
    """Compare the split points of one member and return the worst of each measure.

    Raises GateError at the first point that differs too much.
    """
    found = []
    for point in compared_points(manifest, member_id):
        found.append(
            _split_parity(manifest.member(member_id), point, reference, engines, pictures_NHWC)
        )
        check_parity(found[-1], where=f"point {point.id}")
    return worst(found)


def compared_points(manifest: Manifest, member_id: str) -> list[OperatingPoint]:
    """Return the split points of a member that are held against what was trained."""
    found = []
    for point in manifest.points:
        if point.kind is not PointKind.SPLIT or point.member != member_id:
            continue
        num = sum(each.series == point.series for each in manifest.points)
        if point.prefix in (None, 1, (num + 1) // 2, num):
            found.append(point)
    return found


def check_full(
    point: OperatingPoint,
    reference: PlainReference,
    engines: Engines,
    *,
    pictures_NHWC: NDArray[np.uint8],
) -> Parity:
    """Compare the plain network, as the point `local-full` runs it."""
    answers = [engines.device.compute(point, picture).answer for picture in pictures_NHWC]
    candidate = Outputs(probabilities=np.stack([probabilities_of(answer) for answer in answers]))
    expected = reference.outputs(pictures_NHWC)
    parity = compare(expected, candidate, reference_tail_NK=expected.probabilities)
    check_parity(parity, where="the whole network")
    return parity


def _split_parity(
    member: Member,
    point: OperatingPoint,
    reference: MemberReference,
    engines: Engines,
    pictures_NHWC: NDArray[np.uint8],
) -> Parity:
    computed = [engines.device.compute(point, picture) for picture in pictures_NHWC]
    sent = [sent_by(item) for item in computed]
    integers_NSHW = np.stack([_decoded(point, member, layers) for layers in sent])
    candidate = Outputs(
        probabilities=edge_probabilities(point, engines.tail, sent),
        exit=np.stack([probabilities_of(item.answer) for item in computed]),
        integers=integers_NSHW,
    )
    return compare(
        reference.outputs(point, pictures_NHWC, num_maps=integers_NSHW.shape[1]),
        candidate,
        reference_tail_NK=reference.tail(point, integers_NSHW),
    )


def _decoded(point: OperatingPoint, member: Member, sent: Layers) -> NDArray[np.uint8]:
    """Return the integers [S,h,w] of the maps that were sent, each layer decoded alone."""
    assert point.levels is not None
    assert point.codec is not None
    num_maps, height, width = member.features.shape
    maps_of_layers = member.layers[: point.prefix] if point.prefix is not None else (num_maps,)
    return np.concatenate(
        [
            decode_features(
                payload,
                shape=(num, height, width),
                levels=point.levels,
                codec=point.codec,
                table=point.table,
            )
            for payload, num in zip(sent, maps_of_layers, strict=True)
        ]
    )
