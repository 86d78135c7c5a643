"""Run trained member and exported pair side by side through the runtime's engine and codec.

Shapes: N pictures, C sent feature maps, h w their size, K classes.
"""

import numpy as np
from numpy.typing import NDArray

from headgate.export.deploy import MemberReference, PlainReference
from headgate.export.measure import Engines, edge_probabilities, payload_of, probabilities_of
from headgate.export.parity import Outputs, Parity, check_parity, compare, worst
from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.runtime.features import decode_features


def check_member(
    manifest: Manifest,
    reference: MemberReference,
    engines: Engines,
    *,
    member_id: str,
    pictures_NHWC: NDArray[np.uint8],
) -> Parity:
    """Compare every split point of one member and return the worst of each measure.

    Raises GateError at the first point that differs too much.
    """
    found = []
    for point in manifest.points:
        if point.kind is PointKind.SPLIT and point.member == member_id:
            found.append(_split_parity(manifest, point, reference, engines, pictures_NHWC))
            check_parity(found[-1], where=f"point {point.id}")
    return worst(found)


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
    manifest: Manifest,
    point: OperatingPoint,
    reference: MemberReference,
    engines: Engines,
    pictures_NHWC: NDArray[np.uint8],
) -> Parity:
    assert point.member is not None
    assert point.levels is not None
    assert point.codec is not None
    shape = manifest.member(point.member).features.shape
    computed = [engines.device.compute(point, picture) for picture in pictures_NHWC]
    payloads = [payload_of(item) for item in computed]
    integers_NCHW = np.stack(
        [
            decode_features(
                payload, shape=shape, levels=point.levels, codec=point.codec, table=point.table
            )
            for payload in payloads
        ]
    )
    candidate = Outputs(
        probabilities=edge_probabilities(point, engines.tail, payloads),
        exit=np.stack([probabilities_of(item.answer) for item in computed]),
        integers=integers_NCHW,
    )
    return compare(
        reference.outputs(point, pictures_NHWC),
        candidate,
        reference_tail_NK=reference.tail(point, integers_NCHW),
    )
