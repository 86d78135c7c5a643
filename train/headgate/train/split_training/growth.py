"""The move to another budget: which maps join those that cross, and how they begin.

Maps that cross keep crossing: the tail is used to them. Those with the largest filter value
among the others join; which they are, the server decides once per phase and tells the clients.
On a move to a smaller budget those with the smallest filter value stay out from then on.

A map that never crossed has had no gradient but the prune loss's, which draws its filter value
down with all the others, to about budget / phi. It must not stay there, nor begin as low as
`Bottleneck.reset_prune` leaves maps that are to stay out: a filter value of 0.02 would also make
the gradients of its convolutions fifty times too small. So f_hat of a joining map is drawn anew in
the range that a fresh bottleneck has. The encoder is as it was made: map p of the features becomes
map p of the code. Batch norm's averages of it mean nothing yet, so the first batches count as a
plain average (`encode_following`), or an evaluation soon after would be of another network.

silent  the decoder's weights of joining maps begin at zero. So the network computes after the
        move what it did before, and learns from there what the new maps are good for.
drawn   they keep the weights that the bottleneck was made with, as if they had always crossed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from headgate.train.networks.bottleneck import F_HAT_RANGE, Bottleneck
from headgate.train.networks.split_model import SplitModel

# Shapes: B batch, P all phi maps, C maps that cross, H x W at the split


def next_selection(filter_P: Tensor, *, selected: Sequence[int], budget: int) -> tuple[int, ...]:
    """Return the maps that cross from now on, ascending.

    Those that did, and the best others; or with fewer than before the best of those that did.
    """
    order = torch.sort(filter_P.detach().cpu(), descending=True, stable=True).indices.tolist()
    kept = set(selected)
    first = [index for index in order if index in kept]
    return tuple(sorted([*first, *(index for index in order if index not in kept)][:budget]))


def encode_following(model: SplitModel, features_BPHW: Tensor) -> Tensor:
    """Return the code while training; ranges and averages follow it.

    The first batches of a map count as a plain average, and later ones with batch norm's momentum.
    How many there were is counted with the map's range.
    """
    bottleneck, ranges = bottleneck_of(model), model.code_range
    selected_C = bottleneck.selected_C
    norm = bottleneck.encoder_norm
    assert norm.running_mean is not None
    assert norm.running_var is not None
    before = [average[selected_C] for average in (norm.running_mean, norm.running_var)]
    code_BCHW = bottleneck.encode(features_BPHW).float()
    momentum = norm.momentum or 1.0
    with torch.no_grad():
        weight_C = (1.0 / (ranges.num_batches_P[selected_C] + 1.0)).clamp(min=momentum) / momentum
        for average_P, before_C in zip((norm.running_mean, norm.running_var), before, strict=True):
            # As `data`: autograd holds the averages, but no gradient depends on them here.
            average_P.data[selected_C] = torch.lerp(before_C, average_P[selected_C], weight_C)
    ranges.observe(code_BCHW, selected_C)
    return code_BCHW


def bottleneck_of(model: SplitModel) -> Bottleneck:
    """Return what crosses of a network that is trained split: always a bottleneck."""
    assert isinstance(model.bottleneck, Bottleneck)
    return model.bottleneck


@torch.no_grad()
def grow(
    bottleneck: Bottleneck,
    optimizer: Optimizer,
    *,
    selected: Sequence[int],
    join: str,
    seed: int,
) -> None:
    """Let the maps `selected` cross, and prepare those that did not; equal on all sides.

    The bottleneck's selection must be frozen. Maps that do not cross any more stay as they are.
    """
    assert bottleneck.selected is not None
    joining = sorted(set(selected) - set(bottleneck.selected))
    bottleneck.set_budget(len(selected))
    bottleneck.freeze_selection(selected)
    if not joining:
        return
    low, high = F_HAT_RANGE
    draw = torch.Generator().manual_seed(seed)
    drawn_P = low + (high - low) * torch.rand(bottleneck.channels, generator=draw)
    rows = torch.tensor(joining, device=bottleneck.f_hat.device)
    bottleneck.f_hat[rows] = drawn_P.to(bottleneck.f_hat)[rows]
    if join == "silent":
        bottleneck.decoder.weight[rows] = 0.0
    for parameter in (bottleneck.f_hat, bottleneck.decoder.weight):
        momentum = optimizer.state.get(parameter, {}).get("momentum_buffer")
        if momentum is not None:
            momentum[rows] = 0.0
