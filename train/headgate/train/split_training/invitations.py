"""What the server's answers to clients hold: where each goes on, with which maps and which half.

With AdaSplit they also say how many of a client's pictures cross in the epoch.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

import torch

from headgate.profiles.train_messages import Header, Kind, Place, Status
from headgate.train.split_training.adasplit import AdaSplitSettings
from headgate.train.split_training.epoch_record import ClientEpoch
from headgate.train.split_training.kept_halves import KeptHalves
from headgate.train.split_training.orchestrator import crossing_shares
from headgate.train.split_training.outgoing import Outgoing
from headgate.train.split_training.payload import Parcel, Payload
from headgate.train.split_training.server_effects import Go, Greeted
from headgate.train.split_training.server_half import ServerHalf
from headgate.train.split_training.server_session import ServerSession
from headgate.train.split_training.settings import MIN_BATCH, DepruneSettings


class Invitations:
    """Makes WELCOMEs and GOs; `losses` are those of each client's batches that crossed last."""

    def __init__(
        self,
        settings: DepruneSettings,
        *,
        half: ServerHalf,
        halves: KeptHalves,
        session: ServerSession,
    ) -> None:
        self.losses: dict[str, float] = {}
        self._shares: dict[str, float] = {}  # of their batches, that clients send in this epoch
        self._settings = settings
        self._half = half
        self._halves = halves
        self._session = session

    def heard(self, clients: Mapping[str, ClientEpoch]) -> None:
        """Hear what the batches of an epoch came to, by client: the epoch is over."""
        self._shares = {}
        for name, done in clients.items():
            if done.num_batches:
                self.losses[name] = done.loss_sum / done.num_batches

    def keep_only(self, names: Collection[str]) -> None:
        """Forget the losses of all other clients."""
        self.losses = {name: loss for name, loss in self.losses.items() if name in names}

    def welcome(self, effect: Greeted) -> Outgoing:
        """Return the answer to a HELLO."""
        phase = self.phase_of(effect.place)
        header = Header(
            Kind.WELCOME,
            effect.place,
            effect.status,
            phase,
            len(self._half.selections[phase]),
            num_pictures=self._crossing(effect.name, effect.place),
        )
        normalise = self._half.model.normalise
        text = {
            "mean": normalise.mean_1C11.flatten().tolist(),
            "std": normalise.std_1C11.flatten().tolist(),
        }
        parts: tuple[Payload, ...] = (json.dumps(text).encode(), self._selected(phase))
        if effect.gives_half:
            half = self._halves.for_joining(effect.name)
            parts += (half.data,) if half is not None else ()
        return Outgoing(effect.peer, effect.name, header, parts)

    def go(self, effect: Go) -> Outgoing:
        """Return what lets a client enter an epoch, or tells it that all is done."""
        if effect.status is Status.FINISHED:
            header = Header(Kind.GO, effect.place, effect.status)
            return Outgoing(
                effect.peer, effect.name, header, (self._selected(len(self._half.selections) - 1),)
            )
        phase, adasplit = self.phase_of(effect.place), self._settings.adasplit
        # One plan is for all at work: what others were told in this epoch stays.
        if adasplit is not None and effect.name not in self._shares:
            self._shares = self._planned(effect.name, adasplit) | self._shares
        header = Header(
            Kind.GO,
            effect.place,
            phase=phase,
            budget=len(self._half.selections[phase]),
            num_pictures=self._crossing(effect.name, effect.place),
        )
        parts: tuple[Payload, ...] = (self._selected(phase),)
        half = self._halves.for_joining(effect.name) if effect.is_fresh else self._halves.shared
        parts += (half.data,) if half is not None else ()
        return Outgoing(effect.peer, effect.name, header, parts)

    def phase_of(self, place: Place) -> int:
        """Return the phase of a place, as far as one has been opened."""
        last = self._settings.num_epochs - 1
        return self._settings.phase_of(min(place.epoch, last, self._session.epoch))

    def _crossing(self, name: str, place: Place) -> int:
        """Return how many pictures of a client cross in an epoch; 0 where that is not said."""
        adasplit, roster = self._settings.adasplit, self._session.roster
        if adasplit is None or not adasplit.crosses_in(place.epoch):
            return 0
        share = self._shares.get(name) or self._planned(name, adasplit)[name]
        return max(MIN_BATCH, round(share * roster.num_pictures_of(name)))

    def _planned(self, name: str, adasplit: AdaSplitSettings) -> dict[str, float]:
        """Return the shares of all that are at work, and of `name`."""
        names = {name, *(member.name for member in self._session.roster.at_work)}
        if adasplit.orchestrator == "even":
            return dict.fromkeys(names, adasplit.cross_share)
        losses = {each: self.losses.get(each) for each in sorted(names)}
        return crossing_shares(losses, share=adasplit.cross_share)

    def _selected(self, phase: int) -> Parcel:
        return Parcel(torch.tensor(self._half.selections[phase]).to(torch.uint16))
