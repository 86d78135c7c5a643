"""Give offload points the whole network that was tuned on pictures, wherever it answers better.

Which network answers at a quality is asked of training pictures that the tuned one never saw
compressed (those of another data set, where one is named). The validation pictures, which points
are reported on, have no say: the better of two on them would look better than it is.

Shapes: N pictures, H W their size, K classes.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headgate.export.family_writer import PICTURES_GRAPH
from headgate.export.graphs.deploy import BATCH, PlainReference
from headgate.export.graphs.parity import Outputs, check_parity, compare
from headgate.export.samples import HeldOut
from headgate.profiles.family import Family
from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.profiles.pictures import decode_picture, encode_picture
from headgate.runtime.networks.family_graphs import whole_network
from headgate.runtime.networks.graphs import EngineOptions, Graph

Pictures = NDArray[np.uint8]


def with_picture_network(
    candidate: Manifest,
    folder: Path,
    reference: PlainReference,
    *,
    held_out: HeldOut,
    parity_NHWC: Pictures,
    threads: int,
    progress: Callable[[str], None],
) -> Manifest:
    """Return the candidate with PICTURES_GRAPH, which lies in `folder`, at the points it suits.

    Raises GateError if the graph differs from `reference`, the network as it was trained. The
    file is removed if no point wants it.
    """
    family, options = Family(folder, candidate), EngineOptions(providers="cpu", threads=threads)
    plain = whole_network(family, candidate.full_graph, options)
    tuned = whole_network(family, PICTURES_GRAPH, options)
    expected = reference.outputs(parity_NHWC)
    found = Outputs(probabilities=_probabilities(tuned, parity_NHWC))
    parity = compare(expected, found, reference_tail_NK=expected.probabilities)
    check_parity(parity, where="the whole network for pictures")
    progress(f"pictures: beside the trained network on {len(parity_NHWC)} pictures: {parity}")
    points = []
    for point in candidate.points:
        if point.kind is PointKind.OFFLOAD and len(held_out.labels):
            seen_NHWC = as_offloaded(point, held_out.pictures)
            before = _num_right(plain, seen_NHWC, held_out.labels)
            after = _num_right(tuned, seen_NHWC, held_out.labels)
            progress(
                f"{point.id}: on {len(held_out.labels)} held-out pictures the plain network is "
                f"right {before} times, the one tuned on pictures {after} times"
            )
            # The plain network learnt from these very pictures and may know them by heart, the
            # tuned one was kept from them: a tie speaks for the tuned one.
            if after >= before:
                point = replace(point, graph=PICTURES_GRAPH)
        points.append(point)
    files = candidate.files
    if not any(point.graph == PICTURES_GRAPH for point in points):
        (folder / PICTURES_GRAPH).unlink()
        files = {name: entry for name, entry in files.items() if name != PICTURES_GRAPH}
    return replace(candidate, points=tuple(points), files=files)


def as_offloaded(point: OperatingPoint, pictures_NHWC: Pictures) -> Pictures:
    """Return pictures as the edge sees them when they are sent at an offload point."""
    assert point.picture_format in ("jpeg", "webp")
    assert point.picture_quality is not None
    seen = []
    for picture_HWC in pictures_NHWC:
        data = encode_picture(picture_HWC, point.picture_format, point.picture_quality)  # type: ignore[arg-type]
        seen.append(decode_picture(data, max_pixels=picture_HWC.shape[0] * picture_HWC.shape[1]))
    return np.stack(seen)


def _num_right(network: Graph, pictures_NHWC: Pictures, labels: NDArray[np.int64]) -> int:
    return int((_probabilities(network, pictures_NHWC).argmax(axis=1) == labels).sum())


def _probabilities(network: Graph, pictures_NHWC: Pictures) -> NDArray[np.float32]:
    rows = []
    for start in range(0, len(pictures_NHWC), BATCH):
        batch = pictures_NHWC[start : start + BATCH]
        rows.append(network.run(("probabilities",), {"picture": batch})[0])
    return np.concatenate(rows).astype(np.float32)
