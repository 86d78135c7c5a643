"""One message that the server sends, before it is bytes."""

from __future__ import annotations

from dataclasses import dataclass

from headgate.profiles.train_messages import Header, Kind
from headgate.train.split_training.payload import Payload


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to send; `name` is the client's, if it has said it."""

    peer: bytes
    name: str | None
    header: Header
    parts: tuple[Payload, ...]


def refusal(peer: bytes, name: str | None, reason: str) -> Outgoing:
    """Return what tells a peer why nothing more is done for it."""
    return Outgoing(peer, name, Header(Kind.REFUSE), (reason.encode(),))
