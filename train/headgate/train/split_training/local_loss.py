"""The loss that a client of AdaSplit trains its half by, with nothing from the server.

contrastive   pictures of one class shall have like codes, those of others unlike ones: the
              supervised NT-Xent loss on a projection of the code, as AdaSplit has it (arXiv
              2112.01637; the loss is that of arXiv 2004.11362, equation 2)
label         cross entropy of a linear classifier on the code

Either needs layers that the network does not have. They are the client's own, and never cross.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# Shapes: B batch, C maps that cross, h x w in the code, D dimensions of the projection

CELLS = 4  # each map is averaged to so many by so many at most: the head must stay small
HIDDEN = 128
DIMENSIONS = 64


class LocalHead(nn.Module):
    """Layers between the code of all maps [B, C, h, w] and a client's own loss."""

    def __init__(
        self, channels: int, *, code_px: tuple[int, int], num_classes: int, kind: str
    ) -> None:
        """`channels` are those of the largest budget: maps that do not cross count as zero."""
        super().__init__()
        self.channels = channels
        self.kind = kind
        cells = (min(code_px[0], CELLS), min(code_px[1], CELLS))
        self.pool = nn.AdaptiveAvgPool2d(cells)
        num_features = channels * cells[0] * cells[1]
        self.layers: nn.Module = nn.Linear(num_features, num_classes)
        if kind == "contrastive":
            self.layers = nn.Sequential(
                nn.Linear(num_features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, DIMENSIONS)
            )

    def forward(self, code_BCHW: Tensor, *, selected_C: Tensor) -> Tensor:
        """Return logits [B, K], or directions [B, D] of length 1."""
        if code_BCHW.shape[1] != self.channels:
            whole = code_BCHW.new_zeros(code_BCHW.shape[0], self.channels, *code_BCHW.shape[2:])
            code_BCHW = whole.index_copy(1, selected_C, code_BCHW)
        out: Tensor = self.layers(self.pool(code_BCHW - 0.5).flatten(1))
        return functional.normalize(out.float(), dim=1) if self.kind == "contrastive" else out

    def loss(
        self, code_BCHW: Tensor, labels_B: Tensor, *, selected_C: Tensor, temperature: float
    ) -> Tensor:
        """Return the scalar to descend."""
        out = self(code_BCHW, selected_C=selected_C)
        if self.kind == "contrastive":
            return contrastive_loss(out, labels_B, temperature=temperature)
        return functional.cross_entropy(out.float(), labels_B)


def contrastive_loss(directions_BD: Tensor, labels_B: Tensor, *, temperature: float) -> Tensor:
    """Return how hard it is to tell pictures of a class from the others of the batch.

    It is the mean, over pictures that have company of their class, of -log of the share that each
    companion has of exp(likeness / temperature) over all other pictures; 0 if none has any.
    """
    logits_BB = directions_BD @ directions_BD.T / temperature
    itself_BB = torch.eye(len(labels_B), dtype=torch.bool, device=labels_B.device)
    log_share_BB = functional.log_softmax(logits_BB.masked_fill(itself_BB, -torch.inf), dim=1)
    company_BB = (labels_B.view(-1, 1) == labels_B) & ~itself_BB
    num_company_B = company_BB.sum(dim=1)
    total_B = log_share_BB.masked_fill(~company_BB, 0.0).sum(dim=1)
    has_company_B = num_company_B > 0
    mean_B = total_B / num_company_B.clamp(min=1)
    return -mean_B.sum() / has_company_B.sum().clamp(min=1)
