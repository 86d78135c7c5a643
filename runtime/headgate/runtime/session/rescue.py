"""Frames that the edge lets down and that carry no exit's answer: who can still be helped here.

An offloaded picture has no insurance. If its edge is lost, says no, or is likely too late, a local
point may still make the deadline, and then it is computed as if it had been chosen. A split frame
is insured by its exit; where a local point is better than that and there is time, it is computed in
a case of doubt as well, but nothing waits for it:

    waiting for the edge --last call, answer unlikely--> queued -> computing -> insured, still waits
    edge lost, rejected, not sent ---------------------> queued -> computing -> answered locally

The last call is the latest moment from which a local answer is sure to be in time, however late
the device's timers usually are (`guard`): the later, the more is known. It comes earlier where
another frame's compute is about to begin that would not be over by then. Only a frame whose answer
has then become doubtful is computed twice, and only where the next frame does not lose more by
waiting for it (`next_frame`): on a link that keeps its promises, or a device that has no time to
spare, nothing is.
"""

from collections import deque
from collections.abc import Iterator, Mapping

from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.runtime.choice.costs import PointCosts
from headgate.runtime.choice.guard import Guard
from headgate.runtime.choice.own_answers import exit_quality, has_exit, least_quality
from headgate.runtime.choice.policy import Policy
from headgate.runtime.records import FrameRecord, Source
from headgate.runtime.session.events import Computed, ComputeFailed
from headgate.runtime.session.frame_fate import FrameOnItsWay, SessionSettings
from headgate.runtime.session.next_frame import NextFrame
from headgate.runtime.session.outbox import Outbox

# Chance of an answer in time. A rescue costs compute only, for the edge's answer still counts.
RESCUE_BELOW = 0.8
RESCUE_PICTURE_BELOW = 0.9  # of a frame that would have no answer at all
BEGIN_S = 0.001  # from the last call to the compute, where timers are punctual


