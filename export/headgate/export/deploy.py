"""Turn a trained member into its deployed pair, and keep the unsplit member as the reference.

`deploy` folds and cuts; `MemberReference` and `PlainReference` run the very modules that were
trained, untouched, so that the parity gate compares two independent ways of computing a point.

Shapes: N pictures, C sent feature maps, h w their size, H W picture, K classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headgate.export.calibrate import Scales
from headgate.export.fold import folded_decoder, folded_encoder
from headgate.export.graphs import HeadGraph, TailGraph, picture_to_unit
from headgate.export.parity import Outputs
from headgate.profiles.manifest import OperatingPoint
from headgate.train.quantiser import dequantise, quantise
from headgate.train.split_model import SplitModel

BATCH = 32


@dataclass(frozen=True, slots=True)
class Deployed:
    """One member as it is written: both halves, and the ranges it was fine-tuned with."""

    head: HeadGraph
    tail: TailGraph
    trained: Scales


def deploy(model: SplitModel) -> Deployed:
    """Fold a trained member; weights of the backbone are shared with it, not copied."""
    model.eval()
    head = HeadGraph(
        backbone_head=nn.Sequential(model.normalise, model.head),
        encoder=folded_encoder(model.bottleneck),
        early_exit=model.exit_head,
    )
    tail = TailGraph(decoder=folded_decoder(model.bottleneck), backbone_tail=model.tail)
    low_C, span_C = model.code_range.of(model.bottleneck.selected_C)
    trained = Scales(tuple(low_C.tolist()), tuple(span_C.tolist()))
    return Deployed(head.eval(), tail.eval(), trained)


@torch.no_grad()
def codes(head: HeadGraph, pictures_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the codes [N,C,h,w] of pictures before quantising."""
    return np.concatenate([head.code(batch).numpy() for batch in _batches(pictures_NHWC)])


class Divergence:
    """How far answers move when a member's code is replaced by a quantised one."""

    def __init__(self, tail: TailGraph, code_NCHW: NDArray[np.float32]) -> None:
        self._tail = tail
        self._reference_NK = self._log_probabilities(code_NCHW)

    def __call__(self, code_NCHW: NDArray[np.float32]) -> float:
        """Return the mean KL from the unquantised answers to these, in nats."""
        moved_NK = self._log_probabilities(code_NCHW)
        kl = nn.functional.kl_div(
            moved_NK, self._reference_NK, reduction="batchmean", log_target=True
        )
        return float(kl)

    @torch.no_grad()
    def _log_probabilities(self, code_NCHW: NDArray[np.float32]) -> Tensor:
        logits = [self._tail.logits(batch_NCHW) for batch_NCHW in _batches(code_NCHW)]
        return torch.log_softmax(torch.cat(logits), dim=1)


class MemberReference:
    """The unsplit member as it was trained, with a point's ranges in its quantiser."""

    def __init__(self, model: SplitModel) -> None:
        self._model = model.eval()

    @torch.no_grad()
    def outputs(self, point: OperatingPoint, pictures_NHWC: NDArray[np.uint8]) -> Outputs:
        """Run pictures from end to end."""
        model = self._model
        x_NCHW = picture_to_unit(torch.from_numpy(pictures_NHWC))
        features_NPHW = model.head(model.normalise(x_NCHW))
        low_C, span_C, levels = _scales(point)
        code_NCHW = model.bottleneck.encode(features_NPHW)
        q_NCHW = quantise(code_NCHW, low_C=low_C, span_C=span_C, levels=levels).numpy()
        return Outputs(
            probabilities=self.tail(point, q_NCHW),
            exit=_softmax(model.exit_head(features_NPHW)),
            integers=q_NCHW,
        )

    @torch.no_grad()
    def tail(self, point: OperatingPoint, integers_NCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what the edge's half makes of integers: probabilities [N,K]."""
        low_C, span_C, levels = _scales(point)
        integers = torch.from_numpy(integers_NCHW)
        code_NCHW = dequantise(integers, low_C=low_C, span_C=span_C, levels=levels)
        return _softmax(self._model.tail(self._model.bottleneck.decode(code_NCHW)))


class PlainReference:
    """The plain network as it was trained."""

    def __init__(self, backbone: nn.Module) -> None:
        self._backbone = backbone.eval()

    @torch.no_grad()
    def outputs(self, pictures_NHWC: NDArray[np.uint8]) -> Outputs:
        """Run pictures from end to end."""
        x_NCHW = picture_to_unit(torch.from_numpy(pictures_NHWC))
        return Outputs(probabilities=_softmax(self._backbone(x_NCHW)))


def _batches(array: NDArray[np.generic]) -> Iterator[Tensor]:
    for start in range(0, len(array), BATCH):
        yield torch.from_numpy(array[start : start + BATCH])


def _scales(point: OperatingPoint) -> tuple[Tensor, Tensor, int]:
    assert point.levels is not None
    return torch.tensor(point.low), torch.tensor(point.span), point.levels


def _softmax(logits_NK: Tensor) -> NDArray[np.float32]:
    probabilities_NK: NDArray[np.float32] = torch.softmax(logits_NK, dim=1).numpy()
    return probabilities_NK
