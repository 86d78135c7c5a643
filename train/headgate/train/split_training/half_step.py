"""A step of one half: taken at the rate of its place, or undone as if it had never been begun.

A forward pass changes batch norm's averages by itself, and the client's also what its rounding
owes. A number that is not finite in one of these would never leave them again, so a refused step,
and a batch that is never answered, must put all of them back.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from headgate.profiles.train_messages import Place
from headgate.train.learning.optimizers import make_sgd
from headgate.train.recipe import PruneConfig
from headgate.train.split_training.halves import all_finite
from headgate.train.split_training.settings import DepruneSettings, rate_of


class HalfSteps:
    """The weights of one half, their optimizer, and all that forward passes change."""

    def __init__(
        self,
        weights: Sequence[nn.Parameter],
        averages: Sequence[Tensor],
        *,
        config: PruneConfig,
        settings: DepruneSettings,
        from_epoch: int = 0,
    ) -> None:
        """`averages` are changed in place by a forward pass; the first step is in `from_epoch`."""
        self.weights = list(weights)
        self.averages = list(averages)
        self.optimizer = make_sgd(self.weights, config)
        self.rate = 0.0  # of the last step
        self._config, self._settings, self._from_epoch = config, settings, from_epoch

    def averages_before(self) -> list[Tensor]:
        """Return copies of the averages, to put back if the coming pass must be undone."""
        return [average.clone() for average in self.averages]

    def put_back(self, before: Sequence[Tensor]) -> None:
        """Undo what a forward pass did to the averages."""
        for average, value in zip(self.averages, before, strict=True):
            average.copy_(value)

    def backward(self, ends: Sequence[Tensor], gradients: Sequence[Tensor] | None = None) -> None:
        """Compute the gradients of this step alone; those of `ends` are 1 where none are given."""
        self.optimizer.zero_grad()
        torch.autograd.backward(ends, gradients)

    def is_finite(self, *others: Tensor) -> bool:
        """Say whether all gradients, averages and `others` are, at one look at the device."""
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        return all_finite(*others, *gradients, *self.averages)

    def take(self, place: Place, *, num_steps: int) -> None:
        """Change the weights by the gradients; `num_steps` are those of the client's epoch."""
        rate = rate_of(
            self._config,
            self._settings,
            epoch=place.epoch,
            step=place.step,
            num_steps=num_steps,
            from_epoch=self._from_epoch,
        )
        self.rate = rate
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