class Rescues:
    """The queue of frames to compute in the edge's place, oldest first."""

    def __init__(
        self,
        manifest: Manifest,
        *,
        policy: Policy,
        costs: PointCosts,
        outbox: Outbox,
        waiting: Mapping[int, FrameOnItsWay],
        settings: SessionSettings,
        guard: Guard,
        next_frame: NextFrame,
    ) -> None:
        """`waiting` are the session's frames that wait for the edge; only it changes them."""
        self._manifest, self._outbox, self._waiting = manifest, outbox, waiting
        self._policy, self._costs, self._settings = policy, costs, settings
        self._guard, self._next = guard, next_frame
        self._queue: deque[FrameOnItsWay] = deque()
        self._captured_s = 0.0  # the last frame

    def __iter__(self) -> Iterator[FrameOnItsWay]:
        return iter(self._queue)

    def clear(self) -> None:
        """Give all of them up."""
        self._queue.clear()

    def captured(self, *, captured_s: float) -> None:
        """Take note of a frame's capture: the next one is foreseen from it."""
        self._captured_s = captured_s

    def take(self, *, now_s: float) -> tuple[FrameOnItsWay | None, list[tuple[FrameOnItsWay, str]]]:
        """Remove and return the first frame to begin now, and those that nobody will answer.

        The latter with the reason: it is too late for them here, and they do not wait for the edge.
        """
        lost: list[tuple[FrameOnItsWay, str]] = []
        while self._queue:
            frame = self._queue.popleft()
            if frame.ended:
                continue
            frame.rescue = self.point_for(frame, now_s=now_s)
            if frame.rescue is not None:
                return frame, lost
            if frame.frame_id not in self._waiting:
                lost.append((frame, str(frame.rescue_reason)))
            frame.rescue_reason = None
        return None, lost

    def add(self, frame: FrameOnItsWay, reason: str, *, now_s: float) -> bool:
        """Queue the frame, or return False if it cannot be answered here in time.

        `reason` says in its record why the edge did not answer; the first one stays.
        """
        if frame.rescue_reason is not None:
            return True
        if self.point_for(frame, now_s=now_s) is None:
            return False
        frame.rescue_reason = reason
        self._queue.append(frame)
        return True

    def point_for(self, frame: FrameOnItsWay, *, now_s: float) -> OperatingPoint | None:
        """Return the best allowed point that answers the frame here in time, or None."""
        if not self._settings.rescue:
            return None
        deadline_s = frame.deadline_s
        left_s = None if deadline_s is None else deadline_s - self._guard.guard_s - now_s
        return self._policy.fallback(left_s=left_s)

    def last_call_s(self, frame: FrameOnItsWay, *, now_s: float) -> float | None:
        """Return when to look whether a frame sent now needs rescue; None: never."""
        point = self.point_for(frame, now_s=now_s)
        if point is None or frame.deadline_s is None:
            return None
        assert frame.point is not None
        if frame.insurance is not None and not self._is_better(point, than_exit_of=frame.point):
            return None
        needed_s = self._costs.device_s(point.id) + self._begin_s + self._guard.guard_s
        return max(now_s, frame.deadline_s - needed_s)

    @property
    def _begin_s(self) -> float:
        """How late the timer of a last call may be: as that of the hand-out is by the guard."""
        return max(BEGIN_S, self._guard.late_s)

    def go_before(self, point: OperatingPoint, *, now_s: float) -> bool:
        """Look at the frames whose last call falls into the compute of a pending frame's point.

        Return whether one was queued: it goes first.
        """
        until_s = now_s + self._costs.device_s(point.id)
        # Its end is no timer, and calls them at once.
        return self.last_calls(by_s=until_s - self._begin_s, pending=True, now_s=now_s)

    def last_calls(self, *, by_s: float, pending: bool, now_s: float) -> bool:
        """Look at the frames whose last call is due by then; return whether one was queued.

        `pending`: the last frame captured has not begun yet.
        """
        called = [frame for frame in self._waiting.values() if frame.is_called_by(by_s)]
        next_s = self._captured_s
        if not pending:
            next_s = max(now_s, self._captured_s + self._policy.period_s)
        queued = [frame for frame in called if self._last_call(frame, next_s=next_s, now_s=now_s)]
        return bool(queued)

    def _last_call(self, frame: FrameOnItsWay, *, next_s: float, now_s: float) -> bool:
        """Queue this frame if it is in doubt; the next one to begin is captured at `next_s`."""
        frame.last_call_s = None
        assert frame.point is not None
        assert frame.deadline_s is not None
        by_s = frame.deadline_s - self._costs.edge_s(frame.point.id)
        chance = self._outbox.answer_chance(frame, by_s=by_s, now_s=now_s)
        if chance >= (RESCUE_PICTURE_BELOW if frame.insurance is None else RESCUE_BELOW):
            return False
        point = self.point_for(frame, now_s=now_s)
        if point is None:
            return False
        # The next frame waits meanwhile, and may be superseded by the one after it: no gain.
        over_s = now_s + self._costs.device_s(point.id)
        if over_s > next_s + self._policy.period_s:
            return False
        quality = self._manifest.quality(point)
        begins_s = max(now_s, next_s)
        loss = self._next.loss(
            over_s - begins_s,
            begins_s=begins_s,
            deadline_s=next_s + frame.deadline_s - frame.captured_s,
            local=quality,
            now_s=now_s,
        )
        gain = (1 - chance) * (quality - self._own_quality(frame))
        if loss > 0 and gain <= loss:
            return False
        return self.add(frame, "edge too late", now_s=now_s)

    def _own_quality(self, frame: FrameOnItsWay) -> float:
        """Return what a frame earns with neither the edge nor a rescue."""
        assert frame.point is not None
        if frame.point.kind is PointKind.SPLIT:
            return exit_quality(self._manifest, frame.point)
        return least_quality(self._manifest)

    def _is_better(self, point: OperatingPoint, *, than_exit_of: OperatingPoint) -> bool:
        if than_exit_of.kind is not PointKind.SPLIT:
            return False
        if not has_exit(self._manifest, than_exit_of):
            return True  # of a local point it is known how good it is
        return self._manifest.quality(point) > exit_quality(self._manifest, than_exit_of)

    def computed(self, frame: FrameOnItsWay, outcome: Computed | ComputeFailed) -> None:
        """Take what came of a rescue: the frame is insured now, unless it failed."""
        if isinstance(outcome, ComputeFailed):
            frame.rescue = frame.rescue_reason = None
            return
        frame.rescued = True
        assert frame.rescue is not None
        self._costs.device_took(frame.rescue.id, device_s=outcome.head_s + outcome.encode_s)
        frame.head_s = (frame.head_s or 0.0) + outcome.head_s
        frame.insurance = outcome.answer

    def ended(self, frame: FrameOnItsWay, record: FrameRecord) -> None:
        """Take note of a frame that was for the edge: of what became of it if that was late."""
        point = frame.point
        if not self._settings.rescue or point is None:
            return
        if record.source is not Source.EDGE or not record.deadline_met:
            self._policy.let_down(point, rescued=frame.rescued and record.deadline_met)
