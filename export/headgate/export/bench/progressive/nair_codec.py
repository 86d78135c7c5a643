"""Bytes of a progressive member's layers from the real codec, and the picture line beside them.

Every second picture fits the context table of a number of levels, the others are measured. Each
layer is encoded alone, as it is sent; the ranges are those of the training.

Shapes: N pictures, P maps at the split, C maps that cross, h w their size, H W picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headgate.export.bench.progressive.nair_lines import Line, Sent, progressive_entry
from headgate.export.graphs.graphs import picture_to_unit
from headgate.export.points.context_tables import fit_table
from headgate.profiles.pictures import decode_picture, encode_picture
from headgate.runtime.codec.features import encode_features
from headgate.train.folder.run_folder import Run
from headgate.train.networks.quantiser import quantise

BATCH = 64
WEBP_QUALITIES = (5, 20, 40, 60, 80, 95)


@torch.no_grad()
def codec_layer_bytes(run: Run, pictures_NHWC: NDArray[np.uint8]) -> dict[int, list[float]]:
    """Return for each number of levels the mean bytes of each layer of a run's member."""
    member, _ = progressive_entry(run)
    model = run.member(member.id)
    selected_C = model.bottleneck.selected_C
    place = {index: place for place, index in enumerate(member.selected)}
    channels = [place[index] for index in member.order]
    code_NCHW = torch.cat(
        [
            model.bottleneck.encode(model.features(picture_to_unit(batch)))
            for batch in _batches(pictures_NHWC)
        ]
    )
    low_C, span_C = model.code_range.of(selected_C)
    found: dict[int, list[float]] = {}
    for levels in run.record.settings.levels:
        q_NCHW = quantise(code_NCHW, low_C=low_C, span_C=span_C, levels=levels).numpy()
        found[levels] = _mean_layer_bytes(q_NCHW[:, channels], member.layers, levels=levels)
    return found


def _mean_layer_bytes(
    q_NCHW: NDArray[np.uint8], layers: Sequence[int], *, levels: int
) -> list[float]:
    ends = np.cumsum([0, *layers])
    parts = [q_NCHW[1::2, begin:end] for begin, end in pairwise(ends)]
    table = fit_table(q_NCHW[::2], levels=levels)

    def size(q_CHW: NDArray[np.uint8]) -> int:
        whole = np.ascontiguousarray(q_CHW)
        return len(encode_features(whole, levels=levels, codec="context", table=table))

    return [float(np.mean([size(q_CHW) for q_CHW in part])) for part in parts]


@torch.no_grad()
def webp_line(run: Run, pictures_NHWC: NDArray[np.uint8], labels_N: NDArray[np.int64]) -> Line:
    """Return what the run's plain network answers to pictures sent as WebP."""
    network = run.backbone()
    height, width = pictures_NHWC.shape[1:3]
    sent = []
    for quality in WEBP_QUALITIES:
        payloads = [encode_picture(each, "webp", quality) for each in pictures_NHWC]
        decoded_NHWC = np.stack(
            [decode_picture(payload, max_pixels=height * width) for payload in payloads]
        )
        answers_N = torch.cat(
            [network(picture_to_unit(batch)).argmax(dim=1) for batch in _batches(decoded_NHWC)]
        )
        right = int((answers_N == torch.from_numpy(labels_N)).sum())
        mean_bytes = float(np.mean([len(payload) for payload in payloads]))
        sent.append(Sent(mean_bytes, right / len(labels_N), f"quality {quality}"))
    return Line("picture, WebP", tuple(sorted(sent, key=lambda each: each.num_bytes)))


def _batches(pictures_NHWC: NDArray[np.uint8]) -> Iterator[Tensor]:
    for begin in range(0, len(pictures_NHWC), BATCH):
        yield torch.from_numpy(pictures_NHWC[begin : begin + BATCH])
