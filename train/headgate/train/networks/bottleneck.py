"""The bottleneck of arXiv 2311.05739: few, small and bounded maps instead of the backbone's phi.

    device   convolution (kernel 2 + r, stride r, padding r) - batch norm - sigmoid = code
    network  the B maps of the code with the largest filter value f = sigmoid(f_hat)
    edge     times f - transposed convolution back to phi maps - batch norm - ReLU

The code crosses before it is multiplied by f, not after: the same product, but the code keeps its
range of 0..1 and f folds into the decoder's weights. f never becomes binary, and must not be
rounded (tried: 96.4 % fell to 29.2 %).

Maps are selected by index, never by a threshold: saturated filter values tie in float32, and a
threshold would then send more than B. Before the selection is frozen it follows f, and every map is
computed, so that batch norm's averages of all maps stay true. Once frozen, only the B selected maps
are computed, with the same result.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from headgate.profiles.errors import UsageError
from headgate.train.networks.crossing import Crossing

# Shapes: B batch, P all phi maps, C the maps that cross, H x W at the split, h x w in the code

ENCODER_GAIN = 0.7  # batch norm's, before the sigmoid: two deviations stay where it is near linear
F_HAT_RANGE = (1.0, 3.0)  # f = 0.73 to 0.95: not so saturated that maps could not fall
UNTRAINED_F_HAT = -4.0  # f = 0.018


class Bottleneck(Crossing):
    """Compresses phi maps of H x W to `budget` maps of h x w, and restores them."""

    def __init__(
        self,
        channels: int,
        *,
        size_px: tuple[int, int],
        resolution_factor: int = 1,
        budget: int | None = None,
        signed: bool = False,
    ) -> None:
        """Make a bottleneck for `channels` (phi) maps of `size_px` (height, width).

        `signed` says that features at the split can be negative: then no ReLU ends the decoder.
        """
        r = resolution_factor
        check_resolution_factor(r, size_px=size_px)
        super().__init__(channels, size_px=size_px, resolution_factor=r)
        self.signed = signed
        self.encoder = nn.Conv2d(channels, channels, 2 + r, stride=r, padding=r, bias=False)
        self.encoder_norm = nn.BatchNorm2d(channels)
        self.f_hat = nn.Parameter(torch.empty(channels).uniform_(*F_HAT_RANGE))
        self.decoder = nn.ConvTranspose2d(
            channels,
            channels,
            2 + r,
            stride=r,
            padding=r,
            # The rows and columns that the stride did not reach (0 to r - 1): any size is restored.
            output_padding=((size_px[0] - 2) % r, (size_px[1] - 2) % r),
            bias=False,
        )
        self.decoder_norm = nn.BatchNorm2d(channels)
        self._pass_through()
        self.set_budget(channels if budget is None else budget)

    @property
    def code_shape(self) -> tuple[int, int, int]:
        """The shape (C, h, w) of what crosses."""
        r = self.resolution_factor
        height, width = ((px + r - 2) // r + 1 for px in self.size_px)
        return self.budget, height, width

    @property
    def filter_P(self) -> Tensor:
        """The filter f of all maps, 0..1."""
        return torch.sigmoid(self.f_hat)

    def reset_prune(
        self,
        budget: int,
        *,
        scores_P: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """Start Algorithm 3's next member: a smaller budget, and a filter whose maps can fall.

        f_hat is drawn anew, or spaced evenly in the order of `scores_P`. Maps that the previous
        member did not send had no training since: they start low, so none of them is selected.
        """
        low, high = F_HAT_RANGE
        if scores_P is None:
            drawn_P = torch.rand(self.channels, generator=generator)
        else:
            rank_P = torch.argsort(torch.argsort(scores_P.detach().cpu(), stable=True))
            drawn_P = rank_P / max(1, self.channels - 1)
        fresh_P = low + (high - low) * drawn_P
        if self.selected is not None and budget <= self.budget:
            untrained_P = torch.ones(self.channels, dtype=torch.bool)
            untrained_P[list(self.selected)] = False
            fresh_P[untrained_P] = UNTRAINED_F_HAT
        with torch.no_grad():
            self.f_hat.copy_(fresh_P)
        self.set_budget(budget)

    @torch.no_grad()
    def importance_P(self) -> Tensor:
        """Estimate how much each map moves the restored features, from the weights alone.

        It is the deviation of the code, to first order, times the norm of what the decoder
        makes of it. Selecting by it speeds up the first epochs; later it makes no difference.
        """
        inner_P = torch.sigmoid(self.encoder_norm.bias)
        spread_P = self.encoder_norm.weight.abs() * inner_P * (1.0 - inner_P)
        norm = self.decoder_norm
        assert norm.running_var is not None
        gain_P = norm.weight / (norm.running_var + norm.eps).sqrt()
        reach_P = (self.decoder.weight * gain_P.view(1, -1, 1, 1)).flatten(1).norm(dim=1)
        score_P: Tensor = spread_P * self.filter_P * reach_P
        return score_P

    def encode(self, x_BPHW: Tensor) -> Tensor:
        """Return the code [B, C, h, w], 0..1, of the selected maps only."""
        return torch.sigmoid(self.squeeze(x_BPHW))

    def decode(self, code_BCHW: Tensor, *, filter_C: Tensor | None = None) -> Tensor:
        """Restore features [B, P, H, W] from the selected maps of the code.

        `filter_C` are the filter values of these maps, where another side holds them.
        """
        x_BPHW = self.decoder_norm(self.spread(code_BCHW, filter_C=filter_C))
        return x_BPHW if self.signed else functional.relu(x_BPHW)

    def squeeze(self, x_BPHW: Tensor) -> Tensor:
        """Return the code of the selected maps before its sigmoid."""
        conv, norm = self.encoder, self.encoder_norm
        if self.budget == self.channels or self.selected is None:
            squeezed_BPHW: Tensor = norm(conv(x_BPHW))
            if self.budget == self.channels:
                return squeezed_BPHW
            return squeezed_BPHW.index_select(1, self.selected_C)
        weight = conv.weight[self.selected_C]
        x_BCHW = functional.conv2d(x_BPHW, weight, None, conv.stride, conv.padding)
        return _norm_selected(norm, x_BCHW, self.selected_C)

    def spread(self, code_BCHW: Tensor, *, filter_C: Tensor | None = None) -> Tensor:
        """Return all maps [B, P, H, W] that a code is spread to, before the batch norm."""
        conv = self.decoder
        if filter_C is None:
            filter_C = self.filter_P[self.selected_C]
        # f scales the weights, not the maps: 50 times fewer products at 8 x 8 and a batch of 128.
        weight = conv.weight[self.selected_C] * filter_C.view(-1, 1, 1, 1)
        return functional.conv_transpose2d(
            code_BCHW,
            weight,
            stride=conv.stride,
            padding=self.resolution_factor,
            output_padding=conv.output_padding,
        )

    @torch.no_grad()
    def warm_start(self, features_BPHW: Tensor) -> None:
        """Set the weights so that trained features come out nearly as they went in.

        Each map is averaged over r x r pixels, squeezed, and spread again; the batch norms take
        their statistics and the best linear fit from `features_BPHW`, a batch of the
        backbone's features at the split. Fine-tuning then starts near the backbone's accuracy.
        """
        self._pass_through()
        features_BPHW = features_BPHW.float()
        encoded_BPHW = self.encoder(features_BPHW)
        _take_statistics(self.encoder_norm, encoded_BPHW)
        squeezed_BPHW = torch.sigmoid(_apply_eval(self.encoder_norm, encoded_BPHW))
        spread_BPHW = self.decoder(squeezed_BPHW * self.filter_P.view(-1, 1, 1))
        self.fit_decoder_norm(spread_BPHW, features_BPHW)

    @torch.no_grad()
    def fit_decoder_norm(self, spread_BPHW: Tensor, wanted_BPHW: Tensor) -> None:
        """Let the decoder's batch norm turn what is spread into what is wanted, as well as it can.

        It takes its statistics from the first, and the best linear fit of each map to the second.
        """
        norm = self.decoder_norm
        norm.reset_parameters()
        _take_statistics(norm, spread_BPHW)
        mean_P = wanted_BPHW.mean(dim=(0, 2, 3))
        centred_BPHW = _apply_eval(norm, spread_BPHW)
        product_BPHW = centred_BPHW * (wanted_BPHW - mean_P.view(-1, 1, 1))
        norm.weight.copy_(product_BPHW.mean(dim=(0, 2, 3)))
        norm.bias.copy_(mean_P)

    @torch.no_grad()
    def _pass_through(self) -> None:
        """Connect map p to map p only; windows 1 to r of the kernel tile the picture exactly."""
        r = self.resolution_factor
        maps = torch.arange(self.channels)
        self.encoder.weight.zero_()
        self.encoder.weight[maps, maps, 1 : r + 1, 1 : r + 1] = 1.0 / r**2
        self.decoder.weight.zero_()
        self.decoder.weight[maps, maps, 1 : r + 1, 1 : r + 1] = 1.0
        self.encoder_norm.reset_parameters()
        self.encoder_norm.weight.fill_(ENCODER_GAIN)
        self.decoder_norm.reset_parameters()


class CentredBottleneck(Bottleneck):
    """A bottleneck whose code is the difference from each map's mean, so that 0 says "as usual".

    What does not arrive of a progressive frame is zero. A sigmoid's zero is an extreme that no
    picture has; the mean is what is best assumed of a map that nothing is known of.
    """

    centre_P: Tensor

    def __init__(
        self,
        channels: int,
        *,
        size_px: tuple[int, int],
        resolution_factor: int = 1,
        budget: int | None = None,
        signed: bool = False,
    ) -> None:
        super().__init__(
            channels,
            size_px=size_px,
            resolution_factor=resolution_factor,
            budget=budget,
            signed=signed,
        )
        self.register_buffer("centre_P", torch.full((channels,), 0.5))

    @property
    def centre_C(self) -> Tensor:
        """The means of the maps that cross, ascending by index."""
        return self.centre_P[self.selected_C]

    def encode(self, x_BPHW: Tensor) -> Tensor:
        """Return the code of the selected maps, less their means."""
        return super().encode(x_BPHW) - self.centre_C.view(-1, 1, 1)

    def decode(self, code_BCHW: Tensor, *, filter_C: Tensor | None = None) -> Tensor:
        """Restore features from differences from the means."""
        return super().decode(code_BCHW + self.centre_C.view(-1, 1, 1), filter_C=filter_C)

    @torch.no_grad()
    def centre_on(self, features_BPHW: Tensor) -> None:
        """Take the means of the maps that cross from a batch of features at the split."""
        was_training = self.training
        self.eval()
        self.centre_P[self.selected_C] = super().encode(features_BPHW).float().mean(dim=(0, 2, 3))
        self.train(was_training)


def check_resolution_factor(resolution_factor: int, *, size_px: tuple[int, int]) -> None:
    """Refuse factors that cannot shrink maps of this size."""
    if not 1 <= resolution_factor <= max(1, min(size_px)):
        raise UsageError(
            f"--resolution: found {resolution_factor}, but the maps at the split are "
            f"{size_px[0]} x {size_px[1]}; expected 1 to {max(1, min(size_px))}"
        )


def _norm_selected(norm: nn.BatchNorm2d, x_BCHW: Tensor, selected_C: Tensor) -> Tensor:
    """Apply, and while training update, only the selected channels of a batch norm."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean_C, var_C = norm.running_mean[selected_C], norm.running_var[selected_C]
    normed_BCHW = functional.batch_norm(
        x_BCHW,
        mean_C,
        var_C,
        norm.weight[selected_C],
        norm.bias[selected_C],
        norm.training,
        norm.momentum or 0.0,
        norm.eps,
    )
    if norm.training:
        norm.running_mean[selected_C] = mean_C
        norm.running_var[selected_C] = var_C
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
    return normed_BCHW


def _take_statistics(norm: nn.BatchNorm2d, x_BPHW: Tensor) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    var_P, mean_P = torch.var_mean(x_BPHW, dim=(0, 2, 3), correction=0)
    norm.running_mean.copy_(mean_P)
    norm.running_var.copy_(var_P)


def _apply_eval(norm: nn.BatchNorm2d, x_BPHW: Tensor) -> Tensor:
    return functional.batch_norm(
        x_BPHW, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps
    )
