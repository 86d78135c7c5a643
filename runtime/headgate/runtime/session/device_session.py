"""The device's side of the protocol as a state machine: events in, effects out, no clock.

A frame's way, and what can end it (each ends once, in a `Deliver` made by `endings`):

    captured -> pending -> computing -> waiting -> answered by the edge
     |            |            |           |------> deadline: the device's own answer, if any
     |            |            |           |------> rejected, disconnected, never answered
     |            |            |-> answered locally; failed; edge lost; too late; need not be sent
     |            |-> superseded by a newer frame; too late to start; no point can be used
     |-> its picture cannot be read

One frame computes at a time and one is pending (`compute_slot`), while any number waits for the
edge (`waiting_frames`), so that the head of a frame overlaps with the transfer of those before it.
The device's own answer is that of the exit, or of a local point that is computed in the edge's
place (`rescue`).
"""

from collections.abc import Mapping

from headgate.profiles.errors import WireError
from headgate.profiles.manifest import Manifest, OperatingPoint, PointTime
from headgate.profiles.profile import Profile
from headgate.runtime.choice.controller import Controller
from headgate.runtime.choice.costs import PointCosts
from headgate.runtime.choice.guard import Guard
from headgate.runtime.choice.policy import PolicyMaker
from headgate.runtime.session.chooser import Chooser
from headgate.runtime.session.compute_slot import ComputeSlot
from headgate.runtime.session.conversation import Conversation
from headgate.runtime.session.endings import EdgeAnswer, Endings
from headgate.runtime.session.events import Complain, Computed, ComputeFailed, Effect
from headgate.runtime.session.frame_fate import (
    DEFAULT_SETTINGS,
    NOT_SENT,
    UNREADABLE,
    FrameOnItsWay,
    SessionSettings,
)
from headgate.runtime.session.greeting import State
from headgate.runtime.session.next_frame import NextFrame
from headgate.runtime.session.outbox import Outbox
from headgate.runtime.session.references import DeviceReferences
from headgate.runtime.session.rescue import Rescues
from headgate.runtime.session.skipping import SKIPPED, weigh
from headgate.runtime.session.terms import Terms
from headgate.runtime.session.waiting_frames import WaitingFrames
from headgate.runtime.wire.messages import (
    Ack,
    Goodbye,
    Message,
    ProbeReply,
    Reject,
    RejectReason,
    Result,
    Welcome,
)
from headgate.runtime.wire.wire import decode


