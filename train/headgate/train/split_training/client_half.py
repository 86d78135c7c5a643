"""The client's layers: head, encoder and filter, and the early exit, trained by what comes back.

The gradient of the maps cannot train the filter by itself: the prune loss is a function of the
filter alone, and Algorithm 2 as printed computes it at the server, from where it does not return.
So the client adds epsilon times the prune loss. The filter scales the decoder's weights here, so
its gradient from the task loss comes back beside that of the maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from headgate.profiles.errors import WireError
from headgate.profiles.train_messages import Header, Kind, Place
from headgate.train.learning.losses import prune_loss
from headgate.train.learning.material import Lesson
from headgate.train.networks.split_model import SplitModel
from headgate.train.recipe import PruneConfig
from headgate.train.seeds import derive_seed
from headgate.train.split_training.growth import bottleneck_of, encode_following, grow
from headgate.train.split_training.half_step import HalfSteps
from headgate.train.split_training.halves import (
    all_finite,
    client_state,
    is_clients,
    load_half,
    precision_of,
    use_selection,
)
from headgate.train.split_training.lesson_plan import LessonPlan
from headgate.train.split_training.payload import Packer, Parcel
from headgate.train.split_training.settings import DepruneSettings

# Shapes: B batch, C maps that cross, P all phi maps

CARRIED = "carried"


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """One batch between its two halves of a step."""

    place: Place
    averages: list[Tensor]  # as they were before it
    code_BCHW: Tensor
    filter_C: Tensor
    own_loss: Tensor  # of the exit, and of the filter


class ClientHalf:
    """One client's network and optimizer; `model` is whole, of which only the half is trained."""

    def __init__(
        self,
        model: SplitModel,
        *,
        config: PruneConfig,
        settings: DepruneSettings,
        name: str,
        num_steps: int,
        device: torch.device,
    ) -> None:
        """`num_steps` are the lessons of each epoch, whether or not they cross."""
        self.model = model
        self._config = config
        self._settings = settings
        self._name = name
        self._num_steps = num_steps
        self._device = device
        channels = model.bottleneck.channels
        self.packer = Packer(channels, bits=settings.feature_bits, centred=False, device=device)
        averages = [t for n, t in model.named_buffers() if is_clients(n)]
        self._steps = HalfSteps(
            [*(p for n, p in model.named_parameters() if is_clients(n)), *self._more_weights()],
            [*averages, self.packer.carried_P],
            config=config,
            settings=settings,
        )
        self.optimizer = self._steps.optimizer
        self._under_way: _UnderWay | None = None
        self.plan = LessonPlan(num_steps)
        self.refused_last = False  # whether `forward` found its own step not finite
        self._label_dtype = torch.uint8 if num_classes_of(model) <= 256 else torch.uint16

    def take_over(
        self,
        *,
        phase: int,
        selected: tuple[int, ...],
        half: tuple[Mapping[str, Tensor], tuple[int, ...]] | None,
    ) -> None:
        """Begin an epoch: from `half`, if one came, and with the maps that now cross."""
        self.forget()
        if half is not None:
            weights, half_selected = half
            load_half(self.model, weights)
            use_selection(self.model, half_selected)
        if self.model.selected != selected:
            seed = derive_seed(self._config.seed, "join", phase)
            join = self._settings.join
            grow(bottleneck_of(self.model), self.optimizer, selected=selected, join=join, seed=seed)

    def forward(self, lesson: Lesson, place: Place) -> tuple[Header, tuple[Parcel, Parcel, Parcel]]:
        """Run a batch to the split; return what crosses: maps, filter and labels."""
        self.forget()
        averages = self._steps.averages_before()
        code_BCHW, own_loss = self._passed(lesson, place)
        bottleneck = self.model.bottleneck
        filter_C = bottleneck.filter_P[bottleneck.selected_C]
        self._under_way = _UnderWay(place, averages, code_BCHW, filter_C, own_loss)
        return self._message(lesson, place, code_BCHW)

    def _more_weights(self) -> Sequence[nn.Parameter]:
        """Return what the client trains and the network does not have; asked for once."""
        return ()

    def _passed(self, lesson: Lesson, place: Place) -> tuple[Tensor, Tensor]:
        """Run a batch to the split; return its code, and the loss of the exit and the filter."""
        seed = self._config.seed
        torch.manual_seed(derive_seed(seed, "client", self._name, place.epoch, place.step))
        model, bottleneck = self.model, bottleneck_of(self.model)
        if not model.training:
            model.train()
        with precision_of(self._config, self._device):
            features_BPHW = model.features(lesson.x_BCHW)
            code_BCHW = encode_following(model, features_BPHW)
            exit_logits_BK = model.exit_head(features_BPHW.detach())
        exit_loss = functional.cross_entropy(exit_logits_BK.float(), lesson.labels_B)
        pruned = prune_loss(
            bottleneck.filter_P,
            budget=bottleneck.budget,
            delta=self._config.delta,
            symmetry=self._config.lambda_,
        )
        return code_BCHW, exit_loss + self._config.epsilon * pruned

    def _message(
        self, lesson: Lesson, place: Place, code_BCHW: Tensor
    ) -> tuple[Header, tuple[Parcel, Parcel, Parcel]]:
        bottleneck = self.model.bottleneck
        filter_C = bottleneck.filter_P[bottleneck.selected_C]
        header = Header(
            Kind.BATCH,
            place,
            phase=self._settings.phase_of(place.epoch),
            budget=bottleneck.budget,
            num_steps=self.plan.num_crossing,
            num_pictures=len(lesson.labels_B),
        )
        maps = self.packer.pack(code_BCHW, selected_C=bottleneck.selected_C)
        labels = Parcel(lesson.labels_B.to(self._label_dtype))
        return header, (maps, Parcel(filter_C.detach()), labels)

    def apply(self, gradient: tuple[Parcel, Parcel], place: Place) -> bool:
        """Finish the step with the gradients that came back; False if that was refused here.

        Nothing is changed then. The averages tell where features have become so large that batch
        norm makes nothing of them, which no gradient shows.
        """
        under_way = self._take(place)
        maps, filter_gradient = gradient
        for found, sent in ((maps, under_way.code_BCHW), (filter_gradient, under_way.filter_C)):
            if found.values.shape != sent.shape:
                raise WireError(
                    f"GRADIENT at {place}: of shape {list(found.values.shape)}, expected "
                    f"{list(sent.shape)}; update the older side"
                )
        self._steps.backward(
            [under_way.code_BCHW, under_way.filter_C, under_way.own_loss],
            [maps.open_maps(), filter_gradient.values, torch.ones_like(under_way.own_loss)],
        )
        if not self._steps.is_finite():
            self._steps.put_back(under_way.averages)
            return False
        self._steps.take(place, num_steps=self._num_steps)
        return True

    def forget(self) -> None:
        """Let a batch that is under way, if one is, never have been made: no average follows it."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            self._steps.put_back(under_way.averages)

    @property
    def trains_alone(self) -> bool:
        """Whether steps need nothing of the server, and some lessons do not cross."""
        return False

    def train_alone(self, lesson: Lesson, place: Place) -> bool:
        """Take a step on a lesson that does not cross; False if it was refused."""
        raise AssertionError("a half that waits for gradients does not train alone")

    def extra_state(self) -> dict[str, Tensor]:
        """Return what a checkpoint holds beside the model and its optimizer."""
        return {CARRIED: self.packer.carried_P}

    def restore_extra(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `extra_state` told."""
        self.packer.carried_P.copy_(tensors[CARRIED])

    def phase_of(self, epoch: int) -> int:
        return self._settings.phase_of(epoch)

    @property
    def is_finite(self) -> bool:
        return all_finite(*client_state(self.model).values())

    @property
    def stops_on_nan(self) -> bool:
        return self._settings.on_nan == "stop"

    def _take(self, place: Place) -> _UnderWay:
        under_way, self._under_way = self._under_way, None
        assert under_way is not None
        assert under_way.place == place
        return under_way


def num_classes_of(model: SplitModel) -> int:
    """Return how many classes a network tells apart: the exit has one output for each."""
    last = list(model.exit_head.layers)[-1]
    assert isinstance(last, nn.Linear)
    return last.out_features
