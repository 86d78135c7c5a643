"""Find out how often early exits, and the edge, are right when an exit is so sure.

Training pictures are no use: the network was fitted to them and is nearly always right there. So
validation pictures are set aside; none of them counts in any measured accuracy.

Shapes: N pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headgate.export.points.measure import Engines, edge_probabilities, probabilities_of, sent_by
from headgate.export.samples import HeldOut
from headgate.profiles.confidence import Curve, evidence, picture_fingerprint
from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind

MAX_NEWTON_STEPS = 50


@dataclass(frozen=True, slots=True)
class SplitAnswers:
    """What a split point's exit and edge made of labelled pictures, in their order."""

    scores: NDArray[np.float64]  # the exit's top probability
    exit_right: NDArray[np.bool_]
    edge_right: NDArray[np.bool_]
    sizes: NDArray[np.int64]  # payload, in bytes


def split_answers(
    point: OperatingPoint,
    engines: Engines,
    *,
    pictures_NHWC: NDArray[np.uint8],
    labels_N: NDArray[np.int64],
) -> SplitAnswers:
    """Run every picture through one split point, through the very engines that devices run."""
    exits, sent = [], []
    for picture_HWC in pictures_NHWC:  # no integers are kept: they may be gigabytes
        computed = engines.device.compute(point, picture_HWC)
        exits.append(probabilities_of(computed.answer))
        sent.append(sent_by(computed))
    exits_NK = np.stack(exits)
    edge_NK = edge_probabilities(point, engines.tail, sent)
    return SplitAnswers(
        scores=exits_NK.max(axis=1).astype(np.float64),
        exit_right=exits_NK.argmax(axis=1) == labels_N,
        edge_right=edge_NK.argmax(axis=1) == labels_N,
        sizes=np.array([sum(map(len, layers)) for layers in sent], np.int64),
    )


def with_confidence(
    manifest: Manifest,
    engines: Engines,
    held: HeldOut,
    *,
    progress: Callable[[str], None],
) -> Manifest:
    """Return the manifest with curves for its exits and split points; without pictures as it is."""
    if len(held.labels) == 0:
        return manifest
    progress(f"calibrating early exits on {len(held.labels)} pictures set aside")
    exits: dict[str, Curve] = {}
    points: dict[str, Curve] = {}
    for point in manifest.points:
        if point.kind is PointKind.SPLIT and point.twin is None:
            assert point.member is not None
            found = split_answers(point, engines, pictures_NHWC=held.pictures, labels_N=held.labels)
            exits.setdefault(point.member, fit_curve(found.scores, found.exit_right))
            points[point.id] = fit_curve(found.scores, found.edge_right)
    return replace(
        manifest,
        members=tuple(
            replace(member, confidence=exits.get(member.id)) for member in manifest.members
        ),
        points=tuple(
            replace(point, confidence=points.get(point.twin or point.id))
            for point in manifest.points
        ),
        confidence_pictures=tuple(picture_fingerprint(picture) for picture in held.pictures),
    )


def fit_curve(scores_N: NDArray[np.float64], right_N: NDArray[np.bool_]) -> Curve:
    """Fit the chance of being right over the log odds of `scores_N`, by maximum likelihood.

    Platt's targets, (n + 1) / (n + 2) of n right ones instead of 1, keep the curve finite where
    all of few pictures were right. A curve that would fall is made flat: the scores tell nothing.
    """
    x_N = np.array([evidence(float(score)) for score in scores_N])
    num_right = int(right_N.sum())
    num_wrong = len(right_N) - num_right
    target_N = np.where(right_N, (num_right + 1) / (num_right + 2), 1 / (num_wrong + 2))
    share = float(target_N.mean())
    flat = Curve(0.0, float(np.log(share / (1 - share))))
    centre, scale = float(x_N.mean()), float(x_N.std())
    if scale < 1e-6:
        return flat
    design_N2 = np.stack([(x_N - centre) / scale, np.ones_like(x_N)], axis=1)
    weights_2 = np.array([0.0, flat.offset])
    for _ in range(MAX_NEWTON_STEPS):
        chance_N = 1 / (1 + np.exp(-np.clip(design_N2 @ weights_2, -30, 30)))
        slope_2 = design_N2.T @ (target_N - chance_N)
        curvature_22 = (design_N2 * (chance_N * (1 - chance_N))[:, None]).T @ design_N2
        step_2 = np.linalg.solve(curvature_22 + 1e-6 * np.eye(2), slope_2)
        weights_2 += np.clip(step_2, -2, 2)  # far from the top, a full step may overshoot
        if np.abs(step_2).max() < 1e-9:
            break
    slope = float(weights_2[0]) / scale
    if slope <= 0:
        return flat
    return Curve(slope, float(weights_2[1]) - float(weights_2[0]) * centre / scale)
