"""Fewer maps that are mixtures of those that cross: the best start of a smaller member.

A member that keeps some of the maps drops what the others knew. But the bottleneck's encoder is a
convolution, and so is any mixture of its maps: fewer maps may as well each say something of all.
Best are those from which the code can be restored with the least harm. A code z that comes out
wrong by d costs, to second order, a loss of d' F d / 2, with F the mean of g g' over gradients g
of the loss (Fisher's information). The M linear mixtures that cost least of all are the principal
components of F^(1/2) z: the eigenvectors of F^(1/2) S F^(1/2), S the covariance of z.

They come in order: the first m of M are also the best m, which is what layers are sent by.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from headgate.train.networks.bottleneck import ENCODER_GAIN, Bottleneck

# Shapes: B batch, P all phi maps, C the maps that cross so far, M mixtures, h x w in the code

LEAST_SENSITIVITY = 1e-6  # of the mean one: what no gradient was seen of still ranks by its spread


@dataclass(frozen=True, slots=True)
class Mixtures:
    """The best mixtures of a code, in falling order of what they are worth."""

    weights_MC: Tensor  # what each takes of each map, before the sigmoid
    shares_M: Tensor  # of the loss that all mixtures together avert, 0..1


def principal_mixtures(
    covariance_CC: Tensor, sensitivity_CC: Tensor, *, num_mixtures: int
) -> Mixtures:
    """Return the mixtures from which a code is restored with the least harm.

    `covariance_CC` is the code's, `sensitivity_CC` the mean outer product of the loss's gradients.
    Computed in float64 on the processor, with the largest weight of each positive: so that the
    same numbers give the same mixtures wherever they are trained.
    """
    covariance_CC, sensitivity_CC = (m.double().cpu() for m in (covariance_CC, sensitivity_CC))
    floor = LEAST_SENSITIVITY * sensitivity_CC.diagonal().mean() + torch.finfo(torch.float64).tiny
    root_CC = _root(sensitivity_CC + floor * torch.eye(len(sensitivity_CC), dtype=torch.float64))
    worth_C, vectors_CC = torch.linalg.eigh(root_CC @ covariance_CC @ root_CC)
    worth_C = worth_C.clamp(min=0.0).flip(0)
    weights_CC = (root_CC @ vectors_CC).T.flip(0)
    largest_C = weights_CC.gather(1, weights_CC.abs().argmax(dim=1, keepdim=True))
    weights_CC = weights_CC * torch.where(largest_C < 0, -1.0, 1.0)
    total = worth_C.sum().clamp(min=torch.finfo(torch.float64).tiny)  # 0 of a code that is dead
    return Mixtures(weights_CC[:num_mixtures], (worth_C / total)[:num_mixtures])


@torch.no_grad()
def mix(bottleneck: Bottleneck, mixtures: Mixtures, features_BPHW: Tensor) -> None:
    """Let mixtures of the maps that cross now cross in their place, and freeze them.

    They take the first places of those maps, in order. Batch norms and the decoder are fitted to
    `features_BPHW`, so that the features come out as they did as far as the mixtures tell.
    """
    assert bottleneck.selected is not None
    weights_MC = mixtures.weights_MC.to(features_BPHW)
    was_training = bottleneck.training
    bottleneck.eval()
    code_BChw = bottleneck.encode(features_BPHW)
    wanted_BPHW = bottleneck.decoder_norm(bottleneck.spread(code_BChw))
    places_M = bottleneck.selected_C[: len(weights_MC)]
    encoder_MPkk = _mixed_encoder(bottleneck, weights_MC)
    decoder_CPkk = _filtered_decoder(bottleneck)
    scores_P = torch.zeros(bottleneck.channels)
    scores_P[places_M.cpu()] = mixtures.shares_M.float() + 1.0  # all others stay below them
    bottleneck.reset_prune(len(places_M), scores_P=scores_P)
    bottleneck.freeze_selection()
    assert torch.equal(bottleneck.selected_C, places_M)
    bottleneck.encoder.weight[places_M] = encoder_MPkk
    _settle_encoder_norm(bottleneck, encoder_MPkk, features_BPHW)
    mixed_BMhw = bottleneck.encode(features_BPHW)
    back_CM = _linear_fit(mixed_BMhw, code_BChw)
    filter_M = bottleneck.filter_P[places_M].view(-1, 1, 1, 1)
    decoder_MPkk = torch.einsum("cm,cpij->mpij", back_CM, decoder_CPkk) / filter_M
    bottleneck.decoder.weight[places_M] = decoder_MPkk
    bottleneck.fit_decoder_norm(bottleneck.spread(mixed_BMhw), wanted_BPHW)
    bottleneck.train(was_training)


def _mixed_encoder(bottleneck: Bottleneck, weights_MC: Tensor) -> Tensor:
    """Return the filters that make the mixtures, each as large as those they are made of."""
    norm, selected_C = bottleneck.encoder_norm, bottleneck.selected_C
    assert norm.running_var is not None
    scale_C = norm.weight[selected_C] / (norm.running_var[selected_C] + norm.eps).sqrt()
    filters_CPkk = bottleneck.encoder.weight[selected_C]
    mixed_MPkk = torch.einsum("mc,cpij->mpij", weights_MC * scale_C, filters_CPkk)
    usual = filters_CPkk.flatten(1).norm(dim=1).mean()
    sizes_M = mixed_MPkk.flatten(1).norm(dim=1).clamp(min=torch.finfo(mixed_MPkk.dtype).tiny)
    evened_MPkk: Tensor = mixed_MPkk * (usual / sizes_M).view(-1, 1, 1, 1)
    return evened_MPkk


def _filtered_decoder(bottleneck: Bottleneck) -> Tensor:
    """Return what the decoder makes of each map that crosses, its filter value in the weights."""
    selected_C = bottleneck.selected_C
    return bottleneck.decoder.weight[selected_C] * bottleneck.filter_P[selected_C].view(-1, 1, 1, 1)


def _settle_encoder_norm(
    bottleneck: Bottleneck, encoder_MPkk: Tensor, features_BPHW: Tensor
) -> None:
    """Let the encoder's batch norm give each mixture the deviation that a fresh map has."""
    conv, norm, places_M = bottleneck.encoder, bottleneck.encoder_norm, bottleneck.selected_C
    assert norm.running_mean is not None
    assert norm.running_var is not None
    made_BMhw = functional.conv2d(features_BPHW, encoder_MPkk, None, conv.stride, conv.padding)
    variance_M, mean_M = torch.var_mean(made_BMhw, dim=(0, 2, 3), correction=0)
    norm.running_mean[places_M], norm.running_var[places_M] = mean_M, variance_M
    norm.weight[places_M], norm.bias[places_M] = ENCODER_GAIN, 0.0


def _linear_fit(from_BMhw: Tensor, to_BChw: Tensor) -> Tensor:
    """Return the weights [C, M] that restore the deviations of one code from another's best."""
    from_NM, to_NC = (x.double().cpu().transpose(1, 3).flatten(0, 2) for x in (from_BMhw, to_BChw))
    from_NM, to_NC = from_NM - from_NM.mean(dim=0), to_NC - to_NC.mean(dim=0)
    fit_MC = torch.linalg.pinv(from_NM.T @ from_NM, hermitian=True) @ (from_NM.T @ to_NC)
    fit_CM: Tensor = fit_MC.T.to(from_BMhw)
    return fit_CM


def _root(matrix_CC: Tensor) -> Tensor:
    """Return the symmetric root of a symmetric matrix without negative eigenvalues."""
    values_C, vectors_CC = torch.linalg.eigh(matrix_CC)
    root_CC: Tensor = (vectors_CC * values_C.clamp(min=0.0).sqrt()) @ vectors_CC.T
    return root_CC
