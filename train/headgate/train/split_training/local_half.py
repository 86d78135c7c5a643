"""A client's half that AdaSplit trains: by its own loss, whether or not the batch crosses.

The step is taken before anything is sent, so the server's answer has nothing to say but that the
batch came, and whatever happens to it leaves the half as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from headgate.profiles.train_messages import Header, Place
from headgate.train.learning.material import Lesson
from headgate.train.seeds import derive_seed
from headgate.train.split_training.adasplit import AdaSplitSettings
from headgate.train.split_training.client_half import ClientHalf, num_classes_of
from headgate.train.split_training.halves import all_finite
from headgate.train.split_training.local_loss import LocalHead
from headgate.train.split_training.payload import Parcel
from headgate.train.split_training.settings import DepruneSettings

# Shapes: B batch, C maps that cross

_LOCAL = "local."


class LocalHalf(ClientHalf):
    """One client's network, with the layers of its own loss."""

    local_head: LocalHead

    def train_alone(self, lesson: Lesson, place: Place) -> bool:
        """Take a step on a lesson, whose number in its epoch `place` says; False if refused."""
        return self._learn(lesson, place) is not None

    def forward(self, lesson: Lesson, place: Place) -> tuple[Header, tuple[Parcel, Parcel, Parcel]]:
        """Take a step on the next lesson of the plan, and return what crosses.

        A step that is refused is sent all the same: the server will say what it makes of it.
        """
        code_BCHW = self._learn(lesson, Place(place.epoch, self.plan.done))
        self.refused_last = code_BCHW is None
        if code_BCHW is None:
            code_BCHW = self._encoded(lesson)
        return self._message(lesson, place, code_BCHW)

    @property
    def trains_alone(self) -> bool:
        return True

    @property
    def is_finite(self) -> bool:
        return super().is_finite and all_finite(*self.local_head.parameters())

    def extra_state(self) -> dict[str, Tensor]:
        """Return what a checkpoint holds beside the model and its optimizer."""
        own = {_LOCAL + n: t for n, t in self.local_head.state_dict().items()}
        return {**super().extra_state(), **own}

    def restore_extra(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `extra_state` told."""
        super().restore_extra(tensors)
        own = {n.removeprefix(_LOCAL): t for n, t in tensors.items() if n.startswith(_LOCAL)}
        self.local_head.load_state_dict(own)

    def _more_weights(self) -> Sequence[nn.Parameter]:
        bottleneck = self.model.bottleneck
        _, height, width = bottleneck.code_shape
        torch.manual_seed(derive_seed(self._config.seed, "local head", self._name))
        self.local_head = LocalHead(
            bottleneck.channels,
            code_px=(height, width),
            num_classes=num_classes_of(self.model),
            kind=self._adasplit.local_loss,
        ).to(self._device)
        return list(self.local_head.parameters())

    @property
    def _adasplit(self) -> AdaSplitSettings:
        assert self._settings.adasplit is not None
        return self._settings.adasplit

    def _learn(self, lesson: Lesson, place: Place) -> Tensor | None:
        """Take a step on the client's own loss; return the code that it was made on, or None."""
        averages = self._steps.averages_before()
        code_BCHW, own_loss = self._passed(lesson, place)
        loss = own_loss + self.local_head.loss(
            code_BCHW,
            lesson.labels_B,
            selected_C=self.model.bottleneck.selected_C,
            temperature=self._adasplit.temperature,
        )
        self._steps.backward([loss])
        if not self._steps.is_finite(loss):
            self._steps.put_back(averages)
            return None
        self._steps.take(place, num_steps=self._num_steps)
        return code_BCHW.detach()

    @torch.no_grad()
    def _encoded(self, lesson: Lesson) -> Tensor:
        averages = self._steps.averages_before()
        code_BCHW: Tensor = self.model.bottleneck.encode(self.model.features(lesson.x_BCHW))
        self._steps.put_back(averages)
        return code_BCHW.float()


def half_class(settings: DepruneSettings) -> type[ClientHalf]:
    """Return the kind of half that these settings train."""
    return ClientHalf if settings.adasplit is None else LocalHalf
