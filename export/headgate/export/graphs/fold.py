"""Fold a member's bottleneck into one convolution on each side, with only the maps that cross.

    encoder   convolution of the C selected maps, batch norm folded into it, then the sigmoid
    decoder   transposed convolution from C maps, with the filter f and batch norm folded into it

f scales the code linearly on the edge's side, so it belongs into the decoder's weights as it is:
it never becomes binary, and rounding it would be fatal. Nothing is scattered at run time, and the
order in which maps are sent is that of the convolutions' channels. (Batch norms of the backbone are
folded by the exporter's own rewriting.)
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from headgate.train.networks.bottleneck import Bottleneck

# Shapes: P phi maps at the split, C selected maps, k kernel


def folded_encoder(bottleneck: Bottleneck, maps: Sequence[int]) -> nn.Sequential:
    """Return features [N,P,H,W] -> code [N,C,h,w] in 0..1 as one convolution and a sigmoid.

    `maps` are the selected ones in the order in which they are emitted.
    """
    selected_C = list(maps)
    scale_P, shift_P = batch_norm_as_affine(bottleneck.encoder_norm)
    weight_CPkk = bottleneck.encoder.weight[selected_C] * scale_P[selected_C, None, None, None]
    bias_C = shift_P[selected_C] + _bias(bottleneck.encoder)[selected_C] * scale_P[selected_C]
    convolution = nn.Conv2d(
        bottleneck.channels,
        len(selected_C),
        bottleneck.encoder.kernel_size,  # type: ignore[arg-type]
        stride=bottleneck.encoder.stride,  # type: ignore[arg-type]
        padding=bottleneck.encoder.padding,  # type: ignore[arg-type]
    )
    _set(convolution, weight_CPkk, bias_C)
    return nn.Sequential(convolution, nn.Sigmoid()).eval()


def folded_decoder(bottleneck: Bottleneck, maps: Sequence[int]) -> nn.Sequential:
    """Return code [N,C,h,w] -> features [N,P,H,W] as one transposed convolution and its ReLU.

    `maps` are the selected ones in the order in which they come in.
    """
    selected_C = list(maps)
    scale_P, shift_P = batch_norm_as_affine(bottleneck.decoder_norm)
    filter_C = torch.sigmoid(bottleneck.f_hat.detach())[selected_C]
    # Transposed convolutions hold their weights as [input, output, k, k].
    weight_CPkk = bottleneck.decoder.weight[selected_C] * filter_C[:, None, None, None]
    weight_CPkk = weight_CPkk * scale_P[None, :, None, None]
    bias_P = shift_P + _bias(bottleneck.decoder) * scale_P
    convolution = nn.ConvTranspose2d(
        len(selected_C),
        bottleneck.channels,
        bottleneck.decoder.kernel_size,  # type: ignore[arg-type]
        stride=bottleneck.decoder.stride,  # type: ignore[arg-type]
        padding=bottleneck.decoder.padding,  # type: ignore[arg-type]
        output_padding=bottleneck.decoder.output_padding,  # type: ignore[arg-type]
    )
    _set(convolution, weight_CPkk, bias_P)
    last = nn.Identity() if bottleneck.signed else nn.ReLU()
    return nn.Sequential(convolution, last).eval()


def batch_norm_as_affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return (scale, shift) per channel: what batch norm does once training is over."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    deviation = torch.sqrt(norm.running_var + norm.eps)
    weight = torch.ones_like(deviation) if norm.weight is None else norm.weight.detach()
    bias = torch.zeros_like(deviation) if norm.bias is None else norm.bias.detach()
    scale = weight / deviation
    return scale, bias - norm.running_mean * scale


def _bias(convolution: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    if convolution.bias is None:
        return torch.zeros(convolution.out_channels)
    return convolution.bias.detach()


def _set(convolution: nn.Conv2d | nn.ConvTranspose2d, weight: Tensor, bias: Tensor) -> None:
    convolution.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    convolution.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
