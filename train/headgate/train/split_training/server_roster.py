"""The clients of a split training as its server knows them: who they are, and where each stands.

A client that falls silent is not at work any more, but stays known by the connection it had: what
it says there later is its return. One that said GOODBYE is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from headgate.profiles.train_messages import Place


@dataclass(slots=True)
class Member:
    """What the server knows of one client. Only its session writes it."""

    name: str
    place: Place  # of the next batch; (epoch + 1, 0) once it has ended `epoch`
    instance: str = ""
    peer: bytes | None = None  # None: not at work (vanished, or known from a checkpoint)
    silent_peer: bytes | None = None  # what `peer` was when it fell silent
    heard_s: float = 0.0
    num_pictures: int = 0
    may_train: bool = False  # it has had its GO for the epoch under way
    is_fresh: bool = False  # it holds nothing that it trained
    retired: set[str] = field(default_factory=set)

    def fell_silent(self) -> None:
        """Note that it is not at work, and by which connection it would come back."""
        self.peer, self.silent_peer = None, self.peer


class Roster:
    """All clients that are known, by name."""

    def __init__(self, places: Mapping[str, Place]) -> None:
        """`places` are those of a checkpoint; nobody is at work yet."""
        self._members = {name: Member(name, place) for name, place in places.items()}

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    @property
    def places(self) -> dict[str, Place]:
        """Where each client stands, for a checkpoint."""
        return {member.name: member.place for member in self}

    @property
    def at_work(self) -> list[Member]:
        return [member for member in self if member.peer is not None]

    @property
    def peers(self) -> list[bytes]:
        """The connections of the clients at work."""
        return [member.peer for member in self if member.peer is not None]

    def find(self, name: str) -> Member | None:
        """Return the client of that name."""
        return self._members.get(name)

    def member_at(self, peer: bytes) -> Member | None:
        """Return the client that is, or was before it fell silent, at a connection."""
        return next((each for each in self if peer in (each.peer, each.silent_peer)), None)

    def name_at(self, peer: bytes) -> str | None:
        """Return the name that was said in a HELLO from there."""
        member = self.member_at(peer)
        return None if member is None else member.name

    def num_pictures_of(self, name: str) -> int:
        """Return how many pictures a client has; 0 if it has left."""
        member = self.find(name)
        return 0 if member is None else member.num_pictures

    def enter(self, name: str, place: Place) -> Member:
        """Add a client that nobody knew."""
        member = self._members[name] = Member(name, place)
        return member

    def leave(self, member: Member) -> None:
        """Forget a client."""
        del self._members[member.name]
