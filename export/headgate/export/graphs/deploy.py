"""Turn a trained member into its deployed pair, and keep the unsplit member as the reference.

`deploy` folds and cuts; `MemberReference` and `PlainReference` run the very modules that were
trained, untouched, so that the parity gate compares two independent ways of computing a point.

A progressive member's maps are sent in an order of their own, which is folded into both halves. Its
reference knows nothing of that: it takes the maps as the trained member has them, by rising index,
picks those that a prefix sends, and puts zeros in the places of the others.

Shapes: N pictures, C sent feature maps (S of them in a prefix), h w their size, H W picture,
K classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headgate.export.graphs.calibrate import Scales
from headgate.export.graphs.crossing_graphs import crossing_graphs
from headgate.export.graphs.graphs import HeadGraph, TailGraph, picture_to_unit
from headgate.export.graphs.ordered_cut import ordered_exit, ordered_head, ordered_tail
from headgate.export.graphs.parity import Outputs
from headgate.profiles.manifest import OperatingPoint
from headgate.train.networks.crossing import PlainCut
from headgate.train.networks.quantiser import dequantise, quantise
from headgate.train.networks.split_model import SplitModel

BATCH = 32


@dataclass(frozen=True, slots=True)
class Deployed:
    """One member as it is written: both halves, and the ranges it was fine-tuned with."""

    head: HeadGraph
    tail: TailGraph
    trained: Scales


def deploy(model: SplitModel, order: Sequence[int] | None = None) -> Deployed:
    """Fold a trained member; weights of the backbone are shared with it, not copied.

    `order` holds the selected maps as they are sent; None: by rising index.
    """
    model.eval()
    maps = sent_maps(model, order)
    encoder, decoder = crossing_graphs(model.bottleneck, maps)
    backbone_head, early_exit, backbone_tail = model.head, model.exit_head, model.tail
    if isinstance(model.bottleneck, PlainCut) and len(maps) == model.bottleneck.channels:
        ordered = ordered_head(model.head, maps)
        if ordered is not None:
            backbone_head, early_exit = ordered, ordered_exit(model.exit_head, maps)
            encoder = nn.Identity()
        ordered = ordered_tail(model.tail, maps)
        if ordered is not None:
            backbone_tail, decoder = ordered, nn.Identity()
    head = HeadGraph(
        backbone_head=nn.Sequential(model.normalise, backbone_head),
        encoder=encoder,
        early_exit=early_exit,
    )
    tail = TailGraph(decoder=decoder, backbone_tail=backbone_tail)
    low_C, span_C = model.code_range.of(torch.tensor(maps))
    trained = Scales(tuple(low_C.tolist()), tuple(span_C.tolist()))
    return Deployed(head.eval(), tail.eval(), trained)


def sent_maps(model: SplitModel, order: Sequence[int] | None) -> tuple[int, ...]:
    """Return the indices of a member's selected maps as they are sent."""
    assert model.selected is not None, "a trained member has its selection frozen"
    if order is None:
        return model.selected
    assert sorted(order) == list(model.selected), "a run's order was checked when it was read"
    return tuple(order)


@torch.no_grad()
def codes(head: HeadGraph, pictures_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the codes [N,C,h,w] of pictures before quantising."""
    return np.concatenate([head.code(batch).numpy() for batch in _batches(pictures_NHWC)])


class Divergence:
    """How far answers move when a member's code is replaced by a quantised one.

    A progressive member is asked at several prefixes, `num_maps` each: its ranges are to suit all.
    """

    def __init__(
        self, tail: TailGraph, code_NCHW: NDArray[np.float32], *, num_maps: Sequence[int]
    ) -> None:
        self._tail = tail
        self._references_NK = {
            num: self._log_probabilities(code_NCHW, num_maps=num) for num in num_maps
        }

    def __call__(self, code_NCHW: NDArray[np.float32]) -> float:
        """Return the mean KL from the unquantised answers to these, in nats."""
        divergences = []
        for num, reference_NK in self._references_NK.items():
            moved_NK = self._log_probabilities(code_NCHW, num_maps=num)
            kl = nn.functional.kl_div(
                moved_NK, reference_NK, reduction="batchmean", log_target=True
            )
            divergences.append(float(kl))
        return sum(divergences) / len(divergences)

    @torch.no_grad()
    def _log_probabilities(self, code_NCHW: NDArray[np.float32], *, num_maps: int) -> Tensor:
        logits = []
        for batch_NCHW in _batches(code_NCHW):
            sent_NCHW = batch_NCHW.clone()
            sent_NCHW[:, num_maps:] = 0.0
            logits.append(self._tail.logits(sent_NCHW))
        return torch.log_softmax(torch.cat(logits), dim=1)


class MemberReference:
    """The unsplit member as it was trained, with a point's ranges in its quantiser."""

    def __init__(self, model: SplitModel, order: Sequence[int] | None = None) -> None:
        """`order` holds the selected maps as a progressive member sends them."""
        self._model = model.eval()
        selected = model.selected
        assert selected is not None
        self._places_C = [selected.index(index) for index in sent_maps(model, order)]

    @torch.no_grad()
    def outputs(
        self,
        point: OperatingPoint,
        pictures_NHWC: NDArray[np.uint8],
        *,
        num_maps: int | None = None,
    ) -> Outputs:
        """Run pictures from end to end; `num_maps` are sent, None: all."""
        model = self._model
        x_NCHW = picture_to_unit(torch.from_numpy(pictures_NHWC))
        features_NPHW = model.head(model.normalise(x_NCHW))
        places_S = self._places_C[:num_maps]
        low_S, span_S, levels = _scales(point, num_maps)
        code_NSHW = model.bottleneck.encode(features_NPHW)[:, places_S]
        q_NSHW = quantise(code_NSHW, low_C=low_S, span_C=span_S, levels=levels).numpy()
        return Outputs(
            probabilities=self.tail(point, q_NSHW),
            exit=_softmax(model.exit_head(features_NPHW)),
            integers=q_NSHW,
        )

    @torch.no_grad()
    def tail(self, point: OperatingPoint, integers_NSHW: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what the edge's half makes of the maps that were sent: probabilities [N,K]."""
        num, num_maps, height, width = integers_NSHW.shape
        low_S, span_S, levels = _scales(point, num_maps)
        integers = torch.from_numpy(integers_NSHW)
        code_NCHW = torch.zeros(num, len(self._places_C), height, width)
        code_NCHW[:, self._places_C[:num_maps]] = dequantise(
            integers, low_C=low_S, span_C=span_S, levels=levels
        )
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


def _scales(point: OperatingPoint, num_maps: int | None) -> tuple[Tensor, Tensor, int]:
    assert point.levels is not None
    return torch.tensor(point.low[:num_maps]), torch.tensor(point.span[:num_maps]), point.levels


def _softmax(logits_NK: Tensor) -> NDArray[np.float32]:
    probabilities_NK: NDArray[np.float32] = torch.softmax(logits_NK, dim=1).numpy()
    return probabilities_NK
