"""The network that answers whole pictures: of a run that has a plain one, and of split training."""

from torch import Tensor, nn

from headgate.train.folder.run_folder import Run
from headgate.train.networks.split_model import SplitModel

# Shapes: B batch, C channels, H height, W width, K classes


class WholeMember(nn.Module):
    """A member that is not cut, and quantises nothing: pictures in 0..1 to logits."""

    def __init__(self, model: SplitModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x_BCHW: Tensor) -> Tensor:
        bottleneck = self.model.bottleneck
        code_BCHW = bottleneck.encode(self.model.features(x_BCHW))
        logits_BK: Tensor = self.model.tail(bottleneck.decode(code_BCHW))
        return logits_BK


def whole_network(run: Run) -> nn.Module:
    """Return what answers a whole picture: the plain network, or what split training made.

    That has no plain network: its tail knows restored features only. So its member stands for it,
    undivided. A run from scratch, which has neither, is refused.
    """
    if run.record.deprune is None:
        return run.backbone()
    return WholeMember(run.member(run.member_ids[-1])).eval()
