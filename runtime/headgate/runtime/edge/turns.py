"""In which order waiting frames get their turn: by deadline, plus the worker time of their peers.

A peer's worker time is what it had lately, decaying over SERVED_TAU_S, and what those of its frames
that wait already will take. Equal peers are served by deadline; one that floods, or claims
deadlines shorter than everybody's, pushes itself back.

Asked at every message that comes, with some 200 peers and 30 frames: all sums decay alike, so they
are kept as of one moment, and one exponential serves them all; and a crowded edge asks for the
place of one frame after the other in the same queue, which is put in order once (`Line`).
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import accumulate
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

    def line(self, frames: Iterable[TurnTaker], *, now_s: float) -> "Line":
        """Return the queue of these frames, to ask what is ahead of one more.

        It holds until one comes or goes, or something is `served`. What decays meanwhile does not
        change it: that is less than a batch's time of SERVED_TAU_S.
        """
        turns, faded = self._turns(frames, now_s=now_s), self._faded(now_s)
        return Line(turns, lambda peer: self._had_s.get(peer, 0.0) * faded)

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


class Line:
    """Waiting frames in the order of their turns."""

    def __init__(
        self, turns: list[tuple[float, float, F]], had_s: Callable[[bytes], float]
    ) -> None:
        """`turns` as `Turns` has them; `had_s` says what a peer had of the worker lately."""
        self._had_s = had_s
        self._waiting_s: defaultdict[bytes, float] = defaultdict(float)  # by peer
        for _, cost_s, frame in turns:
            self._waiting_s[frame.peer] += cost_s
        turns = sorted(turns, key=lambda turn: turn[0])
        self._turn_s = [turn_s for turn_s, _, _ in turns]
        self._before_s = list(accumulate((cost_s for _, cost_s, _ in turns), initial=0.0))

    def ahead_s(self, frame: TurnTaker) -> float:
        """Return what the worker will do before a frame's turn that waits from now on."""
        own_s = due_s(frame) + self._had_s(frame.peer) + self._waiting_s.get(frame.peer, 0.0)
        return self._before_s[bisect_right(self._turn_s, own_s)]


def due_s(frame: TurnTaker) -> float:
    """Return the time to order by: patient frames must not wait for ever behind hurried ones."""
    patient_s = frame.arrived_s + PATIENCE_S
    return patient_s if patient_s < frame.deadline_s else frame.deadline_s
