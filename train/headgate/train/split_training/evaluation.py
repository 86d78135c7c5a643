"""How good a client's half and the server's are together, on the server's validation pictures."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import torch

from headgate.profiles.errors import TrainingError
from headgate.train.folder.run_record import QuantisedEntry
from headgate.train.networks.split_model import SplitModel
from headgate.train.pictures.batches import as_floats, val_batches
from headgate.train.pictures.data import TrainingData

# Shapes: B batch, C channels, H height, W width, P maps at the split, L numbers of levels, S sums

EVALUATION_BATCH = 256


@torch.no_grad()
def evaluate(model: SplitModel, data: TrainingData) -> tuple[float, float]:
    """Return the accuracy, not quantised, and that of the early exit, 0..1."""
    whole, *_ = _evaluate(model, data, levels=(None,))
    return whole[0], whole[1]


@torch.no_grad()
def evaluate_levels(
    model: SplitModel, data: TrainingData, *, levels: Sequence[int]
) -> tuple[QuantisedEntry, ...]:
    """Return what the member is worth at each number of levels.

    Raises TrainingError where its maps are not finite: weights may be, and yet be too large.
    """
    found = _evaluate(model, data, levels=levels)
    if not all(isfinite(rate_bits) for _, _, rate_bits in found):
        raise TrainingError(
            "the trained network's maps are not finite numbers; lower --lr or --gamma, and start "
            "over with --force"
        )
    return tuple(
        QuantisedEntry(number, accuracy=accuracy, rate_bits=rate_bits)
        for number, (accuracy, _, rate_bits) in zip(levels, found, strict=True)
    )


def _evaluate(
    model: SplitModel, data: TrainingData, *, levels: Sequence[int | None]
) -> list[list[float]]:
    """Return accuracy, exit accuracy and bits for each number of levels, means over pictures."""
    model.eval()
    device = data.val_labels_N.device
    sums_LS = torch.zeros(len(levels), 3, device=device)
    for batch in val_batches(
        data.val_pictures_NCHW, data.val_labels_N, batch_size=EVALUATION_BATCH
    ):
        features_BPHW = model.features(as_floats(batch.pictures_BCHW))
        for place, number in enumerate(levels):
            out = model(features_BPHW, levels=number, at_split=True)
            right = [
                (logits_BK.argmax(dim=1) == batch.labels_B).sum()
                for logits_BK in (out.logits_BK, out.exit_logits_BK)
            ]
            sums_LS[place] += torch.stack([*right, out.rate_bits_B.sum()])
    means: list[list[float]] = (sums_LS / len(data.val_labels_N)).tolist()
    return means
