"""The two halves of what crosses at the split, as modules of head and tail graph.

    bottleneck           one convolution on each side, see `fold`
    centred bottleneck   the same, less the means of its maps, which the edge adds again: a map that
                         did not come is then as usual
    plain cut            the features themselves: picked at the device's end, put back in their
                         places at the edge's

The order in which maps are sent is that of the convolutions' channels; of a plain cut it is folded
into the convolutions beside the cut where they allow it (`ordered_cut`), or else picked.

Shapes: N pictures, P feature maps at the split, C sent feature maps.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from headgate.export.graphs.fold import folded_decoder, folded_encoder
from headgate.train.networks.bottleneck import Bottleneck, CentredBottleneck
from headgate.train.networks.crossing import Crossing, PlainCut


class Picked(nn.Module):
    """Features [N,P,H,W] -> those of them that are sent, in order, [N,C,H,W]."""

    maps_C: Tensor

    def __init__(self, maps: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("maps_C", torch.tensor(maps))

    def forward(self, features_NPHW: Tensor) -> Tensor:
        return features_NPHW.index_select(1, self.maps_C)


class Placed(nn.Module):
    """Sent features [N,C,H,W] -> all features [N,P,H,W], zeros where none are sent."""

    sources_P: Tensor

    def __init__(self, maps: Sequence[int], *, num_features: int) -> None:
        super().__init__()
        sources_P = torch.full((num_features,), len(maps))  # one behind the last: zeros
        sources_P[list(maps)] = torch.arange(len(maps))
        self.register_buffer("sources_P", sources_P)
        self.whole = len(maps) == num_features

    def forward(self, code_NCHW: Tensor) -> Tensor:
        if not self.whole:
            code_NCHW = nn.functional.pad(code_NCHW, (0, 0, 0, 0, 0, 1))
        return code_NCHW.index_select(1, self.sources_P)


class Shifted(nn.Module):
    """Add a number of its own to each map."""

    shift_C11: Tensor

    def __init__(self, shift_C: Tensor) -> None:
        super().__init__()
        self.register_buffer("shift_C11", shift_C.detach().clone()[:, None, None])

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW + self.shift_C11


def crossing_graphs(crossing: Crossing, maps: Sequence[int]) -> tuple[nn.Module, nn.Module]:
    """Return what makes the code of features, and features of the code; `maps` as they are sent."""
    if isinstance(crossing, PlainCut):
        return Picked(maps), Placed(maps, num_features=crossing.channels)
    assert isinstance(crossing, Bottleneck)
    encoder, decoder = folded_encoder(crossing, maps), folded_decoder(crossing, maps)
    if isinstance(crossing, CentredBottleneck):
        centre_C = crossing.centre_P[list(maps)]
        return (
            nn.Sequential(encoder, Shifted(-centre_C)),
            nn.Sequential(Shifted(centre_C), decoder),
        )
    return encoder, decoder
