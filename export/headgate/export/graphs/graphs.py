"""The three graphs of deployment as torch modules: head on the device, tail and full at the edge.

A head takes the picture as bytes and yields integers; a tail takes integers and yields
probabilities. Ranges and the number of levels are inputs with one row per picture, so frames of
different points of one member can share a batch, and bit depth costs no second graph.

The arithmetic of quantising is that of `headgate.profiles.quantise`, operation by operation.

Shapes: N batch, H W picture, P phi (feature maps at the split), C sent feature maps,
h w their size, K classes.
"""

import torch
from torch import Tensor, nn


def picture_to_unit(picture_NHWC: Tensor) -> Tensor:
    """Return float [N,3,H,W] in 0..1 for bytes [N,H,W,3]; the network normalises it."""
    return picture_NHWC.permute(0, 3, 1, 2).to(torch.float32) / 255.0


def quantise_tensor(
    code_NCHW: Tensor, low_NC: Tensor, span_NC: Tensor, levels_N1: Tensor
) -> Tensor:
    """Mirror `headgate.profiles.quantise.quantise` with one row of scales per picture."""
    low = low_NC[:, :, None, None]
    span = span_NC[:, :, None, None]
    steps = levels_N1[:, :, None, None] - 1.0
    unit = torch.clamp((code_NCHW - low) / span, 0.0, 1.0)
    return torch.round(unit * steps).to(torch.uint8)


def dequantise_tensor(q_NCHW: Tensor, low_NC: Tensor, span_NC: Tensor, levels_N1: Tensor) -> Tensor:
    """Mirror `headgate.profiles.quantise.dequantise` with one row of scales per picture."""
    step_NC = span_NC / (levels_N1 - 1.0)
    return low_NC[:, :, None, None] + q_NCHW.to(torch.float32) * step_NC[:, :, None, None]


class HeadGraph(nn.Module):
    """Picture in; integers of the selected maps and the early exit's probabilities out."""

    input_names = ("picture", "low", "span", "levels")
    output_names = ("features", "exit_probabilities")

    def __init__(
        self, *, backbone_head: nn.Module, encoder: nn.Module, early_exit: nn.Module
    ) -> None:
        super().__init__()
        self.backbone_head = backbone_head
        self.encoder = encoder
        self.early_exit = early_exit

    def code(self, picture_NHWC: Tensor) -> Tensor:
        """Return the code [N,C,h,w] before quantising, for calibration."""
        code_NCHW: Tensor = self.encoder(self.backbone_head(picture_to_unit(picture_NHWC)))
        return code_NCHW

    def forward(
        self, picture_NHWC: Tensor, low_NC: Tensor, span_NC: Tensor, levels_N1: Tensor
    ) -> tuple[Tensor, Tensor]:
        features_NPHW = self.backbone_head(picture_to_unit(picture_NHWC))
        q_NCHW = quantise_tensor(self.encoder(features_NPHW), low_NC, span_NC, levels_N1)
        return q_NCHW, torch.softmax(self.early_exit(features_NPHW), dim=1)


class TailGraph(nn.Module):
    """Integers of the selected maps in, probabilities out."""

    input_names = ("features", "low", "span", "levels")
    output_names = ("probabilities",)

    def __init__(self, *, decoder: nn.Module, backbone_tail: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder
        self.backbone_tail = backbone_tail

    def logits(self, code_NCHW: Tensor) -> Tensor:
        """Return logits [N,K] for a code, quantised or not."""
        logits_NK: Tensor = self.backbone_tail(self.decoder(code_NCHW))
        return logits_NK

    def forward(
        self, features_NCHW: Tensor, low_NC: Tensor, span_NC: Tensor, levels_N1: Tensor
    ) -> Tensor:
        code_NCHW = dequantise_tensor(features_NCHW, low_NC, span_NC, levels_N1)
        return torch.softmax(self.logits(code_NCHW), dim=1)


class FullGraph(nn.Module):
    """Picture in, probabilities out: the plain network, without bottleneck."""

    input_names = ("picture",)
    output_names = ("probabilities",)

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, picture_NHWC: Tensor) -> Tensor:
        return torch.softmax(self.backbone(picture_to_unit(picture_NHWC)), dim=1)
