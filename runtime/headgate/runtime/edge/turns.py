"""In which order waiting frames get their turn: by deadline, plus the worker time of their peers.

A peer's worker time is what it had lately, decaying over SERVED_TAU_S, and what those of its frames
that wait already will take. Equal peers are served by deadline; one that floods, or claims
deadlines shorter than everybody's, pushes itself back.

Asked at every message that comes, with some 200 peers and 30 frames: all sums decay alike, so they
are kept as of one moment, and one exponential serves them all.
"""

from collections.abc import Callable, Iterable
from math import exp
from typing import Protocol, TypeVar

from headgate.runtime.edge.batch_times import GraphKey

SERVED_TAU_S = 1.0  # how fast what a peer had is forgotten
PATIENCE_S = 1.0  # a frame with a longer budget, or none, is ordered as if it had this
FORGET_S = 1e-6  # what a peer had, once it is so little


class TurnTaker(Protocol):
    """What is asked of a frame."""

    @property
    def key(self) -> GraphKey: ...
    @property
    def peer(self) -> bytes: ...
    @property
    def arrived_s(self) -> float: ...
    @property
    def deadline_s(self) -> float: ...


F = TypeVar("F", bound=TurnTaker)


class Turns:
    """What each peer had of the worker, and the order that follows from it."""

    def __init__(self, frame_s: Callable[[GraphKey], float]) -> None:
        """`frame_s` says what one frame of a graph costs the worker, in seconds."""
        self._frame_s = frame_s
        self._had_s: dict[bytes, float] = {}  # by peer, as of `_as_of_s`
        self._as_of_s = 0.0

    def served(self, peers: Iterable[bytes], *, share_s: float, now_s: float) -> None:
        """Tell that the worker spent so long on a frame of each of these peers."""
        if now_s - self._as_of_s >= SERVED_TAU_S:
            self._bring_up_to(now_s)
        scaled_s = share_s / self._faded(now_s)
        for peer in peers:
            self._had_s[peer] = self._had_s.get(peer, 0.0) + scaled_s

    def ordered(self, frames: Iterable[F], *, now_s: float) -> list[F]:
        """Return frames in the order of their turns; of equals the first given goes first."""
        turns = self._turns(frames, now_s=now_s)
        turns.sort(key=lambda turn: turn[0])
        return [frame for _, _, frame in turns]

    def ahead_s(self, frame: TurnTaker, waiting: Iterable[TurnTaker], *, now_s: float) -> float:
        """Return what the worker will do before a frame's turn that waits from now on."""
        turns = self._turns(waiting, now_s=now_s)
        own_s = sum([cost_s for _, cost_s, each in turns if each.peer == frame.peer])
        own_s += due_s(frame) + self._had_s.get(frame.peer, 0.0) * self._faded(now_s)
        return sum([cost_s for turn_s, cost_s, _ in turns if turn_s <= own_s])

    def _turns(self, frames: Iterable[F], *, now_s: float) -> list[tuple[float, float, F]]:
        """Return each frame's place in time and its cost, in the order given."""
        faded = self._faded(now_s)
        costs_s: dict[GraphKey, float] = {}
        penalty_s: dict[bytes, float] = {}  # only of peers with frames here: there may be many more
        turns = []
        for frame in frames:
            key, peer = frame.key, frame.peer
            cost_s = costs_s.get(key)
            if cost_s is None:
                cost_s = costs_s[key] = self._frame_s(key)
            had_s = penalty_s.get(peer)
            if had_s is None:
                had_s = self._had_s.get(peer, 0.0) * faded
            penalty_s[peer] = had_s + cost_s
            turns.append((due_s(frame) + had_s, cost_s, frame))
        return turns

    def _faded(self, now_s: float) -> float:
        return exp(min(0.0, self._as_of_s - now_s) / SERVED_TAU_S)

    def _bring_up_to(self, now_s: float) -> None:
        faded = self._faded(now_s)
        left_s = {peer: had_s * faded for peer, had_s in self._had_s.items()}
        self._had_s = {peer: had_s for peer, had_s in left_s.items() if had_s >= FORGET_S}
        self._as_of_s = now_s


def due_s(frame: TurnTaker) -> float:
    """Return the time to order by: patient frames must not wait for ever behind hurried ones."""
    patient_s = frame.arrived_s + PATIENCE_S
    return patient_s if patient_s < frame.deadline_s else frame.deadline_s