class DeviceSession:
    """One device's frames, from capture to record. All times are the shell's monotonic clock."""

    def __init__(
        self,
        *,
        manifest: Manifest,
        profile: Profile,
        points: tuple[OperatingPoint, ...],
        sla_s: float | None = None,
        times: Mapping[str, PointTime] | None = None,
        source_waits: bool = False,
        settings: SessionSettings = DEFAULT_SETTINGS,
        make_policy: PolicyMaker = Controller,
    ) -> None:
        """`points` are the profile's allowed points; the profile's own SLA goes before `sla_s`.

        `times` are the compute times to start from, by default the manifest's. `source_waits`
        says that frames are captured when `wants_frame`, not at a pace of their own. `make_policy`
        makes what decides; benchmarks put rivals there.
        """
        terms = Terms(profile, points=points, sla_s=sla_s)
        costs = PointCosts(manifest, times=times)
        policy = make_policy(
            manifest=manifest,
            costs=costs,
            profile=profile,
            points=points,
            sla_s=terms.sla_s,
            source_waits=source_waits,
        )
        edge = Conversation(family_digest=manifest.digest, observe=policy.observe)
        references = DeviceReferences(manifest, costs=costs)
        guard = Guard(least_s=settings.guard_s, sla_s=terms.sla_s)
        waiting = WaitingFrames(settings, guard)
        outbox = Outbox(manifest, edge=edge, costs=costs, references=references, guard=guard)
        rescues = Rescues(
            manifest,
            policy=policy,
            costs=costs,
            outbox=outbox,
            waiting=waiting,
            settings=settings,
            guard=guard,
            next_frame=NextFrame(manifest, edge=edge, costs=costs, guard=guard, terms=terms),
        )
        self._chooser = Chooser(
            policy,
            edge=edge,
            outbox=outbox,
            references=references,
            terms=terms,
            guard=guard,
            rescues=settings.rescue,
        )
        self._endings = Endings(manifest, policy=policy, outbox=outbox, rescues=rescues)
        self._slot = ComputeSlot(
            chooser=self._chooser,
            costs=costs,
            edge=edge,
            endings=self._endings,
            references=references,
            rescues=rescues,
            terms=terms,
        )
        self._manifest, self._skip = manifest, settings.skip
        self._terms, self._costs, self._policy = terms, costs, policy
        self._edge, self._references, self._guard = edge, references, guard
        self._waiting, self._outbox, self._rescues = waiting, outbox, rescues
        self._next_frame_id, self._finishing = 0, False

    @property
    def edge(self) -> Conversation:
        """The talk with the edge, to look at; only the session carries it on."""
        return self._edge

    @property
    def has_edge(self) -> bool:
        """Whether the edge has welcomed us on the present connection."""
        return self._edge.state is State.READY

    @property
    def wants_frame(self) -> bool:
        """Whether a frame captured now would be computed at once (for sources that can wait)."""
        return not self._finishing and self._slot.is_free

    @property
    def num_open(self) -> int:
        """Frames captured that have no record yet."""
        return len(self._open_frames())

    @property
    def drained(self) -> bool:
        """Whether `finish` was called and every frame has its record."""
        return self._finishing and self.num_open == 0

    def next_timer_s(self) -> float | None:
        """Return when `handle_timer` wants to be called; how late it is then sets the guard."""
        due_s = self._waiting.next_due_s()
        uplink_s = self._edge.next_timer_s(self._chooser.probe_need())
        timers_s = (due_s, uplink_s, self._outbox.next_timer_s())
        timer_s = min((at_s for at_s in timers_s if at_s is not None), default=None)
        if timer_s is not None:
            self._guard.awaits(timer_s)
        return timer_s

    def connected(self, *, now_s: float) -> list[Effect]:
        """Tell that the transport reached the edge (each time it does)."""
        lost = self._edge_lost("edge reconnected", now_s=now_s)
        return [*lost, *self._edge.connected(now_s=now_s)]

    def disconnected(self, *, now_s: float) -> list[Effect]:
        """Tell that the transport lost the edge; frames on their way end, later ones stay local."""
        self._edge.disconnected()
        return self._edge_lost("edge disconnected", now_s=now_s)

    def frame_captured(
        self, frame_id: int, *, captured_s: float, now_s: float, truth: int | None = None
    ) -> list[Effect]:
        """Take a new frame; an older one that has not been started yet is superseded.

        Frame ids rise by the shell's counting, below 2^32 - 1.
        """
        assert not self._finishing
        self._next_frame_id = frame_id + 1
        self._guard.saw(now_s=now_s)
        self._chooser.captured(captured_s=captured_s, now_s=now_s)
        self._rescues.captured(captured_s=captured_s)
        superseded = self._slot.put(FrameOnItsWay(frame_id, captured_s, truth), now_s=now_s)
        return [*superseded, *self._slot.start_next(now_s=now_s)]

    def frame_unreadable(
        self, frame_id: int, *, captured_s: float, now_s: float, truth: int | None = None
    ) -> list[Effect]:
        """Take a frame of which there is no picture: it ends at once, and supersedes nothing."""
        assert not self._finishing
        self._next_frame_id = frame_id + 1
        self._guard.saw(now_s=now_s)
        self._chooser.captured(captured_s=captured_s, now_s=now_s)
        frame = FrameOnItsWay(frame_id, captured_s, truth)
        self._terms.hold_for(frame)
        return [self._endings.here(frame, None, UNREADABLE, now_s=now_s)]

    def computed(
        self, frame_id: int, outcome: Computed | ComputeFailed, *, now_s: float
    ) -> list[Effect]:
        """Take what the shell made of a `Compute` effect."""
        self._guard.saw(now_s=now_s)
        frame = self._slot.finished(frame_id)
        if frame is None:  # ended meanwhile by finish(at_once=True)
            return []
        if frame.rescue_reason is None:
            effects = self._after_compute(frame, outcome, now_s=now_s)
        else:
            effects = self._after_rescue(frame, outcome, frame.rescue_reason, now_s=now_s)
        effects += self._slot.start_next(now_s=now_s)
        return [*effects, *self._leave_when_drained()]

    def received(self, parts: list[bytes], *, now_s: float) -> list[Effect]:
        """Take one message from the edge; raises WireError if it is not one we can use."""
        self._guard.saw(now_s=now_s)
        effects = self._take(decode(parts), now_s=now_s)
        return [*effects, *self._outbox.pump(now_s=now_s)]

    def _take(self, message: Message, *, now_s: float) -> list[Effect]:
        match message:
            case Ack():
                self._edge.traffic.acked(message, now_s=now_s)
                return []
            case Result():
                return self._take_result(message, now_s=now_s)
            case ProbeReply():
                self._edge.traffic.probe_answered(message, now_s=now_s)
                return []
            case Welcome():
                probes = self._edge.welcomed(message, now_s=now_s)
                self._terms.welcomed(takes_layers=self._edge.takes_layers, policy=self._policy)
                return [*probes]
            case Reject():
                return self._take_reject(message, now_s=now_s)
            case Goodbye():
                self._edge.left(now_s=now_s)
                return self._edge_lost("edge left", now_s=now_s)
        kind = type(message).__name__.upper()
        raise WireError(f"{kind}: devices send this, an edge does not; connect to an edge")

    def send_failed(self, frame_id: int | None, *, now_s: float) -> list[Effect]:
        """Tell that the socket did not take the messages of a `Send`."""
        if frame_id is None:
            return []  # greetings and probes are repeated in time
        self._edge.traffic.unsent(frame_id)
        frame = self._waiting.get(frame_id)
        if frame is None or self._outbox.take_back(frame):
            return []  # some of its layers did leave: the edge may answer them
        del self._waiting[frame_id]
        return self._end_without_edge(frame, NOT_SENT, now_s=now_s)

    def handle_timer(self, *, now_s: float) -> list[Effect]:
        """Do what was due at `next_timer_s`; harmless when called early."""
        effects: list[Effect] = []
        self._guard.timer_went_off(now_s=now_s)
        for frame in self._waiting.take_over(now_s=now_s):
            effects += self._end_without_edge(frame, frame.late_reason, now_s=now_s)
        self._rescues.last_calls(by_s=now_s, pending=self._slot.pending is not None, now_s=now_s)
        effects += self._slot.start_next(now_s=now_s)
        effects += self._outbox.pump(now_s=now_s)
        effects += self._edge.handle_timer(self._chooser.probe_need(), now_s=now_s)
        return [*effects, *self._leave_when_drained()]

    def set_profile(
        self, profile: Profile, points: tuple[OperatingPoint, ...], *, now_s: float
    ) -> int:
        """Switch the profile; returns the id of the first frame that will be chosen under it."""
        self._terms.switch(profile, points, policy=self._policy)
        self._guard.keep_within(self._terms.sla_s)
        pending = self._slot.pending
        return self._next_frame_id if pending is None else pending.frame_id

    def finish(self, *, now_s: float, at_once: bool = False) -> list[Effect]:
        """Take no more frames. `at_once` ends the open ones now; else go on until `drained`."""
        self._finishing = True
        self._chooser.finish()
        effects: list[Effect] = []
        if at_once:
            if self._slot.pending is not None:
                self._terms.hold_for(self._slot.pending)
            for frame in self._open_frames():
                effects.append(self._endings.here(frame, frame.insurance, "stopped", now_s=now_s))
            self._waiting.clear()
            self._rescues.clear()
            self._outbox.clear()
            self._slot.clear()
        return [*effects, *self._leave_when_drained()]

    def _open_frames(self) -> list[FrameOnItsWay]:
        """Return the frames that have no record, each once: one may wait and compute together."""
        frames = (*self._waiting.values(), *self._rescues, self._slot.running, self._slot.pending)
        return list({f.frame_id: f for f in frames if f is not None and not f.ended}.values())

    def _after_compute(
        self, frame: FrameOnItsWay, outcome: Computed | ComputeFailed, *, now_s: float
    ) -> list[Effect]:
        assert frame.point is not None
        if isinstance(outcome, ComputeFailed):
            why = f"failed: {outcome.reason}"
            return [self._endings.here(frame, None, why, asks_edge=False, now_s=now_s)]
        frame.head_s, frame.encode_s = outcome.head_s, outcome.encode_s
        self._costs.device_took(frame.point.id, device_s=outcome.head_s + outcome.encode_s)
        if outcome.payload is None:
            return [self._endings.here(frame, outcome.answer, "local", now_s=now_s)]
        frame.insurance = outcome.answer
        readable = self._references.computed(frame.point, outcome.payload)
        frame.chances = weigh(self._skip, self._manifest, frame.point, outcome.answer)
        if frame.chances is not None and frame.chances.enough:
            self._chooser.kept_back()
            return [
                self._endings.here(frame, outcome.answer, SKIPPED, asks_edge=False, now_s=now_s)
            ]
        if frame.deadline_s is not None and now_s >= frame.deadline_s - self._guard.guard_s:
            return self._end_without_edge(frame, "too late to send", now_s=now_s)
        why_not = self._outbox.why_not(frame, outcome) if readable else "edge reconnected"
        if why_not is not None:
            return self._end_without_edge(frame, why_not, now_s=now_s)
        frame.last_call_s = self._rescues.last_call_s(frame, now_s=now_s)
        self._waiting[frame.frame_id] = frame
        return [*self._outbox.take(frame, outcome, now_s=now_s)]

    def _after_rescue(
        self, frame: FrameOnItsWay, outcome: Computed | ComputeFailed, reason: str, *, now_s: float
    ) -> list[Effect]:
        """Take an answer in the edge's place; while the edge may still answer, it is insurance."""
        self._rescues.computed(frame, outcome)
        if frame.ended or frame.frame_id in self._waiting:  # by the edge; or by it, perhaps
            return []
        return [self._endings.here(frame, frame.insurance, reason, now_s=now_s)]

    def _take_result(self, result: Result, *, now_s: float) -> list[Effect]:
        """Learn from the answer, and deliver it if its frame still waits.

        One that cannot be used is as good as none: the edge is left alone for a while, as after
        other faults of its own, or a device would go on to send where nothing comes of it.
        """
        frame = self._waiting.get(result.frame_id)
        edge_answer: EdgeAnswer | None = None
        point = self._manifest.point_at(result.point_index)
        layers = 0 if point is None else point.prefix or 0
        try:
            if frame is not None:
                edge_answer = self._endings.read(frame, result)
            trip_s = self._edge.answered(result, layers=layers, now_s=now_s)
        except WireError as reason:
            if frame is not None and frame.num_bytes == 0:  # nobody was asked
                raise
            failed = Reject(result.frame_id, RejectReason.FAILED, str(reason))
            return [Complain(str(reason)), *self._take_reject(failed, now_s=now_s)]
        self._references.answered(result.frame_id)
        if trip_s is not None and point is not None:
            self._costs.edge_answered(point, result)
        if frame is None or edge_answer is None:
            return []
        effect = self._endings.by_edge(frame, edge_answer, result, uplink_s=trip_s, now_s=now_s)
        del self._waiting[frame.frame_id]
        return [effect, *self._leave_when_drained()]

    def _take_reject(self, reject: Reject, *, now_s: float) -> list[Effect]:
        effects: list[Effect] = [*self._edge.rejected(reject, now_s=now_s)]
        self._references.rejected(reject)
        reason = f"edge rejected: {reject.reason.name.lower()}"
        frame = self._waiting.pop_sent(reject.frame_id)
        if frame is not None:
            self._costs.edge_rejected(frame.point, reject, left_s=frame.left_whole_s(now_s))
            effects += self._end_without_edge(frame, reason, now_s=now_s)
        if not self.has_edge:
            effects += self._edge_lost(reason, now_s=now_s)
        return [*effects, *self._leave_when_drained()]

    def _edge_lost(self, reason: str, *, now_s: float) -> list[Effect]:
        """End what waits for an edge that will not answer; the device does where it can."""
        self._references.forget()
        self._outbox.clear()
        waiting = self._waiting.take_all()
        return [e for frame in waiting for e in self._end_without_edge(frame, reason, now_s=now_s)]

    def _end_without_edge(self, frame: FrameOnItsWay, reason: str, *, now_s: float) -> list[Effect]:
        if frame.insurance is None and self._rescues.add(frame, reason, now_s=now_s):
            return self._slot.start_next(now_s=now_s)
        return [self._endings.here(frame, frame.insurance, reason, now_s=now_s)]

    def _leave_when_drained(self) -> list[Effect]:
        return [*self._edge.goodbye()] if self.drained else []
