"""The server's layers: decoder and tail, trained on batches as they arrive, and the loss."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from headgate.profiles.errors import WireError
from headgate.profiles.train_messages import Header, Kind, Place, Status
from headgate.train.networks.split_model import SplitModel
from headgate.train.recipe import PruneConfig
from headgate.train.seeds import derive_seed
from headgate.train.split_training.client_views import ClientViews
from headgate.train.split_training.growth import bottleneck_of, grow
from headgate.train.split_training.half_step import HalfSteps
from headgate.train.split_training.halves import (
    all_finite,
    is_clients,
    precision_of,
    use_selection,
)
from headgate.train.split_training.payload import Packer, Parcel, Payload
from headgate.train.split_training.replay import Replay
from headgate.train.split_training.settings import MIN_BATCH, DepruneSettings

# Shapes: B batch, C maps that cross, h x w in the code, K classes

MAX_STEPS = 1 << 24
Batch = tuple[Parcel, Parcel, Parcel]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one batch came to; no gradients where the step was refused."""

    header: Header
    parts: tuple[Parcel, ...]


class ServerHalf:
    """The server's network and optimizer; `model` is whole, of which only its half is trained."""

    def __init__(
        self,
        model: SplitModel,
        *,
        config: PruneConfig,
        settings: DepruneSettings,
        num_classes: int,
        device: torch.device,
    ) -> None:
        self.model = model
        self._config = config
        self._settings = settings
        self._num_classes = num_classes
        self._device = device
        own = [p for n, p in model.named_parameters() if not is_clients(n)]
        averages = [t for n, t in model.named_buffers() if not is_clients(n)]
        # While clients train alone there is nothing to learn from: the rate falls from then on.
        from_epoch = settings.adasplit.local_epochs if settings.adasplit is not None else 0
        self._steps = HalfSteps(
            own, averages, config=config, settings=settings, from_epoch=from_epoch
        )
        self.optimizer = self._steps.optimizer
        num_passes = 1 if settings.adasplit is None else settings.adasplit.server_passes
        self._replay = Replay(num_passes, seed=config.seed)
        self._packers: dict[str, Packer] = {}
        self.labels_seen: dict[str, set[int]] = {}  # of clients that have classes of their own
        self.views = ClientViews(
            model.tail, averages, kind=settings.server_view, mask_weight=settings.mask_weight
        )
        assert model.selected is not None
        self.selections: list[tuple[int, ...]] = [model.selected]  # of each phase so far

    def open_phase(self, phase: int, selected: tuple[int, ...]) -> None:
        """Let these maps cross from now on; those that did not begin as growth says."""
        assert phase == len(self.selections)
        use_selection(self.model, self.selections[-1])
        seed = derive_seed(self._config.seed, "join", phase)
        join = self._settings.join
        grow(bottleneck_of(self.model), self.optimizer, selected=selected, join=join, seed=seed)
        self.selections.append(selected)

    def check_batch(self, header: Header, parts: tuple[Payload, ...]) -> Batch:
        """Return the parts of a batch that can be trained on, or raise WireError."""
        maps, filter_C, labels = parts
        assert isinstance(maps, Parcel)
        assert isinstance(filter_C, Parcel)
        assert isinstance(labels, Parcel)
        settings = self._settings
        where = f"BATCH at {header.place}"
        if header.place.epoch >= settings.num_epochs:
            raise WireError(f"{where}: the schedule has {settings.num_epochs} epochs")
        adasplit = settings.adasplit
        if adasplit is not None and not adasplit.crosses_in(header.place.epoch):
            raise WireError(
                f"{where}: nothing crosses before epoch {adasplit.local_epochs + 1}; start the "
                "client again"
            )
        phase = settings.phase_of(header.place.epoch)
        budget = settings.phases[phase].budget
        if (header.phase, header.budget) != (phase, budget) or phase >= len(self.selections):
            raise WireError(
                f"{where}: phase {header.phase} with {header.budget} maps, expected phase {phase} "
                f"with {budget}; give both sides the same --schedule"
            )
        if not header.place.step < header.num_steps <= MAX_STEPS:
            raise WireError(f"{where}: it says that the epoch has {header.num_steps} steps")
        _, height, width = self.model.bottleneck.code_shape
        expected = (header.num_pictures, budget, height, width)
        found = tuple(maps.values.shape)
        if found != expected or maps.bits not in (0, settings.feature_bits):
            raise WireError(f"{where}: maps of shape {found}, expected {expected}")
        if header.num_pictures < MIN_BATCH:
            raise WireError(
                f"{where}: {header.num_pictures} pictures, expected {MIN_BATCH} or more; give the "
                "client more of them"
            )
        if filter_C.values.shape != (budget,) or labels.values.shape != (header.num_pictures,):
            raise WireError(
                f"{where}: {filter_C.values.numel()} filter values and {labels.values.numel()} "
                f"labels, expected {budget} and {header.num_pictures}"
            )
        if filter_C.bits or labels.bits or labels.values.is_floating_point():
            raise WireError(f"{where}: labels that are no whole numbers, or a filter in few bits")
        largest = int(labels.values.to(torch.int64).max())
        if largest >= self._num_classes:
            raise WireError(
                f"{where}: label {largest} is out of range, expected 0 to "
                f"{self._num_classes - 1}; correct the client's data set"
            )
        return maps, filter_C, labels

    def train(self, name: str, header: Header, batch: Batch) -> Answer:
        """Take one step on a batch of the client `name`; return what goes back.

        Nothing is changed if a number is not finite; batch norm's averages would never recover.
        """
        answer = self._step_of(name, header, batch)
        if answer.header.status is Status.FINE:
            self._replay.keep(name, header, batch)
        if self._settings.partition == "classes" and answer.header.status is Status.FINE:
            labels_B = batch[2].values.to(torch.int64)
            self.labels_seen.setdefault(name, set()).update(labels_B.tolist())
        return answer

    def train_again(self, epoch: int) -> None:
        """Take the further passes over the batches of an epoch; steps not finite are left out."""
        for number, name, header, batch in self._replay.again(epoch):
            self._step_of(name, header, batch, number=number)

    def _step_of(self, name: str, header: Header, batch: Batch, *, number: int = 0) -> Answer:
        """Take a step in pass `number` over the epoch's batches."""
        place, drawn = header.place, (number,) if number else ()
        seed = derive_seed(self._config.seed, "server", name, place.epoch, place.step, *drawn)
        torch.manual_seed(seed)
        use_selection(self.model, self.selections[header.phase])
        if not self.model.training:
            self.model.train()
        with self.views.worn(name) as gains_M:
            return self._step(name, header, batch, gains_M, number=number)

    def _step(
        self, name: str, header: Header, batch: Batch, gains_M: Tensor, *, number: int
    ) -> Answer:
        model, bottleneck = self.model, bottleneck_of(self.model)
        returns_gradients = self._settings.adasplit is None
        maps, filter_parcel, labels = batch
        code_BCHW = maps.open_maps().requires_grad_(returns_gradients)
        filter_C = filter_parcel.values.float().clone().requires_grad_(returns_gradients)
        labels_B = labels.values.to(torch.int64)
        averages = self._steps.averages_before()
        with precision_of(self._config, self._device):
            logits_BK = model.tail(bottleneck.decode(code_BCHW, filter_C=filter_C))
        loss = functional.cross_entropy(logits_BK.float(), labels_B)
        self._steps.backward([loss + self.views.penalty(gains_M)])
        gradients = [each.grad for each in (code_BCHW, filter_C, gains_M) if each.grad is not None]
        if not self._steps.is_finite(loss, *gradients):
            self._steps.put_back(averages)
            gains_M.grad = None
            return Answer(Header(Kind.GRADIENT, header.place, Status.NOT_FINITE, header.phase), ())
        place, num_passes = header.place, self._replay.num_passes
        step = place.step + number * header.num_steps
        self._steps.take(Place(place.epoch, step), num_steps=num_passes * header.num_steps)
        self.views.step(gains_M, rate=self._steps.rate)
        found_loss, num_right = self._measured(loss, logits_BK, labels_B)
        answer = Header(
            Kind.GRADIENT,
            header.place,
            phase=header.phase,
            budget=header.budget,
            num_pictures=header.num_pictures,
            num_right=num_right,
            loss=found_loss,
        )
        if not returns_gradients:
            return Answer(answer, ())
        assert code_BCHW.grad is not None
        assert filter_C.grad is not None
        packed = self._packer(name).pack(code_BCHW.grad, selected_C=bottleneck.selected_C)
        return Answer(answer, (packed, Parcel(filter_C.grad)))

    @property
    def rate(self) -> float:
        """The learning rate of the last step."""
        return self._steps.rate

    @property
    def is_finite(self) -> bool:
        """Say whether the server's weights can still be trained, and be measured."""
        return all_finite(*self._steps.weights, *self._steps.averages)

    def keep_only(self, names: Collection[str]) -> None:
        """Forget what is kept of all other clients."""
        self.views.keep_only(names)
        for kept in (self._packers, self.labels_seen):
            for name in kept.keys() - set(names):
                del kept[name]

    def carried(self) -> dict[str, Tensor]:
        """Return the rounding errors still owed to each client's gradients."""
        return {name: packer.carried_P for name, packer in self._packers.items()}

    def owe(self, name: str, carried_P: Tensor) -> None:
        """Put back what `carried` told of one client."""
        self._packer(name).carried_P.copy_(carried_P)

    def _packer(self, name: str) -> Packer:
        if name not in self._packers:
            self._packers[name] = Packer(
                self.model.bottleneck.channels,
                bits=self._settings.gradient_bits,
                centred=True,
                device=self._device,
            )
        return self._packers[name]

    @staticmethod
    def _measured(loss: Tensor, logits_BK: Tensor, labels_B: Tensor) -> tuple[float, int]:
        """Return the loss and the number of right answers, with one look at the device."""
        right = (logits_BK.detach().argmax(dim=1) == labels_B).sum().float()
        found_loss, num_right = torch.stack([loss.detach(), right]).tolist()
        return float(found_loss), int(num_right)
