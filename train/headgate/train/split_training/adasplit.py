"""What AdaSplit (arXiv 2112.01637) adds to split training: clients that learn from their own loss.

No gradient returns, so a client need not wait for the server, nor send it every batch:

    first `local_epochs`   no maps cross, only halves at their ends; clients train alone
    later epochs           a `cross_share` of all clients' batches does; the orchestrator says whose
    on the server          each client has a view of the layers of its own, see `client_views`

A client trains on all of its batches, those that cross and those that do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headgate.profiles.errors import UsageError

LOCAL_LOSSES = ("contrastive", "label")
ORCHESTRATORS = ("ucb", "even")
PARTITIONS = ("drawn", "classes")


@dataclass(frozen=True, slots=True)
class AdaSplitSettings:
    """All sides must have the same."""

    local_epochs: int  # kappa of the paper, times its rounds
    cross_share: float = 0.6  # eta of the paper: of the clients in each iteration
    orchestrator: str = "ucb"  # whose batches cross, see `orchestrator`; or of all alike
    local_loss: str = "label"  # the paper has contrastive
    temperature: float = 0.07  # of the contrastive loss
    server_passes: int = 4  # over the batches of an epoch, see `replay`

    def crosses_in(self, epoch: int) -> bool:
        """Say whether maps cross in an epoch, from 0."""
        return epoch >= self.local_epochs

    def check(self, *, num_epochs: int) -> None:
        """Raise UsageError for what no training could make sense of."""
        for option, word, known in (
            ("--local-loss", self.local_loss, LOCAL_LOSSES),
            ("--orchestrator", self.orchestrator, ORCHESTRATORS),
        ):
            if word not in known:
                raise UsageError(f"{option}: {word!r} is not one of {', '.join(known)}")
        if not 0 <= self.local_epochs < num_epochs:
            raise UsageError(
                f"--local-epochs: found {self.local_epochs}, expected 0 to {num_epochs - 1}: the "
                f"server learns in what is left of the {num_epochs} epochs of --schedule"
            )
        if not 0 < self.cross_share <= 1:
            raise UsageError(
                f"--cross-share: found {self.cross_share:g}, expected above 0 and at most 1"
            )
        if self.server_passes < 1:
            raise UsageError(f"--server-passes: found {self.server_passes}, expected 1 or more")
        if not self.temperature > 0:
            raise UsageError(f"--temperature: found {self.temperature:g}, expected more than 0")

    def agreement(self) -> dict[str, Any]:
        """Return what a client and its server must have in common, by the names of a user."""
        return {
            "method": "adasplit",
            "local epochs": self.local_epochs,
            "cross share": self.cross_share,
            "orchestrator": self.orchestrator,
            "local loss": self.local_loss,
            "temperature": self.temperature,
            "server passes": self.server_passes,
        }
