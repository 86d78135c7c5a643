"""Which frame the device computes: one at a time, and the newest of those that came meanwhile next.

    captured -> pending -> running
       |           |-> superseded by a newer frame; too late to start; no point can be used

A frame to rescue goes before the pending one: its deadline is nearer (see `rescue`). A frame's
terms and its point are set when it starts, for then most is known.
"""

from headgate.runtime.choice.costs import PointCosts
from headgate.runtime.session.chooser import Chooser
from headgate.runtime.session.conversation import Conversation
from headgate.runtime.session.endings import Endings
from headgate.runtime.session.events import Compute, Effect
from headgate.runtime.session.frame_fate import FrameOnItsWay
from headgate.runtime.session.greeting import State
from headgate.runtime.session.references import DeviceReferences
from headgate.runtime.session.rescue import Rescues
from headgate.runtime.session.terms import Terms


class ComputeSlot:
    """The frame that computes and the one that is next, of one session."""

    def __init__(
        self,
        *,
        chooser: Chooser,
        costs: PointCosts,
        edge: Conversation,
        endings: Endings,
        references: DeviceReferences,
        rescues: Rescues,
        terms: Terms,
    ) -> None:
        self._chooser, self._costs, self._edge, self._endings = chooser, costs, edge, endings
        self._references, self._rescues, self._terms = references, rescues, terms
        self._pending: FrameOnItsWay | None = None
        self._running: FrameOnItsWay | None = None

    @property
    def pending(self) -> FrameOnItsWay | None:
        """The frame that is next."""
        return self._pending

    @property
    def running(self) -> FrameOnItsWay | None:
        """The frame that computes."""
        return self._running

    @property
    def is_free(self) -> bool:
        """Whether a frame that comes now would start at once."""
        return self._running is None and self._pending is None

    def clear(self) -> None:
        """Give both up; what computes is not waited for."""
        self._running = self._pending = None

    def put(self, frame: FrameOnItsWay, *, now_s: float) -> list[Effect]:
        """Let a frame be next; one that was is superseded."""
        effects: list[Effect] = []
        if self._pending is not None:
            self._terms.hold_for(self._pending)
            effects.append(self._endings.here(self._pending, None, "superseded", now_s=now_s))
        self._pending = frame
        return effects

    def finished(self, frame_id: int) -> FrameOnItsWay | None:
        """Return the frame that computed, which does no more; None if it was given up meanwhile."""
        frame = self._running
        if frame is None or frame.frame_id != frame_id:
            return None
        self._running = None
        return frame

    def start_next(self, *, now_s: float) -> list[Effect]:
        """Start what is next if nothing computes: a frame to rescue, whose deadline is nearer."""
        if self._running is not None:
            return []
        rescued, lost = self._rescues.take(now_s=now_s)
        effects: list[Effect] = [self._endings.here(f, None, why, now_s=now_s) for f, why in lost]
        if rescued is None or rescued.rescue is None:
            return [*effects, *self._start_pending(now_s=now_s)]
        self._running = rescued
        return [*effects, Compute(rescued.frame_id, rescued.rescue)]

    def _start_pending(self, *, now_s: float) -> list[Effect]:
        """Choose for the pending frame and start it, unless one that waits needs the time first."""
        frame = self._pending
        if frame is None:
            return []
        self._terms.hold_for(frame)
        if frame.deadline_s is not None and now_s >= frame.deadline_s:
            self._pending = None
            return [self._endings.here(frame, None, "too late to start", now_s=now_s)]
        self._costs.choosing()
        choice = self._chooser.choose(frame, now_s=now_s)
        if choice.point is not None and self._rescues.go_before(choice.point, now_s=now_s):
            return self.start_next(now_s=now_s)
        self._pending = None
        frame.point, frame.estimate, frame.layers = choice.point, choice.estimate, choice.layers
        frame.trusted = choice.trusted
        if choice.point is None:
            return [self._endings.here(frame, None, self._why_none(now_s=now_s), now_s=now_s)]
        frame.started_s = now_s
        self._running = frame
        reference = self._references.choose(choice.point, frame_id=frame.frame_id, now_s=now_s)
        return [Compute(frame.frame_id, choice.point, reference)]

    def _why_none(self, *, now_s: float) -> str:
        """Return why no point was chosen: what the edge asked for is not the link's fault."""
        if self._edge.state is not State.READY:
            return "no edge"
        return "edge busy" if self._edge.holds_off(now_s=now_s) else "uplink full"
