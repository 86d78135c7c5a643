"""The peers of an edge: who is welcome, what each holds, and whom to ignore for a while."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

from headgate.profiles.manifest import Manifest
from headgate.runtime.edge.edge_events import EdgeLimits
from headgate.runtime.edge.layers import LayerOrder
from headgate.runtime.edge.queued import Queued
from headgate.runtime.link.send_clock import SendClock
from headgate.runtime.wire.fragments import Reassembly
from headgate.runtime.wire.identities import device_name


@dataclass(slots=True)
class Peer:
    """One ROUTER identity that has sent something. Only the session writes it."""

    id: bytes
    unfinished: Reassembly
    layers: LayerOrder
    heard_s: float
    owner: str | None = None  # whose key it has; None where there are no keys
    clock: SendClock = field(default_factory=SendClock)
    manifest: Manifest | None = None  # none before HELLO was accepted
    version: int = 0
    max_message_bytes: int = 0
    in_flight: dict[int, Queued] = field(default_factory=dict)  # by frame id, waiting or running
    malformed: float = 0.0  # recent ones, forgotten at a steady rate
    malformed_at_s: float = -inf
    ignored_until_s: float = -inf


class Peers:
    """A bounded table of peers. Strangers make room for others; welcomed ones if they are silent.

    Devices that lost power never said GOODBYE and come back under other names: their old places
    must not shut them out.
    """

    def __init__(self, limits: EdgeLimits) -> None:
        self._limits = limits
        self._peers: dict[bytes, Peer] = {}
        self._num_of: Counter[str] = Counter()  # peers by owner

    def __iter__(self) -> Iterator[Peer]:
        return iter(list(self._peers.values()))

    @property
    def num_welcomed(self) -> int:
        return sum(peer.manifest is not None for peer in self._peers.values())

    def find(self, peer_id: bytes) -> Peer | None:
        return self._peers.get(peer_id)

    def hear(self, peer_id: bytes, *, now_s: float, owner: str | None = None) -> Peer | None:
        """Return the peer, new if need be, or None when the table is full of welcomed ones.

        Or when it has as many of one `owner` as it may: that leaves places for the others.
        """
        peer = self._peers.get(peer_id)
        if peer is not None:
            peer.heard_s = now_s
            return peer
        if len(self._peers) >= self._limits.max_peers and not self._drop_stranger():
            return None
        if owner is not None and self._num_of[owner] >= self.max_of_owner:
            return None
        max_bytes = self._limits.max_payload_bytes
        peer = self._peers[peer_id] = Peer(
            peer_id,
            Reassembly(max_payload_bytes=max_bytes),
            LayerOrder(max_payload_bytes=max_bytes),
            heard_s=now_s,
            owner=owner,
        )
        if owner is not None:
            self._num_of[owner] += 1
        return peer

    @property
    def max_of_owner(self) -> int:
        """How many peers with one key there may be."""
        return int(self._limits.max_peers * self._limits.max_key_share)

    def forget(self, peer: Peer) -> None:
        del self._peers[peer.id]
        if peer.owner is not None:
            self._num_of[peer.owner] -= 1
            if not self._num_of[peer.owner]:
                del self._num_of[peer.owner]

    def replaced_by(self, peer: Peer) -> list[Peer]:
        """Return the peers that are earlier connections of the same device."""
        name = device_name(peer.id)
        if name is None:
            return []
        return [other for other in self if other is not peer and device_name(other.id) == name]

    def silent(self, *, now_s: float) -> list[Peer]:
        """Return the peers to forget: silent for long, or strangers no longer worth watching."""
        limits = self._limits
        return [
            peer
            for peer in self
            if now_s - peer.heard_s >= (limits.forget_s if peer.manifest else limits.ignore_s)
            and now_s >= peer.ignored_until_s
            and not peer.in_flight
        ]

    def longest_silent(self, *, now_s: float, owner: str | None = None) -> Peer | None:
        """Return the welcomed peer that may be forgotten first if another needs its place.

        One of the same `owner`, where that has as many as it may.
        """
        limits = self._limits
        is_its_own = owner is not None and self._num_of[owner] >= self.max_of_owner
        silent = (
            peer
            for peer in self
            if (not is_its_own or peer.owner == owner)
            and now_s - peer.heard_s >= limits.yield_s
            and now_s >= peer.ignored_until_s
            and not peer.in_flight
        )
        return min(silent, key=lambda peer: peer.heard_s, default=None)

    def count_malformed(self, peer: Peer, *, now_s: float) -> bool:
        """Count one malformed message; return whether the peer is ignored from now on.

        What is counted fades by `max_malformed` in `ignore_s`: a peer that errs now and then
        goes on being served.
        """
        limits = self._limits
        fade = (now_s - peer.malformed_at_s) * limits.max_malformed / limits.ignore_s
        peer.malformed = max(0.0, peer.malformed - fade) + 1
        peer.malformed_at_s = now_s
        if peer.malformed <= limits.max_malformed:
            return False
        peer.malformed = 0.0
        peer.ignored_until_s = now_s + limits.ignore_s
        return True

    def _drop_stranger(self) -> bool:
        strangers = [peer for peer in self._peers.values() if peer.manifest is None]
        if not strangers:
            return False
        self.forget(min(strangers, key=lambda peer: peer.heard_s))
        return True
